"""Runs that are narrowed down, bounded, excused or set side by side, as a user calls for them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgauge.catalogue import implemented
from streamgauge.trace import load
from tests.suite_process import COMMAND_S, ROOT, command, listening

SHORT_FRAMES = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"X-Accel-Buffering: no\r\n\r\n"
    b'id: 1\nevent: job_status\ndata: {"status": "started"}\n\n'
    b'id: 2\nevent: done\ndata: {"status": "completed"}\n\n'
)
"""What curl -i printed of a target that pads nothing."""
BUDGET_S = 12.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    env = {
        "SQLITE_PATH": str(folder / "jobs.db"),
        "SCRIPTED_PIPELINES": "1",
        "LOG_LEVEL": "error",
    }
    with listening("reference_server", env=env) as (address, _):
        yield address


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "dump.txt"
    path.write_bytes(SHORT_FRAMES)
    return path


def results(folder: Path) -> dict[str, dict[str, object]]:
    checks = json.loads((folder / "results.json").read_text("utf-8"))["checks"]
    return {check["id"]: check for check in checks}


def test_a_list_needs_no_target() -> None:
    """If what would be judged is asked for, then it is printed, and no target is asked."""
    everything = command("check", "--list")
    assert everything.returncode == 0
    assert all(row.id in everything.stdout for row in implemented())
    some = command("check", "--list", "--only", "PAD,RT-01", "--skip", "should")
    assert "PAD-01     MUST" in some.stdout
    assert "PAD-07" not in some.stdout
    assert "HDR-01" not in some.stdout


@pytest.mark.parametrize(
    ("words", "within", "without"),
    [
        (("-m", "must and pad"), "PAD-01", "PAD-07"),
        (("-m", "slow and not pad"), "HB-01", "PAD-03"),
        (("-k", "PAD-01"), "PAD-01", "PAD-02"),
        (("-k", "test_padding_is_comments"), "PAD-04", "PAD-01"),
    ],
)
def test_pytest_knows_the_names_as_markers(
    words: tuple[str, str], within: str, without: str
) -> None:
    """If pytest's own -m or -k is used, then sections, levels, tags and ids mean the same there."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "conformance", "--list", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert f"\n{within} " in ended.stdout
    assert f"\n{without} " not in ended.stdout


def test_a_known_failure_breaks_no_build(dump: Path, tmp_path: Path) -> None:
    """If all that fails is listed, then the run exits with 0; --strict minds what is stale."""
    judged = ("judge", str(dump), "--only", "PAD-01,WIRE-08,WIRE-09", "--report-dir", str(tmp_path))
    assert command(*judged).returncode == 1
    known = tmp_path / "known.txt"
    known.write_text("PAD-01 # no padding yet\n", "utf-8")
    ended = command(*judged, f"--known-failures={known}")
    assert ended.returncode == 0, ended.stdout
    assert "CONFORMANT, BUT FOR KNOWN FAILURES" in ended.stdout
    assert "Known failure (no padding yet)" in ended.stdout
    known.write_text("PAD-01\nWIRE-09\n", "utf-8")
    stale = command(*judged, f"--known-failures={known}")
    assert stale.returncode == 0
    assert "but they pass (unlist them): WIRE-09" in " ".join(stale.stdout.split())
    assert command(*judged, f"--known-failures={known}", "--strict").returncode == 3


def test_no_more_jobs_are_started_than_allowed(url: str, tmp_path: Path) -> None:
    """If jobs are limited, then no more are started; what needed them was not run, and says so."""
    ended = command(
        "check", url, "--only", "POLL,QUOTA", "--max-jobs=2", f"--report-dir={tmp_path}"
    )
    assert ended.returncode == 0, ended.stdout
    _, bundles = load(tmp_path / "traces" / "run.trace.gz")
    jobs = {
        recording.json["job_id"]
        for bundle in bundles
        for recording in bundle.recordings
        if isinstance(recording.json, dict) and "shape" in recording.info
    }
    assert len(jobs) == 2
    checks = results(tmp_path)
    assert checks["POLL-01"]["verdict"] == "pass"
    assert checks["QUOTA-01"]["verdict"] == "not_run"
    assert "--max-jobs 2 leaves" in str(checks["QUOTA-01"]["message"])


