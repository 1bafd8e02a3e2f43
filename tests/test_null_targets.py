"""Whole runs against targets that are none, that vanish, and runs that are broken off."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from streamgauge.trace import load
from tests.mutants import runner
from tests.mutants.model import Mutant
from tests.mutants.nulls import NEAR_MISSES
from tests.null_targets import NULL_TARGETS
from tests.suite_process import Outcome, SuiteProcess, in_background, listening

DEFAULT_RUN_MAX_S = 150.0
UNREACHABLE_MAX_S = 40.0
"""An address behind which nothing speaks HTTP is given up this soon, at the latest."""
SILENT_MAX_S = 75.0
"""When a target whose job never emits is done with; about 32 s on a quiet machine."""
GONE_MAX_S = 15.0
"""From the last answer of a target that died until nothing is waited for any more."""
INTERRUPTED_MAX_S = 30.0
NULLS_AT_ONCE = 5
NEAR_AT_ONCE = 2
STREAMING = ("hangs-in-stream", "empty-stream")
SPEAKS_NO_HTTP = ("never-answers", "closes-at-once", "not-http")
FILES = ("index.html", "results.json", "junit.xml", "traces/run.trace.gz")
SERVER = {"SCRIPTED_PIPELINES": "1", "LOG_LEVEL": "error"}


def require_no_evidence(outcome: Outcome) -> None:
    """Nothing passed, nobody is to blame but the target, and the report is there to read."""
    assert outcome.ids("pass", "not_applicable") == [], outcome.output
    assert outcome.ids("error") == [], outcome.output
    require_report(outcome)


def require_report(outcome: Outcome) -> None:
    missing = [name for name in FILES if not (outcome.folder / name).is_file()]
    assert not missing, f"{missing} missing; output:\n{outcome.output}"
    assert "Traceback" not in outcome.output
    assert "INTERNALERROR" not in outcome.output


def _judged(name: str, folder: Path) -> Outcome:
    with listening("tests.null_targets", name) as (url, _):
        return SuiteProcess(url, folder).finish()


@pytest.fixture(scope="module")
def null_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Outcome]]]:
    """Every null target judged by a default run; several at a time, because they mostly wait."""
    longest_first = sorted(NULL_TARGETS, key=lambda name: name not in STREAMING)
    calls = {name: partial(_judged, name, tmp_path_factory.mktemp(name)) for name in longest_first}
    with in_background(calls, NULLS_AT_ONCE) as runs:
        yield runs


@pytest.fixture(scope="module")
def near_runs(
    null_runs: dict[str, Future[Outcome]],
) -> Iterator[dict[str, Future[runner.Outcome]]]:
    """The near misses, once only those null targets are left that do nothing but wait: what is
    judged here is a matter of seconds, and needs a machine that is not busy."""
    wait([run for name, run in null_runs.items() if name not in STREAMING])
    calls = {each.name: partial(runner.run, each) for each in NEAR_MISSES}
    with in_background(calls, NEAR_AT_ONCE, runner.stop_all) as runs:
        yield runs


@pytest.mark.parametrize("near", NEAR_MISSES, ids=lambda each: each.name)
def test_a_near_miss_fails_its_own_family(
    near: Mutant, near_runs: dict[str, Future[runner.Outcome]]
) -> None:
    """If a whole family of rules is broken, then it fails, and other families do not."""
    outcome = near_runs[near.name].result()
    assert not outcome.problems, {i: outcome.messages.get(i) for i in outcome.red}


@pytest.mark.parametrize("name", NULL_TARGETS)
def test_nothing_passes_on_a_null_target(null_runs: dict[str, Future[Outcome]], name: str) -> None:
    """If no job ever streamed an event, then no check passes and the run's verdict says so."""
    outcome = null_runs[name].result()
    require_no_evidence(outcome)
    assert outcome.results["verdict"] == ("nonconformant" if outcome.ids("fail") else "error")
    assert outcome.exit_code == (1 if outcome.ids("fail") else 2)
    assert outcome.seconds < DEFAULT_RUN_MAX_S


