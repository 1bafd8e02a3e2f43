"""What an experiment came to: the steady-state hypothesis before, during and after, and a verdict.

Fail: something was lost, shown twice or left hanging, or the deployment did not come back to its
steady state. Inconclusive: nothing was proven, because a fault touched no stream or was not played,
or the deployment was not steady to begin with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from .experiments import Experiment
from .measure import Calm, arrivals, percentile, resumed_s
from .trial import Played, Trial

PASS: Final = "pass"
FAIL: Final = "fail"
INCONCLUSIVE: Final = "inconclusive"
AGE_P95_S: Final = 1.0
"""The steady state: events reach their readers within this (protocol §5)."""
TAKEN_OVER_S: Final = 10.0
"""After the end of a lease (protocol §8)."""
BUSY_S: Final = 0.3
"""Readers that were so late themselves cannot blame anybody for late events."""
SETTLED_S: Final = 1.0
"""After everything goes on, what was held up meanwhile still arrives."""


@dataclass(frozen=True, slots=True)
class Phase:
    """The same measurements before, during and after the faults."""

    name: str
    events: int
    age_p50_s: float
    age_p95_s: float
    goodput: float
    """Distinct events of all streams a second."""


@dataclass(slots=True)
class Outcome:
    """One experiment that was played, or could not be."""

    experiment: Experiment
    verdict: str
    reasons: list[str]
    trial: Trial | None = None
    phases: list[Phase] = field(default_factory=list)
    resumed_s: float = 0.0
    """The longest time that a reader whose connection broke waited for its next event."""

    @property
    def recovery_s(self) -> float:
        return max((p.recovery_s for p in self.played), default=0.0)

    @property
    def played(self) -> list[Played]:
        return self.trial.played if self.trial else []


def control(experiment: Experiment, trial: Trial) -> Outcome:
    """The run without any fault, which the others are compared with."""
    phases = [_phase("undisturbed", trial, trial.began, trial.ended)]
    harm, late = list(_harm(trial)), list(_unsteady(phases[0]))
    verdict = FAIL if harm else INCONCLUSIVE if late else PASS
    return Outcome(experiment, verdict, [*harm, *late], trial, phases)


def judged(experiment: Experiment, trial: Trial, calm: Calm) -> Outcome:
    """Hold what was recorded against the hypothesis."""
    trial.count_hits(calm)
    first = trial.before_faults
    last = trial.began + max((p.at_s + p.lasted_s + p.recovery_s for p in trial.played), default=0)
    phases = [
        _phase("before", trial, trial.began, first),
        _phase("during", trial, first, last + SETTLED_S),
        _phase("after", trial, last + SETTLED_S, trial.ended),
    ]
    resumed = max((resumed_s(reader) for reader in trial.readers), default=0.0)
    outcome = Outcome(experiment, PASS, [], trial, phases, resumed)
    busy = trial.late_s > BUSY_S
    late = list(_late(outcome))
    if harm := [*_harm(trial), *_not_back(experiment, outcome), *(() if busy else late)]:
        outcome.verdict, outcome.reasons = FAIL, harm
    elif late:
        told = f"this machine was too busy: the readers themselves were {trial.late_s:.1f} s late"
        outcome.verdict, outcome.reasons = INCONCLUSIVE, [told, *late]
    elif unproven := list(_unproven(experiment, outcome)):
        outcome.verdict, outcome.reasons = INCONCLUSIVE, unproven
    return outcome


def unplayed(experiment: Experiment, why: str) -> Outcome:
    """It could not be played to its end."""
    return Outcome(experiment, INCONCLUSIVE, [why])


def _harm(trial: Trial) -> Iterator[str]:
    """What no fault excuses."""
    yield from trial.ledger.faults
    if not trial.ledger.clean and not trial.ledger.faults:
        yield "no stream was judged"


def _not_back(experiment: Experiment, outcome: Outcome) -> Iterator[str]:
    """What is still broken when everything has been mended."""
    trial = outcome.trial
    assert trial is not None
    if not trial.lively:
        yield "after everything was mended a fresh job did not run to its end"
    torn = sum(connection.torn for reader in trial.readers for connection in reader.connections)
    if experiment.orderly and torn:
        yield f"{torn} connections were ended inside a frame, though the server was asked to stop"


def _late(outcome: Outcome) -> Iterator[str]:
    """What takes too long when everything has been mended."""
    trial = outcome.trial
    assert trial is not None
    yield from _unsteady(outcome.phases[-1])
    lasted = max((played.lasted_s for played in trial.played), default=0.0)
    bound = lasted + trial.deployment.lease_s + TAKEN_OVER_S
    if outcome.resumed_s > bound:
        yield (
            f"a reader whose connection broke waited {outcome.resumed_s:.1f} s for its next event; "
            f"lease and takeover allow {bound:.1f} s"
        )


def _unproven(experiment: Experiment, outcome: Outcome) -> Iterator[str]:
    trial = outcome.trial
    assert trial is not None
    if len(trial.played) < len(experiment.faults):
        yield "the jobs were over before every fault was played"
    if experiment.cut and not trial.played:
        yield f"no stream was cut {experiment.cut}"
    for played in trial.played:
        if not played.streams_hit:
            yield f"{played.fault.breaks} touched no stream"
    before = outcome.phases[0]
    if trial.played and not before.events:
        yield "no event came before the first fault"
    for reason in _unsteady(before):
        yield f"before the first fault: {reason}"


def _unsteady(phase: Phase) -> Iterator[str]:
    if phase.events and phase.age_p95_s > AGE_P95_S:
        yield (
            f"events were {phase.age_p95_s:.2f} s old on arrival (p95, {phase.name}); "
            f"the steady state is {AGE_P95_S:g} s"
        )


def _phase(name: str, trial: Trial, begin: float, end: float) -> Phase:
    found = [a for r in trial.readers for a in arrivals(r) if begin <= a.at < end]
    ages = [arrival.age_s for arrival in found]
    lasted = max(end - begin, 1e-9)
    p50, p95 = percentile(ages, 50), percentile(ages, 95)
    return Phase(name, len(found), p50, p95, len(found) / lasted if found else 0.0)