def test_a_budget_is_kept(url: str, tmp_path: Path) -> None:
    """If time is limited, then what cannot fit is not begun, and the rest is judged."""
    arguments = ("--only", "HB-01,POLL-01", f"--budget={BUDGET_S:g}", f"--report-dir={tmp_path}")
    ended = command("check", url, *arguments)
    assert ended.returncode == 0, ended.stdout
    _, bundles = load(tmp_path / "traces" / "run.trace.gz")
    assert max(bundle.finished_at for bundle in bundles) < BUDGET_S + 1.0
    checks = results(tmp_path)
    assert checks["POLL-01"]["verdict"] in ("pass", "could_not_test")
    assert checks["HB-01"]["verdict"] == "not_run"
    assert "--budget 12 leaves" in str(checks["HB-01"]["message"])


def test_a_target_that_is_not_ready_in_time(tmp_path: Path) -> None:
    """If nothing answers within the time that was given, then the run ends with one line."""
    began = time.monotonic()
    arguments = ("http://127.0.0.1:1", "--wait-ready=2", f"--report-dir={tmp_path}")
    ended = command("check", *arguments)
    assert ended.returncode == 2
    assert "not ready within 2 s" in ended.stdout
    assert time.monotonic() - began < 20.0


def test_targets_side_by_side(url: str, tmp_path: Path) -> None:
    """If several targets are given, then each has its report, and one page shows all of them."""
    with listening("tests.null_targets", "html") as (other, _):
        ended = command("check", url, other, "--only", "POLL-01", f"--report-dir={tmp_path}")
    overview = json.loads((tmp_path / "overview.json").read_text("utf-8"))
    assert [each["target"] for each in overview["targets"]] == [url, other]
    assert [each["exit_code"] for each in overview["targets"]] == [0, 2]
    assert ended.returncode == 2
    assert [row["id"] for row in overview["checks"]] == ["POLL-01"]
    assert overview["checks"][0]["verdicts"] == ["pass", "could_not_test"]
    page = (tmp_path / "index.html").read_text("utf-8")
    for each in overview["targets"]:
        assert (tmp_path / each["folder"] / "index.html").is_file()
        assert f'href="{each["folder"]}/index.html"' in page
    assert "POLL-01" in (tmp_path / "summary.md").read_text("utf-8")


def test_targets_that_leave_no_report(tmp_path: Path) -> None:
    """If a call is wrong for every target, then the overview says that there is no report."""
    ended = command("check", "http://a", "http://b", "--only=PADD", f"--report-dir={tmp_path}")
    assert ended.returncode == 2
    overview = json.loads((tmp_path / "overview.json").read_text("utf-8"))
    assert [each["verdict"] for each in overview["targets"]] == ["error", "error"]
    assert overview["checks"] == []


def test_several_targets_broken_off(url: str, tmp_path: Path) -> None:
    """If such a call is interrupted, then the run under way reports, and the others don't begin."""
    call = [sys.executable, "-m", "streamgauge", "check", url, url, f"--report-dir={tmp_path}"]
    process = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(5.0)  # the rule is about a moment in the middle of the first run
    process.send_signal(signal.SIGINT)
    assert process.wait(30.0) == 2
    overview = json.loads((tmp_path / "overview.json").read_text("utf-8"))
    assert overview["targets"][0]["reason"].startswith("interrupted")
    assert overview["targets"][1]["reason"].startswith("the run left no report")


def test_two_runs_are_compared(dump: Path, tmp_path: Path) -> None:
    """If two reports are compared, then the exit code tells whether anything got worse."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    only = "--only=WIRE-07,WIRE-09"
    assert command("judge", str(dump), only, f"--report-dir={good}").returncode == 0
    dump.write_bytes(SHORT_FRAMES.replace(b"data:", b"Data:", 1))
    assert command("judge", str(dump), only, f"--report-dir={bad}").returncode == 1
    worse = command("compare", str(good), str(bad / "results.json"))
    assert worse.returncode == 1, worse.stderr
    assert "WIRE-07    pass -> fail" in worse.stdout
    assert command("compare", str(bad), str(good)).returncode == 0
    told = command("compare", str(good), str(bad), "--json")
    assert json.loads(told.stdout)["worse"][0]["id"] == "WIRE-07"
    unusable = command("compare", str(good), "README.md")
    assert unusable.returncode == 2
    assert unusable.stderr.startswith("streamgauge: README.md: not JSON")
