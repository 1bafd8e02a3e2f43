"""What readers' recordings say about a fault: whom it touched, and how late and how rare it made
events.

A stream was hit if its own recording shows it: its connection broke, it was silent for longer than
any stream of the control run, or a tenth of what reached it meanwhile was older than the control
run's p99. Of calm streams one event in a hundred is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from streamgauge.history import Entry

from .readers import Reader

TOUCHED_S: Final = 3.0
"""A connection that broke within this after a fault began was hit by it."""
LATE_SHARE: Final = 0.1
LATE_MIN: Final = 3
"""So few late events are chance."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event on one stream, in seconds of the monotonic clock."""

    at: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Calm:
    """What streams of the same deployment show when nothing is broken."""

    age_p99_s: float
    pause_s: float
    """The longest time between two events of a stream."""

    @classmethod
    def of(cls, readers: Sequence[Reader], since: float = 0.0, until: float = float("inf")) -> Calm:
        """From what arrived between two moments, by default from all."""
        ages = [a.age_s for reader in readers for a in arrivals(reader) if since <= a.at <= until]
        lasted = (e - b for r in readers for b, e in pauses(r) if since <= b and e <= until)
        return cls(percentile(ages, 99), max(lasted, default=0.0))


def arrivals(reader: Reader) -> list[Arrival]:
    """Everything that a reader got, in that order."""
    return [
        Arrival(entry.at, entry.at - entry.emitted_at)
        for connection in reader.connections
        for entry in connection.entries
        if entry.emitted_at is not None
    ]


def pauses(reader: Reader) -> list[tuple[float, float]]:
    """The times between one event and the next, as its stream got them."""
    return list(pairwise(arrival.at for arrival in arrivals(reader)))


def hit(reader: Reader, begin: float, end: float, calm: Calm) -> bool:
    """Whether a fault between these moments touched the stream."""
    until = max(end, begin + TOUCHED_S)
    if any(c.broken and begin <= c.closed_at <= until for c in reader.connections):
        return True
    if any(b < until and e > begin and e - b > calm.pause_s for b, e in pauses(reader)):
        return True
    meanwhile = [each.age_s for each in arrivals(reader) if begin <= each.at <= until]
    late = sum(age > calm.age_p99_s for age in meanwhile)
    return late >= max(LATE_MIN, LATE_SHARE * len(meanwhile))


def resumed_s(reader: Reader) -> float:
    """The longest time from the end of a connection to the next event, 0.0 without any."""
    return max((entry.at - cut for cut, entry in _resumed(reader)), default=0.0)


def resume_lag_s(reader: Reader) -> float:
    """The same, less the time in which there was no event to be had."""
    return max(
        (entry.at - max(cut, entry.emitted_at or cut) for cut, entry in _resumed(reader)),
        default=0.0,
    )


def _resumed(reader: Reader) -> Iterator[tuple[float, Entry]]:
    """When connections broke, and the first event that came afterwards."""
    came = [entry for c in reader.connections for entry in c.entries]
    for before, after in pairwise(reader.connections):
        entry = next((each for each in came if each.at >= after.opened_at), None)
        if before.broken and entry is not None:
            yield before.closed_at, entry


def percentile(values: Iterable[float], share: float) -> float:
    """By the nearest rank; 0.0 of nothing."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, round(share / 100 * (len(ordered) - 1)))]
