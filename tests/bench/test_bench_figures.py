"""The benchmark's arithmetic: ratios within rounds, budgets, what is left out, the report."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from load.bench import report
from load.bench.budgets import BUDGETS
from load.bench.figures import Budget, Samples, judged

FIGURE = "CPU per delivery"
MACHINE = {
    "processor": "a chip",
    "processors": 2,
    "python": "3.11",
    "load_average": [0.1],
    "stolen_s": 0.0,
}


def measured(**subjects: list[float]) -> Samples:
    """One number per subject and round."""
    samples = Samples()
    for subject, values in subjects.items():
        for turn, value in enumerate(values):
            samples.add(turn, FIGURE, subject, "us", value)
    return samples


def test_a_ratio_is_formed_within_its_round() -> None:
    """A round in which the machine was slow for both says the same as the others: 2, and not the
    ratio of the medians."""
    samples = measured(ours=[2, 20, 8], theirs=[1, 10, 4])
    budget = Budget(FIGURE, "ours", at_most=1.9, against="theirs")
    assert samples.ratios(FIGURE, "ours", "theirs") == [2, 2, 2]
    assert judged([budget], samples) == [
        {"name": budget.name, "value": 2.0, "bound": 1.9, "met": False}
    ]


def test_nothing_is_compared_with_nothing() -> None:
    """A figure that may be zero, such as a number of faults, has no ratio, and is reported."""
    samples = measured(reference=[0, 0], peer=[1, 0])
    assert samples.ratios(FIGURE, "peer", "reference") == []
    assert "| peer |" in report.markdown(MACHINE, 2, samples, [], [])
    (found,) = judged([Budget(FIGURE, "reference", at_most=0)], samples)
    assert found["met"] is True


def test_the_median_decides() -> None:
    """One round far off changes nothing."""
    samples = measured(ours=[9, 1, 1], theirs=[1, 1, 1])
    (found,) = judged([Budget(FIGURE, "ours", at_most=1, against="theirs")], samples)
    assert (found["value"], found["met"]) == (1, True)


@pytest.mark.parametrize(("value", "met"), [(11.9, False), (12, True), (12.1, True)])
def test_a_lower_bound_is_met_from_the_bound_on(value: float, met: bool) -> None:
    (found,) = judged([Budget(FIGURE, "ours", at_least=12)], measured(ours=[value]))
    assert found["met"] is met
    assert str(found["name"]).endswith("at least")


def test_rounding_never_turns_a_verdict() -> None:
    """The value that is shown is rounded, the one that is judged is not."""
    (found,) = judged([Budget(FIGURE, "ours", at_most=1.1)], measured(ours=[1.10001]))
    assert (found["value"], found["met"]) == (1.1, False)


def test_a_budget_without_its_other_side_is_left_out() -> None:
    """A peer that is not here, or that has no round in common, yields neither pass nor failure."""
    budget = Budget(FIGURE, "ours", at_most=1, against="theirs")
    assert judged([budget], measured(ours=[1])) == []
    apart = measured(ours=[1])
    apart.add(1, FIGURE, "theirs", "us", 1)
    assert judged([budget], apart) == []


def test_every_budget_has_one_bound_and_a_name_of_its_own() -> None:
    assert all((each.at_most is None) != (each.at_least is None) for each in BUDGETS)
    assert len({budget.name for budget in BUDGETS}) == len(BUDGETS)


def test_the_report_has_the_public_form(tmp_path: Path) -> None:
    """`results.json` as documented, a table that names what failed and what is missing, a plot."""
    samples = measured(reference=[1, 2, 3], peer=[2, 4, 6])
    budgets = judged([Budget(FIGURE, "reference", at_most=0.4, against="peer")], samples)
    report.write(tmp_path, MACHINE, 3, samples, budgets, ["axum: no Rust & no <cargo>"])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["schema"] == 1
    assert results["figures"][0] == {
        **{"name": FIGURE, "subject": "reference", "unit": "us"},
        **{"median": 2.0, "min": 1.0, "max": 3.0},
    }
    assert results["budgets"] == budgets
    text = (tmp_path / "results.md").read_text()
    assert "| peer | 4 us | 2 to 6 | 2.00 |" in text
    assert "**not met**" in text
    assert "no Rust" in text
    ET.fromstring((tmp_path / "results.svg").read_text())
