"""Known failures are shown and not counted; a list that is wrong or out of date is not silent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamgauge.catalogue import catalogue
from streamgauge.known import KnownError, load_known, mark, notes
from streamgauge.report import terminal_summary
from streamgauge.report.files import render
from streamgauge.report.overview import Judged
from streamgauge.results import (
    CheckResult,
    Evidence,
    RunResult,
    RunVerdict,
    Verdict,
    exit_code,
    judge_run,
)


def result(identifier: str, verdict: Verdict) -> CheckResult:
    return CheckResult(catalogue()[identifier], verdict, "it is short", Evidence(3, "frames"))


PASSED = result("WIRE-01", Verdict.PASS)
FAILED = result("PAD-01", Verdict.FAIL)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "known.txt"
    path.write_text(text, "utf-8")
    return path


def test_a_list_has_ids_and_reasons(tmp_path: Path) -> None:
    """If a line holds an id, then what follows the # is its reason; all else is for people."""
    known = load_known(written(tmp_path, "# ours\n\nPAD-01   # proxy, see 4711\nRT-01\n"))
    assert known == {"PAD-01": "proxy, see 4711", "RT-01": ""}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RT-01\nPAD-001\n", r":2: no check is called 'PAD-001'; did you mean PAD-01"),
        ("PAD-01\nPAD-01 # again\n", ":2: PAD-01 is listed twice"),
        ("PAD-01 RT-01\n", ":1: no check is called"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    """If a line cannot be meant so, then the message has its number."""
    with pytest.raises(KnownError, match=said):
        load_known(written(tmp_path, text))


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    """If there is no such file, or it is no text, then that is said."""
    with pytest.raises(KnownError, match="cannot read"):
        load_known(tmp_path / "nowhere")
    (tmp_path / "bytes").write_bytes(b"PAD-01\n\xff")
    with pytest.raises(KnownError, match="not UTF-8"):
        load_known(tmp_path / "bytes")


def test_a_known_failure_does_not_count() -> None:
    """If all that fails is known, then the run is conformant and says what it left out."""
    assert judge_run([PASSED, FAILED])[0] is RunVerdict.NONCONFORMANT
    verdict, reason = judge_run(mark([PASSED, FAILED], {"PAD-01": "proxy"}))
    assert verdict is RunVerdict.CONFORMANT
    assert "1 known failure (PAD-01)" in reason


def test_what_is_new_still_counts() -> None:
    """If another check fails beside the known one, then the run is nonconformant by that one."""
    other = result("RT-01", Verdict.FAIL)
    verdict, reason = judge_run(mark([PASSED, FAILED, other], {"PAD-01": ""}))
    assert verdict is RunVerdict.NONCONFORMANT
    assert "RT-01" in reason
    assert "PAD-01" not in reason


def test_known_failures_are_no_evidence() -> None:
    """If nothing passed, then known failures do not make a verdict of it."""
    assert judge_run(mark([FAILED], {"PAD-01": ""}))[0] is RunVerdict.ERROR


def test_an_error_is_never_known() -> None:
    """If a listed check ends as an error of the suite, then that is no known failure."""
    broken = result("PAD-01", Verdict.ERROR)
    assert judge_run(mark([PASSED, broken], {"PAD-01": ""}))[0] is RunVerdict.ERROR


def test_a_listed_check_that_passes_is_told() -> None:
    """If a listed check passes, then it is named, and --strict exits with 3."""
    stale = mark([PASSED], {"WIRE-01": "was broken"})
    assert any("WIRE-01" in note and "pass" in note for note in notes(stale))
    assert stale[0].is_stale
    assert exit_code(RunVerdict.CONFORMANT, strict=True, stale=True) == 3
    assert exit_code(RunVerdict.CONFORMANT, strict=False, stale=True) == 0
    assert exit_code(RunVerdict.NONCONFORMANT, strict=True, stale=True) == 1


def test_a_listed_check_that_was_not_judged_is_told() -> None:
    """If a listed check neither failed nor passed, then that is said as well."""
    left = mark([PASSED, result("PAD-01", Verdict.NOT_RUN)], {"PAD-01": ""})
    assert any("PAD-01 (not run)" in note for note in notes(left))


def test_every_output_shows_it_as_known() -> None:
    """If a failure is known, then no output hides it and none says a bare "conformant"."""
    checks = mark([PASSED, FAILED], {"PAD-01": "proxy, see 4711"})
    verdict, reason = judge_run(checks)
    run = RunResult("https://x", "p", "2026-01-31T12:00:00.0Z", 1.0, verdict, reason, checks)
    files = {name: data.decode() for name, data in render(run).items()}
    screen = "\n".join(terminal_summary(run, 100, False))
    for text in (files["index.html"], files["summary.md"], screen):
        assert "but for known failures" in text.lower()
        assert "Known failure (proxy, see 4711)" in text.replace("\\", "")
    assert 'failures="0"' in files["junit.xml"]
    assert "Known failure (proxy, see 4711)" in files["junit.xml"]
    record = json.loads(files["results.json"])
    assert record["known_failures"] == {"failed": ["PAD-01"], "passed": [], "other": []}
    assert {c["id"]: c["known_failure"] for c in record["checks"]} == {
        "WIRE-01": None,
        "PAD-01": "proxy, see 4711",
    }
    assert record["checks"][1]["verdict"] == "fail"


def test_the_overview_shows_it_as_known() -> None:
    """If a target is conformant but for known failures, then the overview says so as well."""
    results = {"verdict": "conformant", "known_failures": {"failed": ["PAD-01"]}}
    assert Judged("u", "f", 0, results).headline == "Conformant, but for known failures"
