"""One process's share of the crowd: what its users know together, and who watches over them."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import gevent
import orjson
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from streamgauge.framing import WireError

from .jobs import Job, Jobs, plans
from .tally import ENTRIES, Tally
from .target import Target

WATCH_S: Final = 0.5
LATE_S: Final = 1.0
"""When the watch itself comes so much too late, nobody is called stuck on that round."""
GONE_S: Final = 10.0
"""When no connection can be made for so long, the target has gone."""

GC_THRESHOLD: Final = 50_000

Fire = Callable[[str, str, float, int, "Exception | None"], None]


class Anomaly(Exception):
    """A stream broke a rule; the message is the counter-example."""


class Crowd:
    """What all users of a process share."""

    def __init__(
        self, target: Target, records: Path, fire: Fire, turn: int, gone_s: float = GONE_S
    ) -> None:
        """
        Args:
            target: the deployment, looked at.
            records: the file that gets one JSON line per stream.
            fire: tells Locust of one measure: method, name, seconds, octets, what failed.
            turn: which kind of job comes first.
            gone_s: the target has gone when nobody could connect for so long.
        """
        self.target = target
        self.tally = Tally()
        self.jobs = Jobs()
        self.plans = plans(turn)
        self.live: set[Watched] = set()
        self.background = Group()
        self.fire = fire
        self.herd_job: Job | None = None
        self.herd_gate = BoundedSemaphore()
        """One of the herd starts the job that all read."""
        self.unreachable_since: float | None = None
        self.gone = ""
        """What the system said of a target that has gone, "" while it is there."""
        self._gone_s = gone_s
        self._streams = 0
        # Events are kept by the hundred thousand and hold no cycles: looking for some among them,
        # again and again, would cost as much as parsing them.
        gc.set_threshold(GC_THRESHOLD, 50, 100)
        self._records = os.open(records, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._watch = gevent.spawn(self._watch_over)

    def close(self) -> None:
        """End all that goes on in the background; streams have been left before."""
        self._watch.kill()
        self.background.kill()
        os.close(self._records)

    def number(self) -> int:
        """The next stream's."""
        self._streams += 1
        return self._streams

    def measured(
        self, phase: str, seconds: float, octets: int = 0, error: Exception | None = None
    ) -> None:
        """Count one duration, here and in Locust's table. Failures have no duration of worth."""
        if error is None:
            self.tally.phases[phase].add(seconds)
        else:
            self.tally.counts["failed"] += not isinstance(error, Anomaly)
        method, name = ENTRIES[phase]
        self.fire(method, name, seconds, octets, error)

    def record(self, line: dict[str, Any]) -> None:
        """Keep a stream's record. One write per line: several workers may share the file."""
        os.write(self._records, orjson.dumps(line) + b"\n")

    def reached(self, error: WireError | None) -> None:
        """Note whether somebody could be reached."""
        if error is None:
            self.unreachable_since = None
        elif self.unreachable_since is None:
            self.unreachable_since = time.monotonic()
        elif time.monotonic() - self.unreachable_since > self._gone_s and not self.gone:
            self.gone = str(error)

    def _watch_over(self) -> None:
        """Call streams stuck that are. Twice in a row, so that what has arrived gets read first."""
        suspects: set[Watched] = set()
        before = time.monotonic()
        while True:
            gevent.sleep(WATCH_S)
            now = time.monotonic()
            late, before = now - before - WATCH_S, now
            if late > LATE_S:
                suspects = set()
                continue
            overdue = {watched for watched in self.live if watched.overdue() is not None}
            for watched in overdue & suspects:
                watched.give_up()
            suspects = overdue - suspects


class Watched:
    """Somebody whose patience the watch keeps."""

    def overdue(self) -> tuple[str, str] | None:
        """The word for having waited too long and why it is true; None where it has not."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Stop waiting."""
        raise NotImplementedError
