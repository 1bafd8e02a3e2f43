"""Runs one broken server and the whole suite against it, and keeps what came out.

Everything is bounded: the server's start, the suite, the stop. What is started here is ended here.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chaos.control import Commands
from chaos.services import MissingProgram, ServiceFailed
from chaos.topology import Plan, Topology

from .model import KILLED, Control, Mutant, Subject, merely_untested, problems, unpatched

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports" / "mutants"
RUN_BOUND_S = 180.0
DEPLOYED_BOUND_S = 300.0
"""Of those, some parts are broken one after the other at the end of the run."""
START_BOUND_S = 20.0
STOP_BOUND_S = 4.0
TOLD = KILLED | {"error", "could_not_test"}
SOURCES = ("reference_server", "streamgauge", "conformance", "chaos", "tests/mutants")
#: What is running now, so that an interrupted run leaves nothing behind.
RUNNING: set[subprocess.Popen[bytes]] = set()
SUITE = ("-m", "pytest", "conformance", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
ENVIRONMENT: Mapping[str, str] = {
    "HOST": "127.0.0.1",
    "PORT": "0",
    "STREAM_STORE_BACKEND": "sqlite",
    "SCRIPTED_PIPELINES": "1",
    "PIPELINE_TIME_SCALE": "0.2",
    "HEARTBEAT_SECONDS": "2",
    "SUBSCRIBER_WAIT_SECONDS": "3",
    "GRACE_SECONDS": "2",
    "LOG_LEVEL": "error",
    "MUTANT_WATCH": "1",
}
OF_A_TOPOLOGY = frozenset({"HOST", "PORT", "STREAM_STORE_BACKEND", "MUTANT_WATCH"})
LEASE_S = 2
#: Hundreds of processes import the same modules. Where compiled ones may not be kept
#: beside their sources, they are kept elsewhere.
COMPILED_ONCE: Mapping[str, str] = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(REPORTS / ".compiled"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run came to."""

    name: str
    problems: list[str]
    verdicts: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    """Of what was red or should have been, and of what could not be tested."""
    seconds: float = 0.0

    @property
    def red(self) -> list[str]:
        return [i for i, verdict in self.verdicts.items() if verdict in KILLED | {"error"}]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        part = folder / f".{self.name}.{os.getpid()}.part"
        part.write_text(text + "\n", "utf-8")
        part.replace(folder / f"{self.name}.json")


def newest_source() -> float:
    """When anything that a run depends on was last changed."""
    return max(
        path.stat().st_mtime
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".toml", ".sql")
    )


def kept(subject: Subject, folder: Path, since: float) -> Outcome | None:
    """An earlier outcome, where nothing has changed since; judged by today's expectations."""
    path = folder / f"{subject.name}.json"
    try:
        if path.stat().st_mtime < since:
            return None
        known = Outcome(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return known if known.verdicts else None


def run(subject: Subject, only: str = "", bound_s: float = RUN_BOUND_S) -> Outcome:
    """Serve, judge, stop; `only` names the sections that are judged, "" for all.

    Once more, where the only trouble is that something could not be tested.
    """
    outcome = _run(subject, only, bound_s)
    if merely_untested(subject, outcome.verdicts):
        outcome = _run(subject, only, bound_s)
    return outcome


def _run(subject: Subject, only: str, bound_s: float) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"mutant-{subject.name}-") as name:
        folder = Path(name)
        if subject.deployment is not None:
            try:
                ended = _judge_deployed(_plan(subject, *subject.deployment), folder, only)
            except (MissingProgram, ServiceFailed) as error:
                return Outcome(subject.name, [f"the deployment did not start: {error}"])
            return _outcome(subject, folder, ended, time.monotonic() - began)
        servers: list[subprocess.Popen[bytes]] = []
        try:
            urls = []
            for number in range(1, subject.instances + 1):
                servers.append(_serve(subject, folder, number))
                urls.append(_address(servers[-1]))
            if not all(urls):
                said = (folder / "stderr.log").read_text("utf-8", "replace")[-2000:]
                return Outcome(subject.name, [f"the server did not start: {said}"])
            profile = Path(__file__).parent / subject.profile
            ended = _judge(urls, profile, folder, only, bound_s)
            return _outcome(subject, folder, ended, time.monotonic() - began)
        finally:
            for server in servers:
                _stop(server)


