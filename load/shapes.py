"""How the crowd grows and shrinks over a run, beside the plain "so many users" of -u and -r.

A shape is asked once a second how many users there should be; it knows the run, so that a sweep can
stop where the target's bounds are broken. Nothing here knows Locust.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from streamgauge.profile import Profile

from .histogram import Histogram
from .tally import PHASES, Whole

if TYPE_CHECKING:
    from .run import Run

SECONDS: Final = 60.0
SOAK_S: Final = 600.0
STEPS: Final = 5
SPIKE: Final = (0.4, 0.6)
"""The share of the run in which the spike stands."""
SPIKE_FOLD: Final = 5
RESTARTS: Final = (1 / 3, 2 / 3)
SWEEP_FIRST: Final = 10
SWEEP_GROWTH: Final = 1.5
SETTLE_S: Final = 4.0
"""A step's first seconds, in which its users arrive, are not measured."""
MEASURE_S: Final = 8.0
USERS_AT_MOST: Final = 2000
"""Where a sweep ends when -u names no other limit."""


class ShapeError(ValueError):
    """There is no such shape, or it lacks what it needs."""


class Shape(Protocol):
    """A course of users over time."""

    def users(self, at: float, run: Run) -> int | None:
        """How many users there should be `at` seconds into the run; None ends it."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Up in equal steps."""

    peak: int
    seconds: float

    def users(self, at: float, run: Run) -> int | None:
        del run
        if at >= self.seconds:
            return None
        step = int(at / self.seconds * STEPS) + 1
        return max(1, round(self.peak * step / STEPS))


@dataclass(frozen=True, slots=True)
class Spike:
    """A few, then at once many, then a few again."""

    peak: int
    seconds: float

    def users(self, at: float, run: Run) -> int | None:
        del run
        if at >= self.seconds:
            return None
        high = SPIKE[0] <= at / self.seconds < SPIKE[1]
        return self.peak if high else max(1, self.peak // SPIKE_FOLD)


@dataclass(frozen=True, slots=True)
class Soak:
    """The same for a long time."""

    peak: int
    seconds: float

    def users(self, at: float, run: Run) -> int | None:
        del run
        return self.peak if at < self.seconds else None


@dataclass(slots=True)
class Restarts:
    """The same all the time, while the target is restarted by the profile's own hook."""

    peak: int
    seconds: float
    due: list[float] = field(default_factory=lambda: list(RESTARTS))

    def users(self, at: float, run: Run) -> int | None:
        if at >= self.seconds:
            return None
        if self.due and at / self.seconds >= self.due[0]:
            self.due.pop(0)
            run.restart()
        return self.peak


@dataclass(slots=True)
class Sweep:
    """More and more, until a bound is broken: the last step before is the capacity."""

    most: int
    now: int = SWEEP_FIRST
    began: float = 0.0
    _before: Whole | None = None
    _measured_from: float = 0.0
    _live: list[int] = field(default_factory=list)

    def users(self, at: float, run: Run) -> int | None:
        in_step = at - self.began
        if in_step >= SETTLE_S:
            sums = run.sums()
            if self._before is None:
                self._before, self._measured_from = sums, at
            self._live.append(sums.live)
            if in_step >= SETTLE_S + MEASURE_S:
                return self._next(at, run, sums)
        return self.now

    def _next(self, at: float, run: Run, sums: Whole) -> int | None:
        assert self._before is not None
        seconds = at - self._measured_from
        met = run.step(self.now, seconds, sum(self._live) / len(self._live), self._before, sums)
        if not met or self.now >= self.most:
            return None
        self.now = min(self.most, max(self.now + 1, int(self.now * SWEEP_GROWTH)))
        self.began, self._before, self._live = at, None, []
        run.mark(f"{self.now} users")
        return self.now


def between(before: Whole, after: Whole) -> dict[str, Histogram]:
    """The phases of what was measured between two moments."""
    return {phase: after.phases[phase].since(before.phases[phase]) for phase in PHASES}


def shape_of(name: str, options: Namespace, profile: Profile) -> Shape | None:
    """The shape of this name, None for "closed". Raises ShapeError."""
    if name not in SHAPES:
        raise ShapeError(f"expected one of {', '.join(SHAPES)}, got {name!r}")
    if name == "closed":
        return None
    if options.arrivals:
        raise ShapeError(f"{name} counts users, and --arrivals has none: give one of both")
    if name == "restart" and not profile.hooks.restart:
        raise ShapeError(
            f"restart needs the command that restarts the target: restart in the [hooks] of the "
            f"profile {profile.name!r}"
        )
    peak = options.num_users or (USERS_AT_MOST if name == "sweep" else 1)
    seconds = options.run_time or (SOAK_S if name == "soak" else SECONDS)
    return _MAKERS[name](peak, float(seconds))


_MAKERS: Final[Mapping[str, Callable[[int, float], Shape]]] = {
    "step": Steps,
    "spike": Spike,
    "soak": Soak,
    "restart": Restarts,
    "sweep": lambda peak, _: Sweep(peak, min(SWEEP_FIRST, peak)),
}
SHAPES: Final = ("closed", *_MAKERS)
