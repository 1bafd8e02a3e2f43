"""The run's clock: one monotonic time line for every recording of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunClock:
    """Seconds since the run began, and the wall-clock moment that this was."""

    origin: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)

    def now(self) -> float:
        return time.monotonic() - self.origin
