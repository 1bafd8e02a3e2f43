"""How a run went over time: one point a second, and what happened at which moment."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from .histogram import Histogram
from .tally import Whole

WINDOW: Final = 2
"""Rates and percentiles of a point are those of so many seconds: workers do not tell in step."""
POINTS_MAX: Final = 400
"""More than a picture can show; neighbours are drawn as one."""
WORST: Final = ("age_p50", "age_p95", "age_p99", "first_p95", "resume_p95", "anomalies")
"""Of points that are drawn as one the greatest counts here, and the mean everywhere else."""
NAMES: Final = ("users", "live", "events", "octets", "resumes", "jobs", *WORST)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What had been counted at one moment."""

    at: float
    counts: dict[str, int]
    age: Histogram
    first: Histogram
    resume: Histogram


@dataclass(slots=True)
class Curves:
    """One value per second and name; None where nothing was measured."""

    at: list[float] = field(default_factory=list)
    """Seconds since the run began."""
    values: dict[str, list[float | None]] = field(
        default_factory=lambda: {name: [] for name in NAMES}
    )
    _before: deque[Snapshot] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, at: float, sums: Whole, users: int) -> None:
        """Add a point."""
        now = Snapshot(
            at,
            dict(sums.counts),
            Histogram(dict(sums.phases["event_age"].counts)),
            Histogram(dict(sums.phases["first_event"].counts)),
            Histogram(dict(sums.phases["resume"].counts)),
        )
        before = self._before[0] if self._before else Snapshot(
            0.0, {}, Histogram(), Histogram(), Histogram()
        )  # fmt: skip
        self._before.append(now)
        seconds = max(at - before.at, 0.1)

        def rate(name: str) -> float:
            return (now.counts.get(name, 0) - before.counts.get(name, 0)) / seconds

        age = now.age.since(before.age)
        point: dict[str, float | None] = {
            "users": users,
            "live": sums.live,
            "events": rate("events"),
            "octets": rate("octets"),
            "resumes": rate("resumed"),
            "jobs": rate("jobs"),
            "age_p50": age.percentile(0.5),
            "age_p95": age.percentile(0.95),
            "age_p99": age.percentile(0.99),
            "first_p95": now.first.since(before.first).percentile(0.95),
            "resume_p95": now.resume.since(before.resume).percentile(0.95),
            "anomalies": sums.anomalies,
        }
        self.at.append(round(at, 2))
        for name, value in point.items():
            self.values[name].append(None if value is None else float(f"{value:.4g}"))

    def as_json(self) -> dict[str, Any]:
        """At most `POINTS_MAX` points: name -> values, "at" -> seconds."""
        stride = -(-len(self.at) // POINTS_MAX) or 1
        starts = range(0, len(self.at), stride)
        drawn: dict[str, Any] = {"at": [self.at[n] for n in starts]}
        for name, values in self.values.items():
            parts = ([v for v in values[n : n + stride] if v is not None] for n in starts)
            drawn[name] = [_one(name, part) for part in parts]
        return drawn


def _one(name: str, values: list[float]) -> float | None:
    if not values:
        return None
    return max(values) if name in WORST else sum(values) / len(values)
