"""A scripted pipeline's script: reading it from JSON, with every bound of protocol §10.

Separate from `scripted.py`, which plays it, because most of this is about refusing: each wrong
member gives its own error with a JSON pointer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..events import COMPLETED, FAILED
from ..redaction import redact
from .base import FieldErrors

EVENTS_MIN: Final = 4
EVENTS_MAX: Final = 100_000
TEXT_BYTES_MAX: Final = 1024 * 1024
PAYLOAD_BYTES_MAX: Final = 512 * 1024
TOTAL_TEXT_BYTES_MAX: Final = 512 * 1024 * 1024
DURATION_MS_MAX: Final = 3_600_000

#: The types that come round in turn between the first events and the end.
ROTATION: Final = (
    "step_progress",
    "insight_emitted",
    "metric_update",
    "validation_update",
    "diff_chunk",
    "agent_chunk",
)

#: Where the script stands in a start request.
_ROOT: Final = "/pipeline"


@dataclass(frozen=True, slots=True)
class Script:
    """A checked script. Members as in protocol §10."""

    events: int = 20
    interval_ms: float = 50
    payload_bytes: int = 200
    outcome: str = COMPLETED
    payload: str | None = None
    pauses: tuple[tuple[int, float], ...] = ()
    crash_at: int | None = None

    @property
    def tail(self) -> int:
        """How many events make up the end."""
        return 3 if self.outcome == FAILED else 2

    @property
    def agent_chunks(self) -> int:
        """How many events carry the script's text: event 2, then one in each round."""
        middle = self.events - 1 - self.tail
        return min(middle, 1) + max(0, middle - 2) // len(ROTATION)

    def as_json(self) -> dict[str, object]:
        """What is stored: the members, with personal data taken out of the text."""
        members = asdict(self)
        if self.payload is not None:
            members["payload"] = redact(self.payload)
        return members

    @classmethod
    def stored(cls, members: Mapping[str, Any]) -> Script:
        """The inverse of `as_json`. Not checked again: a mark may be longer than what it hides."""
        pauses = tuple((int(n), float(ms)) for n, ms in members["pauses"])
        return cls(**{**members, "pauses": pauses})

    @classmethod
    def parse(cls, script: object) -> Script:
        """Check everything, then report all faults at once. Raises FieldErrors."""
        if not isinstance(script, Mapping):
            raise FieldErrors([(_ROOT, "expected an object")])
        errors: list[tuple[str, str]] = []
        known = set(cls.__dataclass_fields__)
        for name in script:
            if name not in known:
                errors.append((f"{_ROOT}/{_escaped(str(name))}", "unknown member"))
        members: dict[str, Any] = {name: script[name] for name in script if name in known}
        for name, value in list(members.items()):
            fault = _fault(name, value)
            if fault:
                errors.append((f"{_ROOT}/{name}", fault))
                del members[name]
        if "pauses" in members:
            errors += _pause_faults(members["pauses"])
        if errors:
            raise FieldErrors(errors)
        members["pauses"] = tuple((int(n), ms) for n, ms in members.get("pauses", ()))
        parsed = cls(**members)
        errors += parsed._joint_faults()
        if errors:
            raise FieldErrors(errors)
        return parsed

    def _joint_faults(self) -> list[tuple[str, str]]:
        """Bounds that concern more than one member."""
        errors: list[tuple[str, str]] = []
        for index, (n, _) in enumerate(self.pauses):
            if n > self.events:
                errors.append((f"{_ROOT}/pauses/{index}/0", f"expected 0 to {self.events}"))
        last = self.events - self.tail
        if self.crash_at is not None and self.crash_at > last:
            errors.append((f"{_ROOT}/crash_at", f"expected 1 to {last}, before the end"))
        duration = self.interval_ms * (self.events - 1)
        if duration > DURATION_MS_MAX:
            errors.append((f"{_ROOT}/interval_ms", "the job would take more than an hour"))
        elif duration + math.fsum(ms for _, ms in self.pauses) > DURATION_MS_MAX:
            errors.append((f"{_ROOT}/pauses", "the job would take more than an hour"))
        size = self.payload_bytes if self.payload is None else len(self.payload.encode())
        if size * self.agent_chunks > TOTAL_TEXT_BYTES_MAX:
            name = "payload_bytes" if self.payload is None else "payload"
            errors.append((f"{_ROOT}/{name}", "all texts together would exceed 512 MiB"))
        return errors


def _fault(name: str, value: object) -> str | None:
    """What is wrong with a single member, or None."""
    if value is None and name in ("payload", "crash_at"):
        return None
    return _FAULTS[name](value)


def _integer_fault(value: object, low: int, high: int) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return None
    return f"expected an integer from {low} to {high}"


def _milliseconds_fault(value: object) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared so that NaN, which is neither less nor greater, fails as well.
    if number and isinstance(value, int | float) and 0 <= value <= DURATION_MS_MAX:
        return None
    return f"expected a number of milliseconds from 0 to {DURATION_MS_MAX}"


def _payload_fault(value: object) -> str | None:
    if not isinstance(value, str):
        return "expected a string"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "expected text without lone surrogates"
    return None if size <= PAYLOAD_BYTES_MAX else f"expected at most {PAYLOAD_BYTES_MAX} octets"


def _outcome_fault(value: object) -> str | None:
    good = isinstance(value, str) and value in (COMPLETED, FAILED)
    return None if good else 'expected "completed" or "failed"'


def _pauses_fault(value: object) -> str | None:
    return None if isinstance(value, list) else "expected an array of [event, ms] pairs"


def _pause_faults(pauses: list[object]) -> list[tuple[str, str]]:
    errors: list[tuple[str, str]] = []
    for index, pause in enumerate(pauses):
        where = f"{_ROOT}/pauses/{index}"
        if not isinstance(pause, list) or len(pause) != 2:
            errors.append((where, "expected a pair [event, ms]"))
            continue
        for part, fault in enumerate(
            (_integer_fault(pause[0], 0, EVENTS_MAX), _milliseconds_fault(pause[1]))
        ):
            if fault:
                errors.append((f"{where}/{part}", fault))
    return errors


def _escaped(name: str) -> str:
    """A member's name as a JSON pointer writes it (RFC 6901 §3)."""
    return name.replace("~", "~0").replace("/", "~1")


_FAULTS: Final[Mapping[str, Callable[[object], str | None]]] = {
    "events": lambda value: _integer_fault(value, EVENTS_MIN, EVENTS_MAX),
    "interval_ms": _milliseconds_fault,
    "payload_bytes": lambda value: _integer_fault(value, 0, TEXT_BYTES_MAX),
    "outcome": _outcome_fault,
    "payload": _payload_fault,
    "pauses": _pauses_fault,
    "crash_at": lambda value: _integer_fault(value, 1, EVENTS_MAX),
}
