"""What a run comes to, from what was counted."""

from __future__ import annotations

import pytest

from load.health import overload
from load.histogram import Histogram, merged
from load.tally import WORDS, Tally, whole
from load.verdict import Threshold, ThresholdError, judge

AGE = Threshold("event_age", "p95", 1.0)


def sums(age_s: float = 0.01, **ledger: int):
    tally = Tally()
    tally.phases["event_age"].add(age_s, 100)
    tally.ledger.update(ledger)
    for word in ledger:
        if word not in ("ok", "stopped"):
            tally.fault(word, "job-1", "starter 1", "event 5 is missing")
    return whole({"here": tally.as_dict()})


@pytest.mark.parametrize(
    ("counted", "problems", "overloaded", "word", "code"),
    [
        (sums(ok=3), [], [], "pass", 0),
        (sums(ok=3, stopped=2), [], [], "pass", 0),
        (sums(ok=3, lost=1), [], [], "fail", 1),
        (sums(ok=3, lost=1), ["it died"], ["busy"], "fail", 1),
        (sums(ok=3, age_s=2.0), [], [], "fail", 1),
        (sums(ok=3, age_s=2.0), [], ["busy"], "fail", 1),
        (sums(ok=3), [], ["busy"], "inconclusive", 3),
        (sums(ok=3), ["it died"], [], "inconclusive", 2),
        (sums(), [], [], "inconclusive", 3),
        (sums(stopped=9), [], [], "inconclusive", 3),
        (sums(stuck=1), [], [], "fail", 1),
    ],
)
def test_the_verdict(counted, problems, overloaded, word: str, code: int) -> None:
    verdict = judge(counted, [AGE], problems, overloaded)
    assert (verdict.word, verdict.exit_code) == (word, code)
    assert verdict.reasons
    told = verdict.as_json()
    assert set(told) == {
        "schema", "verdict", "reasons", "streams", "thresholds", "ledger", "percentiles",
    }  # fmt: skip
    assert tuple(told["ledger"]) == WORDS
    assert sum(told["ledger"].values()) == told["streams"]


def test_a_threshold_without_a_measurement_is_no_pass() -> None:
    verdict = judge(sums(ok=3), [Threshold("resume", "p99", 1.0)])
    assert (verdict.word, verdict.exit_code) == ("inconclusive", 3)
    assert "resume.p99: nothing was measured" in verdict.reasons


@pytest.mark.parametrize("text", ["event_age.p95", "age.p95<1", "event_age.p42<1", "resume.p50<x"])
def test_a_threshold_that_nobody_understands(text: str) -> None:
    with pytest.raises(ThresholdError, match=r"expected PHASE\.PERCENTILE<SECONDS"):
        Threshold.parse(text)


def test_histograms_are_exact_below_a_millisecond_and_merge() -> None:
    first, second = Histogram(), Histogram()
    for n in range(1, 1001):
        (first if n % 2 else second).add(n / 1e6)
    both = merged([first.counts, second.counts])
    assert both.total == 1000
    for share in (0.5, 0.95, 0.99):
        assert both.percentile(share) == pytest.approx(share / 1000, rel=0.01)
    assert both.since(first).counts == second.counts


@pytest.mark.parametrize(
    ("health", "lag_s", "counts", "said"),
    [
        ({"busy_share": 0.2, "files": 100, "files_max": 1000}, 0.01, {}, ""),
        ({"busy_share": 0.5, "files": 100, "files_max": 1000}, 0.01, {}, "50% of all seconds"),
        ({"busy_share": 0.0, "files": 950, "files_max": 1000}, 0.01, {}, "950 of 1000 files"),
        ({"busy_share": 0.0, "files": 1, "files_max": 9}, 0.4, {}, "0.4"),
        ({}, 0.01, {"arrivals due": 100, "arrivals dropped": 5}, "5 of 100 arrivals"),
    ],
)
def test_a_generator_that_is_the_bottleneck_is_told(health, lag_s, counts, said) -> None:
    tally = Tally()
    tally.health = health
    tally.lag.add(0.001, 90)
    tally.lag.add(lag_s, 10)
    tally.counts.update(counts)
    found = overload(whole({"a worker": tally.as_dict()}), age_bound_s=1.0)
    assert bool(found) == bool(said)
    assert said in " ".join(found)


def test_ages_of_clocks_that_disagree_do_not_break_anything() -> None:
    histogram = Histogram()
    histogram.add(-3.0)
    histogram.add(0.0)
    assert histogram.summary()["max"] == pytest.approx(1e-6, rel=0.01)
