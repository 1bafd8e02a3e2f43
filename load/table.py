"""Puts what is measured per event into Locust's own table, many at a time.

Firing Locust's request event for each of a hundred thousand events a second would cost more than
reading them, so their histograms are folded into the table once a second. Locust rounds durations
below 100 ms to whole milliseconds; streams live there, so its rounding is replaced by one that
keeps two significant digits at any size.
"""

from __future__ import annotations

import math
import time
from typing import Final

from locust import stats
from locust.env import Environment

from .histogram import Histogram, middle
from .tally import ENTRIES, Tally

FOLDED: Final = ("event_age", "gap")
"""Phases that come per event; the others are fired one by one."""


def two_digits(milliseconds: float) -> float:
    """A duration with two significant digits."""
    if milliseconds <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(milliseconds))
    return round(milliseconds, digits)


class Table:
    """Locust's table, as far as this process fills it in bulk."""

    def __init__(self, environment: Environment) -> None:
        stats.bucket_response_time = two_digits  # type: ignore[assignment]
        self._environment = environment
        self._before: dict[str, Histogram] = {}

    def take(self, tally: Tally) -> None:
        """Add what came since the last time."""
        for phase in FOLDED:
            histogram = tally.phases[phase]
            before = self._before.get(phase, Histogram())
            if histogram.total < before.total:
                before = Histogram()  # A new run has begun.
            self._fold(phase, histogram.since(before))
            self._before[phase] = Histogram(dict(histogram.counts))

    def _fold(self, phase: str, new: Histogram) -> None:
        if not new.counts:
            return
        method, name = ENTRIES[phase]
        whole = self._environment.stats
        now = time.time()
        least, most = middle(min(new.counts)) * 1000, middle(max(new.counts)) * 1000
        for entry in (whole.get(name, method), whole.total):
            for index, count in new.counts.items():
                milliseconds = middle(index) * 1000
                entry.response_times[two_digits(milliseconds)] += count  # type: ignore[index]
                entry.total_response_time += milliseconds * count  # type: ignore[assignment]
            entry.num_requests += new.total
            entry.num_reqs_per_sec[int(now)] += new.total
            entry.last_request_timestamp = now
            known = entry.min_response_time
            entry.min_response_time = least if known is None else min(known, least)  # type: ignore[assignment]
            entry.max_response_time = max(entry.max_response_time, most)  # type: ignore[assignment]
