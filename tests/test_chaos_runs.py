"""`pytest chaos` as its user sees it: exit codes, files, Ctrl-C, and mistakes in one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.ledger import WORDS
from chaos.services import MissingProgram
from chaos.toxiproxy import installed
from tests.needs import missing
from tests.suite_process import ROOT

RUN_MAX_S = 120.0


@pytest.fixture(autouse=True)
def _toxiproxy() -> None:
    try:
        installed()
    except MissingProgram as error:
        missing(str(error))


def chaos(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "chaos", "--report-dir", str(folder), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def results(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "results.json").read_text("utf-8"))
    return found


def test_a_short_run_passes_and_says_so(tmp_path: Path) -> None:
    """If nothing is lost, then the exit code is 0, and every file of the report is there."""
    run = chaos(tmp_path, "--seed=3", "--only=sqlite/terminate", "--only=mid-frame")
    output, _ = run.communicate(timeout=RUN_MAX_S)
    assert run.returncode == 0, output
    found = results(tmp_path)
    assert (found["schema"], found["verdict"], found["seed"]) == (1, "pass", 3)
    (experiment,) = found["experiments"]  # type: ignore[misc]
    assert experiment["name"] == "terminate"
    assert experiment["ledger"] == {word: 21 if word == "ok" else 0 for word in WORDS}
    assert all(fault["streams_hit"] for fault in experiment["faults"])
    assert found["controls"] == [
        {
            "name": "drain that cuts in mid-frame",
            "expected": "connections are ended inside a frame",
            "caught": True,
        }
    ]
    journal = json.loads((tmp_path / "journal.json").read_text("utf-8"))
    assert (journal["status"], journal["deviated"]) == ("completed", False)
    assert [each["activity"]["name"] for each in journal["run"]] == [
        each["name"] for each in journal["experiment"]["method"]
    ]
    assert "✓ | sqlite/terminate" in (tmp_path / "summary.md").read_text("utf-8")
    assert "<h1>Nothing was lost</h1>" in (tmp_path / "index.html").read_text("utf-8")
    again = json.loads((tmp_path / "schedule-3.json").read_text("utf-8"))
    assert [each["name"] for each in again["experiments"]] == ["terminate"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_heals_and_reports(tmp_path: Path, number: int) -> None:
    """If a run is broken off in mid-fault, then it ends what it started and writes its report."""
    run = chaos(tmp_path, "--seed=3", "--only=sqlite/pause")
    assert run.stdout is not None
    for line in run.stdout:
        if "sqlite/no-fault" in line:
            break
    time.sleep(4.0)  # into the pause: a quarter of eight seconds, and the start of the readers
    children = descendants(run.pid)
    assert children
    run.send_signal(number)
    output, _ = run.communicate(timeout=RUN_MAX_S)
    assert run.returncode == 2, output
    assert "Traceback" not in output
    assert results(tmp_path)["verdict"] == "inconclusive"
    assert results(tmp_path)["interrupted"] is True
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def descendants(pid: int) -> set[int]:
    """All processes below this one."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            fresh = {int(each) for each in task.read_text().split()} - found
            found |= fresh
            waiting += fresh
    return found


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--schedule=/nowhere/schedule.json"], "cannot be read"),
        (["--base-url=ftp://x"], "expected http://"),
        (["--base-url=http://127.0.0.1:9", "--profile=/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, arguments: list[str], expected: str) -> None:
    """If an option cannot be used, then the run says which and ends with 2."""
    run = chaos(tmp_path, *arguments)
    output, _ = run.communicate(timeout=RUN_MAX_S)
    assert run.returncode == 2, output
    assert expected in output
    assert "Traceback" not in output
