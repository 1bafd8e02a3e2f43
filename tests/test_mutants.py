"""Broken servers must be caught, each by the checks of its own section and by no others.

`make mutants` runs all of them against the whole suite; here one of each section runs against its
section, and a server without a fault against everything, beside what can be known without running
any. (Null targets: `test_null_targets.py`.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import pytest

from streamgauge.catalogue import catalogue, implemented
from tests.mutants import matrix, runner
from tests.mutants.catalog import mutants, subjects
from tests.mutants.controls import CONTROLS
from tests.mutants.model import (
    Control,
    Mutant,
    NullTarget,
    Subject,
    merely_untested,
    problems,
)
from tests.mutants.nulls import NEAR_MISSES
from tests.suite_process import in_background

#: A run and its server keep a core busy; two on the hyperthreads of one take twice as long each.
AT_ONCE = 1


def first_of_each_section() -> list[Subject]:
    """One mutant a section: the first that its module names."""
    chosen: dict[str, Subject] = {}
    for mutant in mutants():
        if mutant not in NEAR_MISSES:
            chosen.setdefault(mutant.section, mutant)
    return list(chosen.values())


def sections(subject: Subject) -> str:
    """What a sample run judges: all of it, or what the mutant's fault is about."""
    return ",".join(subject.sections) if isinstance(subject, Mutant) else ""


SAMPLE: list[Subject] = [CONTROLS[0], *first_of_each_section()]


@pytest.fixture(scope="session")
def runs() -> Iterator[dict[str, Future[runner.Outcome]]]:
    """All sample runs, started together and awaited one by one."""
    calls = {each.name: partial(runner.run, each, sections(each)) for each in SAMPLE}
    with in_background(calls, AT_ONCE, runner.stop_all) as runs:
        yield runs


@pytest.mark.parametrize("subject", SAMPLE, ids=lambda each: each.name)
def test_a_broken_server_is_caught(
    subject: Subject, runs: dict[str, Future[runner.Outcome]]
) -> None:
    """If a server is broken in one way, then the checks of that way fail and no others do."""
    outcome = runs[subject.name].result()
    assert not outcome.problems, {i: outcome.messages.get(i) for i in outcome.red}


def test_every_check_has_a_mutant() -> None:
    """If a check is implemented, then some mutant has to make it fail."""
    assert matrix.without_mutant(mutants()) == []


def test_names_are_unique() -> None:
    """If two servers had one name, then one's outcome would stand for both."""
    assert [name for name, n in Counter(each.name for each in subjects()).items() if n > 1] == []


@pytest.mark.parametrize("mutant", mutants(), ids=lambda each: each.name)
def test_a_mutant_names_known_checks(mutant: Mutant) -> None:
    """If a mutant names checks, then they exist, and those it breaks are implemented."""
    assert mutant.breaks, "a mutant that breaks nothing is a control"
    assert set(mutant.breaks) <= {row.id for row in implemented()}
    assert set(mutant.follows) <= set(catalogue())
    assert mutant.about.endswith(".")


def a_mutant() -> Mutant:
    return Mutant(name="m", breaks=("RT-01",), follows=("RT-02",), about="It is late.")


@pytest.mark.parametrize(
    ("subject", "verdicts", "expected"),
    [
        (a_mutant(), {"RT-01": "fail", "RT-02": "pass", "HB-01": "pass"}, []),
        (a_mutant(), {"RT-01": "warn", "RT-02": "fail", "HB-01": "could_not_test"}, []),
        (a_mutant(), {"RT-01": "pass"}, ["survived: RT-01 (pass)"]),
        (a_mutant(), {"RT-01": "could_not_test"}, ["survived: RT-01 (could_not_test)"]),
        (
            a_mutant(),
            {"RT-01": "error"},
            ["survived: RT-01 (error)", "red but not listed: RT-01 (error)"],
        ),
        (
            a_mutant(),
            {"RT-01": "fail", "RT-02": "error", "HB-01": "warn"},
            ["red but not listed: RT-02 (error), HB-01 (warn)"],
        ),
        (a_mutant(), {}, ["survived: RT-01 (unknown)"]),
        (
            NullTarget(name="n", about="Nothing.", serve=lambda: 0),
            {"RT-01": "fail", "RT-02": "could_not_test", "HB-01": "pass"},
            ["passed on a null target: HB-01"],
        ),
        (
            Control(name="c", about="Nothing is wrong.", passes=("RT-01",)),
            {"RT-01": "not_applicable", "RT-02": "warn"},
            ["red but not listed: RT-02 (warn)", "no pass: RT-01 (not_applicable)"],
        ),
    ],
)
def test_what_counts_as_killed(
    subject: Subject, verdicts: dict[str, str], expected: list[str]
) -> None:
    """If a check that must fail does anything else, or another one is red, then that is told."""
    assert problems(subject, verdicts) == expected


@pytest.mark.parametrize(
    ("subject", "verdicts", "again"),
    [
        (a_mutant(), {"RT-01": "could_not_test", "RT-02": "pass"}, True),
        (a_mutant(), {"RT-01": "fail", "HB-01": "could_not_test"}, False),
        (a_mutant(), {"RT-01": "could_not_test", "HB-01": "fail"}, False),
        (a_mutant(), {"RT-01": "pass"}, False),
        (a_mutant(), {}, False),
        (
            Control(name="c", about="Nothing is wrong.", passes=("RT-01", "RT-02")),
            {"RT-01": "could_not_test", "RT-02": "pass"},
            True,
        ),
        (
            Control(name="c", about="Nothing is wrong.", passes=("RT-01", "RT-02")),
            {"RT-01": "could_not_test", "RT-02": "not_run"},
            False,
        ),
    ],
)
def test_only_what_could_not_be_tested_is_tried_again(
    subject: Subject, verdicts: dict[str, str], again: bool
) -> None:
    """If a run shows a wrong verdict, then no second run may hide it."""
    assert merely_untested(subject, verdicts) is again