def _plan(subject: Mutant | Control, store: str, fanout: str) -> Plan:
    """The subject's deployment; what a topology decides itself is left to it."""
    plain = ("reference_server",)
    ours = {k: v for k, v in ENVIRONMENT.items() if k not in OF_A_TOPOLOGY}
    return Plan(
        subject.instances,
        store,
        fanout,
        lease_s=LEASE_S,
        env={**COMPILED_ONCE, **ours, **subject.env},
        program=plain if subject.patch is unpatched else ("tests.mutants.serve", subject.name),
        profile=str(Path(__file__).parent / subject.profile),
    )


def _judge_deployed(plan: Plan, folder: Path, only: str) -> str:
    """Run the suite against processes that it can kill; returns as `_judge` does."""
    with Topology(plan) as topology, Commands(topology):
        return _judge(topology.urls, topology.profile, folder, only, DEPLOYED_BOUND_S)


def _serve(subject: Subject, folder: Path, number: int) -> subprocess.Popen[bytes]:
    """Start one instance; all of a subject share their folder, so also a SQLite store."""
    with (folder / "stderr.log").open("ab") as errors:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.serve", subject.name],
            cwd=ROOT,
            env={
                **os.environ,
                **COMPILED_ONCE,
                **ENVIRONMENT,
                "SQLITE_PATH": str(folder / "jobs.db"),
                "INSTANCE_ID": f"instance-{number}",
                **subject.env,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    RUNNING.add(server)
    return server


def _address(server: subprocess.Popen[bytes]) -> str:
    assert server.stdout is not None
    ready, _, _ = select.select([server.stdout], [], [], START_BOUND_S)
    line = server.stdout.readline().decode() if ready else ""
    return line.removeprefix("listening on ").strip() if line.startswith("listening on ") else ""


def _judge(urls: list[str], profile: Path, folder: Path, only: str, bound_s: float) -> str:
    """Run the suite; returns why it did not end by itself, "" where it did."""
    url, *others = urls
    command = [sys.executable, *SUITE, "--base-url", url, "--report-dir", str(folder / "report")]
    command += [f"--instance={other}" for other in others]
    command += ["--profile", str(profile), *([f"--only={only}"] if only else [])]
    with (folder / "suite.log").open("wb") as log:
        suite = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **COMPILED_ONCE},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        RUNNING.add(suite)
        try:
            suite.wait(bound_s)
        except subprocess.TimeoutExpired:
            return f"the suite did not end within {bound_s:.0f} s"
        finally:
            if suite.poll() is None:
                suite.kill()
                suite.wait()
            RUNNING.discard(suite)
    return ""


def _outcome(subject: Subject, folder: Path, ended: str, seconds: float) -> Outcome:
    try:
        results = json.loads((folder / "report" / "results.json").read_text("utf-8"))
    except (OSError, ValueError):
        said = (folder / "suite.log").read_text("utf-8", "replace")[-1500:]
        return Outcome(subject.name, [ended or f"the suite left no results: {said}"])
    verdicts = {row["id"]: row["verdict"] for row in results["checks"]}
    wanted = set(subject.breaks) if isinstance(subject, Mutant) else set()
    return Outcome(
        name=subject.name,
        problems=problems(subject, verdicts, ended),
        verdicts=verdicts,
        messages={
            row["id"]: row["message"][:1500]
            for row in results["checks"]
            if row["verdict"] in TOLD or row["id"] in wanted
        },
        seconds=round(seconds, 1),
    )


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_BOUND_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    for pipe in (server.stdin, server.stdout):
        if pipe is not None:
            pipe.close()
    RUNNING.discard(server)


def stop_all() -> None:
    """End whatever is running; their runs come to an end by it."""
    for process in tuple(RUNNING):
        process.kill()
