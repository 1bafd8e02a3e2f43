"""What each event type's payload must look like, and the way from a payload to a draft.

Every event passes `seal` on its way to the store, whoever emits it: a pipeline with a mistake fails
its own job here instead of showing readers an event that breaks the protocol (§2). The checks say
which member is wrong and never what it holds, because that may be somebody's résumé.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .events import (
    CANCELED,
    COMPLETED,
    FAILED,
    RUNNING,
    STARTED,
    TERMINAL_STATUSES,
    Draft,
    to_json,
)
from .redaction import redact

#: The largest payload as JSON text, in octets: 512 KiB of control characters, escaped, still fit.
DATA_BYTES_MAX: Final = 4 * 1024 * 1024


class PayloadError(ValueError):
    """A payload breaks its type's rule. The text names type and member, never a value."""


@dataclass(frozen=True, slots=True)
class Emission:
    """An event as a pipeline gives it out: neither checked nor dated yet."""

    type: str
    data: Mapping[str, object]


Check = Callable[[object], bool]


def _text(value: object) -> bool:
    return isinstance(value, str)


def _name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _percent(value: object) -> bool:
    return _number(value) and isinstance(value, int | float) and 0 <= value <= 100


def _eta(value: object) -> bool:
    return value is None or (_number(value) and isinstance(value, int | float) and value >= 0)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _one_of(*names: str) -> Check:
    allowed = frozenset(names)
    return lambda value: isinstance(value, str) and value in allowed


SCHEMAS: Final[Mapping[str, Mapping[str, Check]]] = {
    "job_status": {"status": _one_of(STARTED, RUNNING, COMPLETED, FAILED, CANCELED)},
    "step_progress": {"step": _name, "pct": _percent, "eta_seconds": _eta},
    "insight_emitted": {
        "category": _name,
        "importance": _one_of("low", "medium", "high"),
        "message": _text,
    },
    "metric_update": {"name": _name, "value": _number, "unit": _text},
    "validation_update": {
        "rule": _name,
        "status": _one_of("pending", "passed", "failed"),
        "message": _text,
    },
    "diff_chunk": {"section": _name, "before": _text, "after": _text},
    "agent_chunk": {"agent": _name, "text": _text},
    "error": {"code": _name, "message": _text, "retryable": _flag},
    "done": {"status": _one_of(*TERMINAL_STATUSES)},
}


def check(event_type: str, data: Mapping[str, object]) -> None:
    """Raise PayloadError unless `data` has exactly the members of its type, each as it must be."""
    schema = SCHEMAS.get(event_type)
    if schema is None:
        raise PayloadError("expected an event type of the protocol, got another one")
    if data.keys() != schema.keys():
        raise PayloadError(f"{event_type}: expected the members {sorted(schema)}, got others")
    for member, valid in schema.items():
        if not valid(data[member]):
            raise PayloadError(f"{event_type}: the value of {member!r} is not allowed")


def seal(emission: Emission, timestamp: str) -> Draft:
    """Check, redact and serialise. Raises PayloadError.

    A lone surrogate has no UTF-8 form, so a payload with one cannot be sent and is refused.
    """
    check(emission.type, emission.data)
    data = emission.data
    if emission.type == "agent_chunk":
        data = {**data, "text": redact(str(data["text"]))}
    text = to_json(data)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise PayloadError(f"{emission.type}: the text holds a lone surrogate") from None
    if size > DATA_BYTES_MAX:
        raise PayloadError(f"{emission.type}: expected at most {DATA_BYTES_MAX} octets, got {size}")
    return Draft(emission.type, timestamp, text)


def ending(status: str, *, error: tuple[str, str] | None = None) -> tuple[Emission, ...]:
    """The last events of a log: an `error` (code, message) where there is one, status, `done`."""
    end = (Emission("job_status", {"status": status}), Emission("done", {"status": status}))
    if error is None:
        return end
    code, message = error
    return (Emission("error", {"code": code, "message": message, "retryable": False}), *end)
