"""Broken servers that only a fault gives away: each has to be caught, or the experiments prove
nothing.

They are the reference server with one behaviour changed (`tests/mutants`), served by this checkout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from . import outcome
from .experiments import LEASE_S, POSTGRES, SQLITE, Experiment, plans
from .measure import Calm
from .outcome import FAIL, Outcome
from .schedule import Fault
from .topology import started
from .trial import Size, Trial

SIZE: Final = Size(readers=3, ended_s=8.0)
"""A stream that nothing comes to any more is not waited for long."""
CALM: Final = Calm(age_p99_s=0.5, pause_s=0.5)


@dataclass(frozen=True, slots=True)
class Control:
    """One broken server, and the fault under which it shows."""

    name: str
    mutant: str
    deployment: str
    faults: tuple[Fault, ...]
    expected: str


CONTROLS: Final = (
    Control(
        "fan-out before persist",
        "take-shown-first",
        SQLITE,
        (Fault("kill", "all", 0.4, 0.1),),
        "readers saw events that the log does not have",
    ),
    Control(
        "append without epoch",
        "take-no-epoch",
        SQLITE,
        (Fault("pause", "all", 0.2, 1.5 * LEASE_S),),
        "an owner that woke up wrote on",
    ),
    Control(
        "subscriber that never subscribes again",
        "mi-lost-subscription",
        POSTGRES,
        (Fault("stop", "broker", 0.3, 1.0),),
        "readers on other instances get nothing any more",
    ),
    Control(
        "lease that never expires",
        "take-running-for-ever",
        SQLITE,
        (Fault("kill", "all", 0.3, 0.1),),
        "the jobs of a killed instance never end",
    ),
    Control(
        "drain that cuts in mid-frame",
        "mi-torn-drain",
        SQLITE,
        (Fault("roll", "all", 0.3, 0.0),),
        "connections are ended inside a frame",
    ),
)


async def play(control: Control, seed: int) -> Outcome:
    """Its outcome: caught where that is a failure.

    Raises ServiceFailed, MissingProgram, httpx.HTTPError.
    """
    program = ("tests.mutants.serve", control.mutant)
    plan = replace(plans(small_disk=False, program=program)[control.deployment], linked=False)
    topology = await started(plan)
    try:
        trial = Trial(topology, SIZE, control.faults, seed)
        await trial.run()
    finally:
        await topology.aclose()
    experiment = Experiment(control.name, control.deployment, control.faults)
    return outcome.judged(experiment, trial, CALM)


def caught(found: Outcome) -> bool:
    """Whether the harm was seen."""
    return found.verdict == FAIL
