"""Two runs side by side: what got better, what got worse, and what nobody can tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamgauge.compare import CompareError, compare, compared, load_results


def run_of(verdict: str = "conformant", **verdicts: str | tuple[str, int]) -> dict[str, Any]:
    checks = []
    for name, told in verdicts.items():
        outcome, count = told if isinstance(told, tuple) else (told, 5)
        checks.append(
            {
                "id": name.replace("_", "-"),
                "level": "MUST",
                "section": name.partition("_")[0],
                "title": "a rule",
                "verdict": outcome,
                "evidence": {"count": count, "what": "events"},
                "message": "what was found",
            }
        )
    return {
        "schema": 1,
        "target": "http://x",
        "profile": "p",
        "started": "2026-01-31T12:00:00.0Z",
        "duration_s": 30.0,
        "verdict": verdict,
        "reason": "because",
        "checks": checks,
    }


@pytest.mark.parametrize(
    ("before", "after", "group"),
    [
        ("pass", "fail", "worse"),
        ("pass", "warn", "worse"),
        ("warn", "fail", "worse"),
        ("could_not_test", "fail", "worse"),
        ("not_run", "fail", "worse"),
        ("pass", "could_not_test", "worse"),
        ("pass", "not_applicable", "worse"),
        ("not_applicable", "could_not_test", "worse"),
        ("pass", "error", "worse"),
        ("fail", "pass", "better"),
        ("fail", "warn", "better"),
        ("could_not_test", "pass", "better"),
        ("error", "pass", "better"),
        ("fail", "could_not_test", "otherwise"),
        ("fail", "not_applicable", "otherwise"),
        ("not_run", "pass", "judged_now"),
        ("pass", "not_run", "judged_no_more"),
        ("fail", "not_run", "judged_no_more"),
    ],
)
def test_each_change_has_its_group(before: str, after: str, group: str) -> None:
    """If a verdict changed, then it stands in exactly one group, and red is never better."""
    found = compared(run_of(PAD_01=before), run_of(PAD_01=after))
    groups = ("worse", "better", "otherwise", "judged_now", "judged_no_more", "less_evidence")
    assert [name for name in groups if getattr(found, name)] == [group]
    assert found.got_worse == (group == "worse")


def test_evidence_that_shrank_is_told() -> None:
    """If a check still passes on less than half of the evidence, then that is told, not judged."""
    found = compared(run_of(PAD_01=("pass", 100)), run_of(PAD_01=("pass", 40)))
    assert [change.id for change in found.less_evidence] == ["PAD-01"]
    assert not found.got_worse
    assert not compared(run_of(PAD_01=("pass", 100)), run_of(PAD_01=("pass", 60))).less_evidence


def test_new_and_removed_checks_are_listed() -> None:
    """If a check is in one run alone, then it is neither better nor worse."""
    found = compared(run_of(PAD_01="pass"), run_of(RT_01="fail"))
    assert (found.new, found.removed) == (["RT-01"], ["PAD-01"])
    assert not found.got_worse


def test_a_run_without_a_verdict_is_worse() -> None:
    """If the later run failed as a run, then that is worse whatever its checks say."""
    assert compared(run_of(PAD_01="pass"), run_of("error", PAD_01="pass")).got_worse


def saved(path: Path, run: object) -> Path:
    path.write_text(json.dumps(run), "utf-8")
    return path


def test_the_exit_code_tells_whether_anything_got_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If nothing got worse, then it is 0, else 1; a report's folder is as good as its file."""
    (tmp_path / "report").mkdir()
    saved(tmp_path / "report" / "results.json", run_of(PAD_01="pass", RT_01="fail"))
    after = saved(tmp_path / "b.json", run_of(PAD_01="fail", RT_01="pass"))
    assert compare(tmp_path / "report", after, as_json=False) == 1
    said = capsys.readouterr().out
    assert "PAD-01     pass -> fail" in said
    assert "1 worse, 1 better" in said
    assert compare(after, after, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["worse"] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "no results.json"),
        (b'{"schema": 2, "checks": []}', "schema 2, expected 1"),
        (b'{"schema": 1, "checks": []}', "not as schema 1 describes it"),
        (b'{"schema": 1, "verdict": "x", "checks": []}', "not as schema 1"),
        (
            b'{"schema": 1, "verdict": "error", "duration_s": 1, "checks": [{"id": "A"}]}',
            "not as schema 1",
        ),
    ],
)
def test_what_is_no_results_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """If a file cannot be compared, then the message says which one and why."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(CompareError, match=said) as caught:
        load_results(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """If there is no file, then that is said."""
    with pytest.raises(CompareError, match="cannot be read"):
        load_results(tmp_path / "nowhere.json")
