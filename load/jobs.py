"""Jobs that the crowd starts and shares: which kinds, in which order, and who may join them.

Kinds are dealt out in turn and not by chance, and whoever joins takes the kind that has been judged
least. So a short run covers everything that a long one does.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .following import Truth
from .grammar import Known

Outcome = Literal["completed", "failed", "cancelled"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("completed", "failed", "cancelled")
PACED: Final = ((10, 60), (50, 20), (200, 10), (1000, 2))
"""Events of a job and the milliseconds between them."""
BURSTS: Final = (10, 100, 400, 1000)
"""Events of a job that emits them as fast as it can."""
PAUSE_MS: Final = 900
"""In the middle of a burst, so that somebody can join while it runs."""
CANCEL_S: Final = 0.6
"""From a cancelled job's turning point to the request that cancels it."""
PAYLOAD_BYTES: Final = 200
KEPT: Final = 24
"""Ended jobs that may still be joined; each keeps its events in memory."""
CROWD_TURN: Final = 3
ALONE_S: Final = 60.0
"""A job whose end nobody has seen for so long is no longer offered to anybody."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job that can be shaped is asked to do."""

    events: int
    interval_ms: int
    outcome: Outcome
    crashes: bool = False
    """It fails because its pipeline breaks, and not in an orderly way."""

    @property
    def total(self) -> int:
        """How many events its log has at the end, if nobody cancels it."""
        # A crash adds what every failure ends with: the error, the status and the end.
        return self.turning_point + 1 + 3 if self.crashes else self.events

    @property
    def pace(self) -> str:
        return "paced" if self.interval_ms else "burst"

    @property
    def turning_point(self) -> int:
        """The event after which a burst pauses, or a job is to be cancelled."""
        return max(1, min(self.events // 2, 500))

    @property
    def lasts_s(self) -> float:
        """How long it takes where nothing is slow."""
        return self.events * self.interval_ms / 1000 + (
            CANCEL_S if self.outcome == "cancelled" else PAUSE_MS / 1000
        )

    def script(self) -> dict[str, Any]:
        """The `pipeline` member of a start."""
        outcome = "completed" if self.outcome == "cancelled" else self.outcome
        script: dict[str, Any] = {
            "events": self.events,
            "interval_ms": self.interval_ms,
            "payload_bytes": PAYLOAD_BYTES,
            "outcome": outcome,
        }
        if self.outcome == "cancelled":
            # It waits to be cancelled, for long enough under load.
            script["pauses"] = [[self.turning_point, 20_000]]
        elif not self.interval_ms:
            script["pauses"] = [[self.turning_point, PAUSE_MS]]
        if self.crashes:
            script["crash_at"] = self.turning_point + 1
        return script


def plans(turn: int = 0) -> itertools.cycle[Plan]:
    """All kinds in turn: pace fastest, then outcome, then size.

    Args:
        turn: where to begin, so that several workers do not all start the same at once.
    """
    found = [
        Plan(
            *(BURSTS[size], 0) if burst else PACED[size],
            outcome,
            outcome == "failed" and size % 2 > 0,
        )
        for size in range(len(PACED))
        for outcome in OUTCOMES
        for burst in (False, True)
    ]
    turn %= len(found)
    return itertools.cycle(found[turn:] + found[:turn])


@dataclass(slots=True, eq=False)
class Job:
    """A job that the target accepted."""

    id: str
    plan: Plan | None
    """None where the target's jobs cannot be shaped."""
    accepted_at: float = field(default_factory=time.time)
    truth: Truth = field(default_factory=Truth)
    readers: int = 0
    cancelled: bool = False
    """Its cancellation is on its way."""
    cancel_heard: bool = False
    """The target has said that it cancels it."""

    @property
    def ended(self) -> bool:
        return self.truth.complete

    @property
    def kind(self) -> str:
        """What is counted of it."""
        return f"{self.plan.pace} {self.plan.outcome}" if self.plan else "natural"

    def flaw(self, known: Known, text_type: str, text_member: str) -> str:
        """What an event that nobody had been shown says against the job's script, or ""."""
        plan = self.plan
        if plan is None:
            return ""
        place = len(self.truth.events)
        if known.type == text_type and isinstance(known.data, dict):
            text = known.data.get(text_member)
            size = len(text.encode("utf-8", "replace")) if isinstance(text, str) else -1
            if size != PAYLOAD_BYTES:
                return (
                    f"event {known.id!r} holds {size} octets of text where {PAYLOAD_BYTES} were "
                    "asked for"
                )
        if not known.terminal:
            return ""
        status = known.data.get("status") if isinstance(known.data, dict) else None
        if self.cancel_heard and status == "completed":
            return f"the job was cancelled and ended with event {known.id!r} as completed"
        if plan.outcome == "failed" and status == "completed":
            return f"the job had to fail and ended with event {known.id!r} as completed"
        if plan.outcome != "cancelled" and place != plan.total:
            return f"the log has {place} events where {plan.total} were asked for"
        return ""


class Jobs:
    """The jobs of one process that somebody may join."""

    def __init__(self) -> None:
        self._running: list[Job] = []
        self._ended: deque[Job] = deque(maxlen=KEPT)
        self._taken: Counter[tuple[str, str]] = Counter()
        self._turn = 0
        self._after = False

    def add(self, job: Job) -> None:
        self._running.append(job)

    def after_is_next(self) -> bool:
        """Whether who joins next comes after a job's end: in turn."""
        self._after = not self._after
        return self._after

    def to_join(self, ended: bool) -> Job | None:
        """A running or an ended job of the kind that has been taken least; None: there is none.

        Of running jobs every third one given is that with most readers, so that crowds gather.
        """
        self._sort_out()
        when = "after" if ended else "during"
        offered = [job for job in (self._ended if ended else self._running) if job.truth.events]
        if not offered:
            return None
        self._turn += not ended
        if not ended and self._turn % CROWD_TURN == 0:
            return max(offered, key=lambda job: job.readers)
        chosen = min(offered, key=lambda job: (self._taken[when, job.kind], -job.accepted_at))
        self._taken[when, chosen.kind] += 1
        return chosen

    def _sort_out(self) -> None:
        """Jobs whose end has been seen may be joined afterwards; others are not kept for ever."""
        now = time.time()
        for job in self._running[:]:
            if job.ended:
                self._running.remove(job)
                self._ended.append(job)
            elif not job.readers and now - job.accepted_at > ALONE_S:
                self._running.remove(job)
