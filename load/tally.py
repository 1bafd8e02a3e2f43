"""What one process has counted: durations, streams by what became of them, and examples of faults.

A worker sends the whole of it again and again; the newest replaces the one before, so a lost
message loses nothing and a worker that dies leaves what it last said. Adding up several is exact.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .histogram import Histogram

PHASES: Final = ("start", "connect", "first_event", "event_age", "gap", "resume", "complete")
"""What is timed; Locust shows each as an entry of its own."""
ENTRIES: Final[Mapping[str, tuple[str, str]]] = {
    "start": ("POST", "start"),
    **{phase: ("SSE", phase.replace("_", " ")) for phase in PHASES[1:]},
}
"""Phase -> method and name of its Locust entry."""
WORDS: Final = (
    "ok", "lost", "duplicate", "reordered", "diverged", "unsignalled_gap", "stuck",
    "never_terminated", "stopped",
)  # fmt: skip
"""What can be said of a stream."""
CLEAN: Final = frozenset({"ok", "stopped"})
FAULTS_MAX: Final = 50
"""So many counter-examples a process keeps; all are counted."""


@dataclass(slots=True)
class Tally:
    """Counts since the run began. Everything in it can be sent and added up."""

    phases: dict[str, Histogram] = field(
        default_factory=lambda: {phase: Histogram() for phase in PHASES}
    )
    ledger: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Judged streams by what they were: "burst", "failed", "during", "slow reader"."""
    counts: Counter[str] = field(default_factory=Counter)
    """events, octets, opened, resumed, dropped by the target, failed requests, arrivals."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    live: int = 0
    """Streams that are open now."""
    health: dict[str, Any] = field(default_factory=dict)
    lag: Histogram = field(default_factory=Histogram)
    """How late this process's own loop was."""

    def fault(self, word: str, job: str, stream: str, message: str) -> None:
        """Keep a counter-example."""
        if len(self.faults) < FAULTS_MAX:
            now = time.time()
            self.faults.append(
                {"at": now, "word": word, "job": job, "stream": stream, "message": message}
            )

    def as_dict(self) -> dict[str, Any]:
        """What can be sent."""
        return {
            "phases": {phase: histogram.counts for phase, histogram in self.phases.items()},
            "ledger": dict(self.ledger),
            "kinds": dict(self.kinds),
            "counts": dict(self.counts),
            "faults": self.faults,
            "live": self.live,
            "health": self.health,
            "lag": self.lag.counts,
        }


@dataclass(slots=True)
class Whole:
    """The tallies of all processes as one."""

    phases: dict[str, Histogram]
    ledger: Counter[str]
    kinds: Counter[str]
    counts: Counter[str]
    faults: list[dict[str, Any]]
    live: int
    lag: Histogram
    """Of the process whose loop was latest."""
    health: dict[str, dict[str, Any]]
    """By process."""

    @property
    def streams(self) -> int:
        return self.ledger.total()

    @property
    def judged(self) -> int:
        """Streams that were read to where they had to end, or broke a rule before."""
        return self.streams - self.ledger["stopped"]

    @property
    def anomalies(self) -> int:
        """Streams with a fault."""
        return sum(count for word, count in self.ledger.items() if word not in CLEAN)


def whole(tallies: Mapping[str, Mapping[str, Any]]) -> Whole:
    """Add up what the processes sent: process -> `Tally.as_dict()`."""
    sums = Whole(
        {phase: Histogram() for phase in PHASES}, Counter(), Counter(), Counter(), [], 0,
        Histogram(), {},
    )  # fmt: skip
    for name, told in tallies.items():
        for phase, counts in told["phases"].items():
            sums.phases[phase].merge(counts)
        sums.ledger.update(told["ledger"])
        sums.kinds.update(told["kinds"])
        sums.counts.update(told["counts"])
        sums.faults += told["faults"]
        sums.live += told["live"]
        sums.health[name] = told["health"]
        lag = Histogram(dict(told["lag"]))
        if (lag.percentile(0.95) or 0) >= (sums.lag.percentile(0.95) or 0):
            sums.lag = lag
    sums.faults.sort(key=lambda fault: fault["at"])
    return sums


def worst(words: Iterable[str]) -> str:
    """The worst of these words of the ledger."""
    return max(words, key=WORDS.index)