def test_a_job_that_never_emits_is_given_up(null_runs: dict[str, Future[Outcome]]) -> None:
    """If the target's own job emits nothing for half a minute, then no scenario waits for it."""
    outcome = null_runs["hangs-in-stream"].result()
    assert any("has emitted nothing" in c["message"] for c in outcome.results["checks"])
    _, bundles = load(outcome.folder / "traces" / "run.trace.gz")
    assert max(bundle.finished_at for bundle in bundles) < SILENT_MAX_S


@pytest.mark.parametrize("name", SPEAKS_NO_HTTP)
def test_what_speaks_no_http_is_given_up(null_runs: dict[str, Future[Outcome]], name: str) -> None:
    """If the target does not speak HTTP, then the run ends soon, as an error, with one line."""
    outcome = null_runs[name].result()
    assert outcome.exit_code == 2, outcome.output
    assert outcome.results["reason"].startswith("http://127.0.0.1:")
    assert "\n" not in outcome.results["reason"]
    assert outcome.seconds < UNREACHABLE_MAX_S


def test_nobody_listens(tmp_path: Path) -> None:
    """If nothing listens at the address, then the run says so at once and exits with 2."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = SuiteProcess(f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path).finish()
    require_no_evidence(outcome)
    assert outcome.exit_code == 2, outcome.output
    assert "no connection" in outcome.results["reason"]
    assert outcome.seconds < UNREACHABLE_MAX_S


def test_a_certificate_that_nobody_signed(tmp_path: Path) -> None:
    """If the certificate cannot be verified, then the run names that, and nothing is judged."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    env = {**SERVER, "SQLITE_PATH": str(tmp_path / "jobs.db")}
    env |= {"TLS_CERT_FILE": str(cert), "TLS_KEY_FILE": str(key)}
    with listening("reference_server", env=env) as (url, _):
        outcome = SuiteProcess(url, tmp_path / "report").finish()
    require_no_evidence(outcome)
    assert outcome.exit_code == 2, outcome.output
    assert "certificate" in outcome.results["reason"]
    assert outcome.seconds < UNREACHABLE_MAX_S


@contextmanager
def run_under_way(tmp_path: Path) -> Iterator[tuple[SuiteProcess, subprocess.Popen[bytes]]]:
    """A run on the reference server that has been going on for three seconds."""
    env = {**SERVER, "SQLITE_PATH": str(tmp_path / "jobs.db")}
    with listening("reference_server", env=env) as (url, server):
        run = SuiteProcess(url, tmp_path / "report", profile="reference")
        try:
            time.sleep(3.0)  # the rule is about a moment in the middle of the run
            yield run, server
        finally:
            run.kill()


def test_the_target_dies_in_mid_run(tmp_path: Path) -> None:
    """If the target goes away during a run, then that is an error and no fault of single rules."""
    with run_under_way(tmp_path) as (run, server):
        server.kill()
        outcome = run.finish()
    require_report(outcome)
    assert outcome.exit_code == 2, outcome.output
    assert outcome.results["verdict"] == "error"
    assert re.search(r"stopped answering|no connection", outcome.results["reason"])
    assert "\n" not in outcome.results["reason"]
    assert outcome.ids("error", "fail") == [], outcome.output
    meta, bundles = load(outcome.folder / "traces" / "run.trace.gz")
    assert max(bundle.finished_at for bundle in bundles) - meta["vanished_at"] < GONE_MAX_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_is_broken_off(tmp_path: Path, number: signal.Signals) -> None:
    """If a run is interrupted, then it writes what it has, exits with 2, and leaves nothing."""
    with run_under_way(tmp_path) as (run, _):
        run.process.send_signal(number)
        outcome = run.finish(INTERRUPTED_MAX_S)
        assert run.left_over() == []
    require_report(outcome)
    assert outcome.exit_code == 2, outcome.output
    assert outcome.results["reason"].startswith("interrupted"), outcome.results["reason"]
    assert outcome.ids("error", "fail") == [], outcome.output
