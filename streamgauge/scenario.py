"""A named way of using the target, and how its parts are played side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from .lab import Lab
from .profile import Profile
from .verdict import Unable


class Means(Enum):
    """How little of a target a scenario can make do with."""

    STARTS = "jobs that it starts itself"
    READS = "a job that it can read, as often as it likes"
    STREAM = "one stream, read once"


def _a_while(profile: Profile, long: bool) -> float:
    """How long a scenario takes that says nothing else of itself."""
    return 10.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named way of using the target. Its name is the fixture by which checks ask for it."""

    name: str
    run: Callable[[Lab], Awaitable[None]]
    about: str
    """What it does, for the progress line."""
    makes_do_with: Means = Means.STARTS
    alone: bool = False
    """It harms the deployment for a while, so it is played by itself when all others are over."""
    patient: bool = False
    """It mostly waits for seconds, so that judging beside it does not disturb its timing."""
    jobs: int = 12
    """How many jobs it starts at most (with the default quota), where they can be shaped."""
    natural_jobs: int = 0
    """The same where they cannot."""
    lasts: Callable[[Profile, bool], float] = _a_while
    """How long it takes in seconds, by the profile and whether the run is a long one."""


async def together(*parts: Awaitable[object]) -> None:
    """Play parts of a scenario side by side, each to its own end.

    One part that could not take place must not cost the others their evidence: only when all are
    over is the first reason (or the first fault) raised.
    """
    outcomes = await asyncio.gather(*parts, return_exceptions=True)
    faults = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if faults:
        raise next((fault for fault in faults if not isinstance(fault, Unable)), faults[0])
