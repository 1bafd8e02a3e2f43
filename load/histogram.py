"""Durations as counts: what workers send, what merges without loss, and what percentiles come from.

A percentile of percentiles means nothing, and lists of millions of values cannot be sent. Buckets
grow by one per cent, so that a value of 40 microseconds and one of 40 seconds are both told to
within half a per cent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

GROWTH: Final = 1.01
_PER_LOG: Final = 1 / math.log(GROWTH)
LEAST_S: Final = 1e-6
"""Anything shorter counts as this, negative ages of clocks that disagree included."""
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def bucket(seconds: float) -> int:
    """The bucket of a duration."""
    return math.floor(math.log(seconds) * _PER_LOG + 0.5) if seconds > LEAST_S else _LEAST


_LEAST: Final = math.floor(math.log(LEAST_S) * _PER_LOG + 0.5)


def middle(index: int) -> float:
    """The duration that stands for a bucket, in seconds."""
    return float(GROWTH**index)


@dataclass(slots=True)
class Histogram:
    """How many durations fell into each bucket."""

    counts: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float, times: int = 1) -> None:
        index = bucket(seconds)
        self.counts[index] = self.counts.get(index, 0) + times

    def merge(self, counts: Mapping[int, int]) -> None:
        mine = self.counts
        for index, count in counts.items():
            mine[index] = mine.get(index, 0) + count

    def since(self, before: Histogram) -> Histogram:
        """What came after an earlier state of the same histogram."""
        old = before.counts
        new = {index: count - old.get(index, 0) for index, count in self.counts.items()}
        return Histogram({index: count for index, count in new.items() if count > 0})

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def percentile(self, share: float) -> float | None:
        """The least duration that `share` (0..1) of all do not exceed, None where there is none."""
        total = self.total
        if not total:
            return None
        wanted, seen = max(1, math.ceil(share * total)), 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return middle(index)
        raise AssertionError

    def summary(self) -> dict[str, float | int | None]:
        """Count, percentiles and maximum, in seconds; None where there is nothing."""
        most = middle(max(self.counts)) if self.counts else None
        found = {name: _rounded(self.percentile(share)) for name, share in SHARES.items()}
        return {"count": self.total, **found, "max": _rounded(most)}


def merged(all_of: Iterable[Mapping[int, int]]) -> Histogram:
    """All of them as one."""
    whole = Histogram()
    for counts in all_of:
        whole.merge(counts)
    return whole


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds:.3g}")
