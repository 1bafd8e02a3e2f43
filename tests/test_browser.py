"""A real browser in a run: it resumes across origins, or the run says why nobody could tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import needs
from tests.suite_process import Outcome, SuiteProcess, listening

CHECK = ("-k", "browsers_resume", "--browser")


def judged(url: str, folder: Path) -> tuple[Outcome, dict[str, str]]:
    """A run of the one check that starts a browser, and its entry in the results."""
    suite = SuiteProcess(url, folder, *CHECK)
    outcome = suite.finish(90.0)
    assert suite.left_over() == []
    (entry,) = (check for check in outcome.results["checks"] if check["id"] == "CORS-05")
    return outcome, entry


def test_a_browser_resumes_across_origins(tmp_path: Path) -> None:
    """If a browser is cut off in mid-stream, then it comes back and has the whole log."""
    needs.browser()
    env = {"SCRIPTED_PIPELINES": "1", "SQLITE_PATH": str(tmp_path / "jobs.db")}
    with listening("tests.mutants.serve", "reference", env=env) as (url, _):
        outcome, entry = judged(url, tmp_path / "report")
    assert entry["verdict"] == "pass", entry["message"]
    assert "came back with Last-Event-ID" in entry["message"]
    chromium = next(w for w in outcome.results["witnesses"] if "Chromium" in w["client"])
    assert chromium["streams"] > 0 and chromium["differences"] == []


@pytest.mark.parametrize(
    ("mutant", "said"),
    [
        ("near-no-cursors", "its log is not the log"),
        ("cors-not-on-streams", "it was not allowed to read the answer"),
    ],
)
def test_a_browser_that_cannot_resume_is_told(tmp_path: Path, mutant: str, said: str) -> None:
    """If events are repeated, or the stream may not be read, then the browser shows it."""
    needs.browser()
    env = {"SCRIPTED_PIPELINES": "1", "SQLITE_PATH": str(tmp_path / "jobs.db")}
    with listening("tests.mutants.serve", mutant, env=env) as (url, _):
        _, entry = judged(url, tmp_path / "report")
    assert entry["verdict"] == "warn", entry["message"]
    assert said in entry["message"]


def test_without_a_browser_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a browser is asked for and none is there, then the message says how to get one."""
    env = {"SCRIPTED_PIPELINES": "1", "SQLITE_PATH": str(tmp_path / "jobs.db")}
    with listening("tests.mutants.serve", "reference", env=env) as (url, _):
        monkeypatch.setenv("PATH", str(tmp_path))
        _, entry = judged(url, tmp_path / "report")
    assert entry["verdict"] == "could_not_test"
    assert "apt install chromium" in entry["message"]
