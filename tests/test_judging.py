"""How a check's outcome becomes a verdict, and verdicts a run's: no fault is ever mixed up."""

from __future__ import annotations

import dataclasses

import pytest

from streamgauge.catalogue import catalogue, implemented
from streamgauge.check import Check, Run, judge
from streamgauge.collect import Evidence
from streamgauge.limits import CUT_SHORT
from streamgauge.profile_file import load_profile
from streamgauge.recording import Bundle, End, Read, Recording, Request
from streamgauge.results import (
    CheckResult,
    RunVerdict,
    Verdict,
    exit_code,
    judge_run,
)
from streamgauge.results import Evidence as Counted
from streamgauge.verdict import Broken, Found, Inapplicable, NotRun, Unable

START = Recording(
    "start",
    Request("POST", "http://x/start"),
    0.0,
    status=202,
    reads=(Read(0.1, b'{"job_id": "j"}'),),
    end=End.COMPLETE,
    info={"shape": None},
)
STREAM = Recording(
    "reader",
    Request("GET", "http://x/stream"),
    0.2,
    status=200,
    headers=(("content-type", "text/event-stream"),),
    reads=(Read(0.3, b'id: 1\nevent: job_status\ndata: {"status":"started"}\n\n'),),
    end=End.COMPLETE,
    info={"job": "j"},
)


def run_with(*, proven: bool = True, profile: str = "resume-optimizer", **evidence: object) -> Run:
    recordings = (START, STREAM) if proven else (START,)
    bundles = {"probe": Bundle("probe", recordings, finished_at=1.0)}
    return Run("http://x", load_profile(profile), Evidence(bundles=bundles, **evidence))  # type: ignore[arg-type]


def check_that(does: object, identifier: str = "WIRE-01", part: str = "") -> Check:
    def function(run: Run) -> Found:
        if isinstance(does, Exception):
            raise does
        assert isinstance(does, Found)
        return does

    return Check(catalogue()[identifier], ("probe",), part, function)


@pytest.mark.parametrize(
    ("does", "verdict"),
    [
        (Found(3, "things"), Verdict.PASS),
        (Found(0, "things"), Verdict.COULD_NOT_TEST),
        (Broken("x"), Verdict.FAIL),
        (Unable("x"), Verdict.COULD_NOT_TEST),
        (Inapplicable("x"), Verdict.NOT_APPLICABLE),
        (NotRun("x"), Verdict.NOT_RUN),
        (ZeroDivisionError("x"), Verdict.ERROR),
    ],
)
def test_each_outcome_has_its_verdict(does: object, verdict: Verdict) -> None:
    """If a check ends in some way, then exactly one verdict stands for it."""
    assert judge(check_that(does), run_with()).verdict is verdict


def test_a_broken_should_warns() -> None:
    """If a SHOULD is broken, then it is a warning."""
    assert judge(check_that(Broken("x"), "WIRE-12"), run_with()).verdict is Verdict.WARN


def test_a_declared_should_fails() -> None:
    """If the profile declares the part that a SHOULD belongs to, then breaking it is a failure."""
    result = judge(check_that(Broken("x"), "POLL-07", "long_poll"), run_with(profile="reference"))
    assert result.verdict is Verdict.FAIL


def test_an_absent_part_is_not_applicable_unless_declared() -> None:
    """If a part was not found, then that is no fault; declared and missing, it is one."""
    check = check_that(Found(1, "things"), "POLL-07", "long_poll")
    absent = {"found": {"long_poll": "answers at once"}}
    assert judge(check, run_with(**absent)).verdict is Verdict.NOT_APPLICABLE
    declared = judge(check, run_with(profile="reference", **absent))
    assert declared.verdict is Verdict.FAIL
    assert "declares long_poll = true" in declared.message


def test_nothing_passes_before_a_job_was_seen() -> None:
    """If no accepted start has yielded a stream with an event, then no check passes at all."""
    assert (
        judge(check_that(Found(3, "x")), run_with(proven=False)).verdict is Verdict.COULD_NOT_TEST
    )


def test_evidence_that_was_cut_short_blames_nobody() -> None:
    """If the run ended a scenario, then what looks broken could not be tested."""
    run = run_with()
    bundle = run.evidence.bundles["probe"]
    run.evidence.bundles["probe"] = dataclasses.replace(bundle, unable=f"{CUT_SHORT}: time")
    assert judge(check_that(Broken("x")), run).verdict is Verdict.COULD_NOT_TEST


def test_a_target_that_vanished_is_not_blamed_for_what_followed() -> None:
    """If the target went away, then what its absence broke could not be tested."""
    run = run_with(vanished_at=0.5, stopped="the target stopped answering")
    result = judge(check_that(Broken("x")), run)
    assert result.verdict is Verdict.COULD_NOT_TEST
    assert "stopped answering" in result.message


def results(*verdicts: Verdict) -> list[CheckResult]:
    rows = [row for row in catalogue().values() if row.is_must]
    return [
        CheckResult(rows[n], verdict, "", Counted(1, "things"))
        for n, verdict in enumerate(verdicts)
    ]


@pytest.mark.parametrize(
    ("verdicts", "expected", "code", "strict"),
    [
        ((Verdict.PASS, Verdict.WARN, Verdict.NOT_RUN), RunVerdict.CONFORMANT, 0, 0),
        ((Verdict.PASS, Verdict.FAIL), RunVerdict.NONCONFORMANT, 1, 1),
        ((Verdict.FAIL, Verdict.ERROR), RunVerdict.ERROR, 2, 2),
        ((Verdict.PASS, Verdict.COULD_NOT_TEST), RunVerdict.INCOMPLETE, 0, 3),
        ((Verdict.NOT_APPLICABLE,), RunVerdict.ERROR, 2, 2),
        ((Verdict.COULD_NOT_TEST,), RunVerdict.ERROR, 2, 2),
    ],
)
def test_the_runs_verdict_and_exit_code(
    verdicts: tuple[Verdict, ...], expected: RunVerdict, code: int, strict: int
) -> None:
    """Error beats failed beats incomplete; a run in which nothing passed never exits 0."""
    verdict, reason = judge_run(results(*verdicts))
    assert verdict is expected
    assert reason
    assert exit_code(verdict, strict=False) == code
    assert exit_code(verdict, strict=True) == strict


def test_each_implemented_id_has_exactly_one_check() -> None:
    """If the catalogue says that a rule is judged, then one test judges it, and no other."""
    import importlib
    import pkgutil

    import conformance

    judged = [
        member.check.requirement.id
        for module in pkgutil.iter_modules(conformance.__path__)
        if module.name.startswith("test_")
        for member in vars(importlib.import_module(f"conformance.{module.name}")).values()
        if isinstance(getattr(member, "check", None), Check)
    ]
    assert sorted(judged) == sorted(row.id for row in implemented())
