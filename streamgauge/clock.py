"""The run's clock, one time line for every recording of a run; and how much of it was our own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_SCHEDULED: Final = Path("/proc/thread-self/schedstat")


def starved() -> float:
    """The share of its time that this thread had work and waited for a core, 0 to 1.

    0 where the system does not tell (it is Linux that does: proc_pid_schedstat(5)).
    """
    try:
        ran, waited = map(int, _SCHEDULED.read_text("ascii").split()[:2])
    except (OSError, ValueError):
        return 0.0
    return waited / max(1, ran + waited)


@dataclass(frozen=True, slots=True)
class RunClock:
    """Seconds since the run began, and the wall-clock moment that this was."""

    origin: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)

    def now(self) -> float:
        return time.monotonic() - self.origin
