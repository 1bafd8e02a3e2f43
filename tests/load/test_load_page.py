"""The report page: what it shows, and that nothing of a target's can act in it."""

from __future__ import annotations

from load.curves import POINTS_MAX, Curves
from load.page import live_page, report
from load.run import capacity
from load.tally import Tally, whole
from load.verdict import Threshold, judge

HOSTILE = '</style><script>alert(1)</script><img src=x onerror="1">\u202e'


def run_of(tally: Tally, state: str = "finished", **more) -> dict:
    sums = whole({"this process": tally.as_dict()})
    curves = Curves()
    for second in range(1, 5):
        curves.add(float(second), sums, 10)
    return {
        "schema": 1, "state": state, "host": "http://t.example", "profile": "p", "load": "10 users",
        "began": 1.0, "seconds": 5.0, "age_bound_s": 1.0, "problems": [], "overloaded": [],
        "verdict": judge(sums, [Threshold("event_age", "p95", 1.0)]).as_json(),
        "counts": dict(sums.counts), "kinds": dict(sums.kinds), "faults": sums.faults,
        "age": sums.phases["event_age"].counts, "lag_p95_s": 0.001, "health": sums.health,
        "marks": [], "steps": [], "capacity": "", "curves": curves.as_json(), **more,
    }  # fmt: skip


def test_what_a_target_said_is_text_in_the_page() -> None:
    tally = Tally()
    tally.ledger.update(ok=5, lost=1)
    tally.phases["event_age"].add(0.2, 50)
    tally.fault("lost", HOSTILE, "starter 1", HOSTILE)
    page = report(run_of(tally, host=HOSTILE))
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "Streams are broken" in page


def test_a_run_that_has_not_begun_can_be_shown() -> None:
    page = live_page(run_of(Tally(), "running"))
    assert "Nothing was measured" in page
    assert page.count("<script>") == 1


def test_long_runs_are_drawn_with_bounded_points() -> None:
    curves, sums = Curves(), whole({})
    for second in range(3 * POINTS_MAX + 7):
        curves.add(float(second), sums, second)
    told = curves.as_json()
    assert len(told["at"]) <= POINTS_MAX
    assert all(len(values) == len(told["at"]) for values in told.values())


def test_a_sweeps_capacity_is_its_greatest_step_within_the_bounds() -> None:
    step = {"users": 50, "live": 48.0, "events": 900.0, "met": True, "why": ""}
    assert "50 users" in capacity([step])
    worse = {**step, "users": 75, "met": False, "why": "event_age.p95 is 2 s"}
    assert "knee is at 75 users: event_age.p95 is 2 s" in capacity([step, worse])
    assert capacity([worse]).startswith("Not even 75 users")
