"""The open model: streams begin at their times, whether or not the earlier ones are over.

A closed crowd waits for a slow target and so spares it. Here a slow target gets more and more open
streams, as it would from the real world, and what could not begin in time is counted: it is the
generator's fault, not the target's.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

import gevent
from gevent.pool import Pool

from streamgauge.profile import Load

from .crowd import Crowd
from .visits import VISITS

OPEN_MAX: Final = 5_000
"""Of one process; what would come on top is dropped and counted."""
LATE_S: Final = 0.05
_SEED: Final = 1


class Arrivals:
    """Begins visits at a rate."""

    def __init__(
        self, crowd: Crowd, per_second: float, failed: Callable[[Exception], None]
    ) -> None:
        """`failed` is told of faults of our own."""
        self._failed = failed
        self._crowd = crowd
        self._interval_s = 1 / per_second
        self._pool = Pool(OPEN_MAX)
        self._kinds = _in_turn(crowd.target.profile.load)
        self._driver = gevent.spawn(self._drive)

    def stop(self) -> None:
        """Begin nothing more, and cut what is open."""
        self._driver.kill()
        self._pool.kill()

    def _drive(self) -> None:
        counts = self._crowd.tally.counts
        due = time.monotonic()
        while True:
            due += self._interval_s
            wait_s = due - time.monotonic()
            if wait_s > 0:
                gevent.sleep(wait_s)
            counts["arrivals due"] += 1
            counts["arrivals late"] += wait_s < -LATE_S
            if self._pool.free_count() <= 0:
                counts["arrivals dropped"] += 1
                continue
            self._pool.spawn(self._visit, VISITS[next(self._kinds)])
            if wait_s <= 0:
                # Behind time: the streams that are open must get their turn all the same.
                gevent.sleep(0)

    def _visit(self, visit: Callable[[Crowd], None]) -> None:
        try:
            visit(self._crowd)
        except Exception as error:
            self._failed(error)


def _in_turn(shares: Load) -> Iterator[str]:
    """Kinds of visits by their shares, mixed, and the same in every run."""
    kinds = [name for name in VISITS for _ in range(getattr(shares, name))]
    random.Random(_SEED).shuffle(kinds)
    return itertools.cycle(kinds or ["starters"])
