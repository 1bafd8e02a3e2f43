"""Which jobs a crowd starts, and whom it lets join."""

from __future__ import annotations

import itertools

import pytest

from load.jobs import OUTCOMES, Job, Jobs, plans
from reference_server.pipelines.script import Script


def test_every_kind_comes_in_a_round_whichever_comes_first() -> None:
    for turn in (0, 5, 17):
        kinds = {(plan.pace, plan.outcome) for plan in itertools.islice(plans(turn), 24)}
        assert kinds == {(pace, outcome) for pace in ("paced", "burst") for outcome in OUTCOMES}
    sizes = {plan.events for plan in itertools.islice(plans(), 24)}
    assert min(sizes) == 10
    assert max(sizes) == 1000


@pytest.mark.parametrize("plan", list(itertools.islice(plans(), 24)), ids=str)
def test_each_plan_is_a_script_that_servers_accept(plan) -> None:
    script = Script.parse(plan.script())
    assert script.events == plan.events
    if plan.crashes:
        assert plan.total == script.crash_at + 3


def test_who_joins_gets_the_kind_that_was_taken_least() -> None:
    jobs = Jobs()
    for plan in itertools.islice(plans(), 6):
        job = Job(str(plan), plan)
        job.truth.events.append(None)
        job.truth.ended_at = 1.0
        jobs.add(job)
    taken = [jobs.to_join(ended=True).kind for _ in range(12)]
    assert sorted(taken) == sorted(2 * taken[:6])
    assert len(set(taken)) == 6
    assert jobs.to_join(ended=False) is None
