"""The command line as users meet it: verdict, report, exit codes, clear words for mistakes."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.scenarios import SCENARIOS
from streamgauge.catalogue import implemented
from streamgauge.trace import load
from tests.suite_process import COMMAND_S, ROOT, Outcome, SuiteProcess, command, listening

SCALED = "tests/mutants/scaled.toml"
NOT_APPLICABLE_HERE = {"WIRE-12", "REPLAY-13"}
"""Rules for plain-text targets and for pruned logs: neither is this server with SQLite."""
NOT_RUN_HERE = {row.id for row in implemented() if row.needs in ("I", "K", "P/K")}
"""They take `--instance` or hooks; see the controls with several instances."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One run of the whole suite against the reference server, waits scaled down."""
    folder = tmp_path_factory.mktemp("reference")
    env = {
        "SQLITE_PATH": str(folder / "jobs.db"),
        "SCRIPTED_PIPELINES": "1",
        "HEARTBEAT_SECONDS": "2",
        "SUBSCRIBER_WAIT_SECONDS": "3",
    }
    with listening("reference_server", env=env) as (url, _):
        yield SuiteProcess(url, folder / "report", profile=SCALED).finish()


def test_the_reference_server_keeps_every_rule(reference: Outcome) -> None:
    """If the target is the reference server, then every check passes and none is left untested."""
    assert reference.ids("fail", "warn", "error", "could_not_test") == []
    assert set(reference.ids("not_run")) == NOT_RUN_HERE
    assert set(reference.ids("not_applicable")) == NOT_APPLICABLE_HERE
    assert reference.results["verdict"] == "conformant"
    assert reference.exit_code == 0


def test_results_have_one_entry_per_implemented_id(reference: Outcome) -> None:
    """If a run ends, then results.json has exactly the implemented ids, each once, in order."""
    results = reference.results
    assert results["schema"] == 1
    assert [check["id"] for check in results["checks"]] == [row.id for row in implemented()]
    for check in results["checks"]:
        assert check["verdict"] != "pass" or check["evidence"]["count"] > 0, check


def test_every_report_file_is_there(reference: Outcome) -> None:
    """If a run ends, then HTML, JSON, Markdown, JUnit and the trace are written."""
    names = ("index.html", "results.json", "summary.md", "junit.xml", "traces/run.trace.gz")
    assert [name for name in names if not (reference.folder / name).is_file()] == []
    cases = ET.parse(reference.folder / "junit.xml").getroot().iter("testcase")
    assert len(list(cases)) == len(implemented())


def test_scenarios_start_no_more_jobs_than_they_say(reference: Outcome) -> None:
    """If a scenario says how many jobs it starts at most, then --max-jobs can rely on it."""
    _, bundles = load(reference.folder / "traces" / "run.trace.gz")
    for bundle in bundles:
        scenario = next(each for each in SCENARIOS if each.name == bundle.scenario)
        started = {
            str(recording.json.get("job_id"))
            for recording in bundle.recordings
            if isinstance(recording.json, dict) and "shape" in recording.info
        }
        assert len(started) <= scenario.jobs, bundle.scenario


def test_a_trace_is_judged_again_without_the_target(reference: Outcome, tmp_path: Path) -> None:
    """If a trace is judged again, then the verdicts are the same as in the run."""
    trace = reference.folder / "traces" / "run.trace.gz"
    ended = command("judge", str(trace), "--profile", SCALED, "--report-dir", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    again = json.loads((tmp_path / "results.json").read_text())
    assert {c["id"]: c["verdict"] for c in again["checks"]} == reference.verdicts


def test_a_selection_judges_only_that(reference: Outcome, tmp_path: Path) -> None:
    """If checks are selected, then all others are said not to have been run."""
    trace = str(reference.folder / "traces" / "run.trace.gz")
    chosen = ("judge", trace, "--profile", SCALED, "-k", "test_replay")
    assert command(*chosen, "--report-dir", str(tmp_path)).returncode == 0
    checks = json.loads((tmp_path / "results.json").read_text())["checks"]
    ran = {c["section"] for c in checks if c["verdict"] != "not_run"}
    assert len(ran) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "your.service"), "--base-url: expected http://HOST"),
        (("check", "ftp://your.service"), "--base-url: expected http://HOST"),
        (("check", "http://u:p@your.service"), "without user"),
        (("check", "http://127.0.0.1:1", "--profile", "nonsense"), "no profile is called"),
        (("check", "http://127.0.0.1:1", "--header", "secret"), "--header: expected 'Name: value'"),
        (("check", "http://127.0.0.1:1", "--instance", "x"), "--instance: expected"),
        (("judge", "nowhere.trace.gz"), "no such file"),
        (("judge", "README.md"), "not a trace"),
        (("check",), "which deployment?"),
        (("check", "http://127.0.0.1:1", "--only", "PAD-99"), "did you mean PAD-0"),
        (("check", "http://127.0.0.1:1", "--skip", "PADD"), "is no id, section, level or tag"),
        (("check", "--list", "--only", "nonsense"), "is no id, section, level or tag"),
        (("check", "http://127.0.0.1:1", "--only", "PAD", "--skip", "PAD"), "leaves no check"),
        (("check", "http://127.0.0.1:1", "-m", "musst"), "leaves no check"),
        (("check", "http://127.0.0.1:1", "--known-failures", "nowhere"), "cannot read nowhere"),
        (("check", "http://127.0.0.1:1", "--max-jobs", "0"), "--max-jobs: expected a whole number"),
        (("check", "http://127.0.0.1:1", "--max-jobs", "1.5"), "expected a whole number"),
        (("check", "http://127.0.0.1:1", "--budget", "soon"), "--budget: expected seconds"),
        (("check", "http://127.0.0.1:1", "--wait-ready", "-1"), "--wait-ready: expected seconds"),
        (("check", "http://127.0.0.1:1", "x"), "URL: expected http://HOST"),
        (("check", "http://a", "http://b", "--instance", "http://c"), "belongs to one deployment"),
    ],
)
def test_mistakes_get_one_clear_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """If a call cannot be carried out, then it says why, exits with 2 and shows no traceback."""
    ended = command(*arguments, "--report-dir", str(tmp_path))
    output = ended.stdout + ended.stderr
    assert said in output
    assert "Traceback" not in output
    assert ended.returncode == 2


def test_a_missing_address_is_asked_for(tmp_path: Path) -> None:
    """If pytest is called without an address, then it asks for one and exits with 2."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "conformance", f"--report-dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert "which deployment?" in ended.stdout + ended.stderr
    assert ended.returncode == 2


def test_secrets_stay_out_of_every_output(tmp_path: Path) -> None:
    """If a header is given, then its value is in no file of the report and on no screen."""
    secret = "s3cr3t-value-of-the-user"
    env = {"SQLITE_PATH": str(tmp_path / "jobs.db"), "SCRIPTED_PIPELINES": "1"}
    with listening("reference_server", env=env) as (url, _):
        header = f"--header=Authorization: Bearer {secret}"
        run = SuiteProcess(url, tmp_path / "report", header, "-k", "test_methods_are")
        ended = run.finish()
    assert ended.results["verdict"] == "conformant", ended.output
    for path in (p for p in ended.folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        assert secret.encode() not in data, path


def test_coverage_lists_every_rule() -> None:
    """If coverage is asked for, then every id of the catalogue is listed."""
    ended = command("coverage")
    assert ended.returncode == 0
    assert all(row.id in ended.stdout for row in implemented())
