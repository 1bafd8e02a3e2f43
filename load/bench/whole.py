"""The parts that look at the product as a whole: a crowd over minutes, the generator, the suite."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from streamgauge.profile_file import load_profile

from . import subjects, tools
from .client import Ages, Client
from .machine import BenchError, cpu_us, memory_kib
from .parts import Bench
from .subjects import Plan

CROWD: Final = 1000
CROWD_S: Final = 600.0
#: What a part alone may take is limited; the whole run takes the ten minutes.
CROWD_ALONE_S: Final = 180.0
CROWD_RATE: Final = 20
_WARM_S: Final = 30.0
_LOOK_S: Final = 15.0
#: Of 100 MiB; events that pile up for one reader in twenty would make that much in a minute.
GROWTH_MAX_MIB: Final = 5.0
_WHO: Final = f"{CROWD} readers, {CROWD_RATE} events/s"
CROWD_ODD: Final = f"{_WHO}: events lost, doubled or out of order"
CROWD_P99: Final = f"{_WHO}: event age p99"
CROWD_GROWTH: Final = f"{_WHO}: growth of memory after the first {_WARM_S:g} s"
CROWD_BUSY: Final = f"{_WHO}: share of one processor"

SUITE_WAITS: Final = "conformance run over its longest unavoidable wait"
_SUITE_LIMIT_S: Final = 240.0
GENERATOR: Final = "load.bench.generator"
_GENERATOR_LIMIT_S: Final = 280.0


def crowd(bench: Bench, seconds: float) -> None:
    """Many readers for a long time: nothing lost, nothing late, nothing piled up."""
    events = round(seconds * CROWD_RATE)
    plan = Plan(CROWD, events, 1, 1e6 / CROWD_RATE)
    # As many events as are kept by default: the store itself must not be what grows.
    kept = {"HISTORY_LIMIT": "500"}
    with (
        bench.serving(0, (), env=kept) as (subject,),
        subject.job(plan) as job,
        Client(bench.client, job.offer, "strict") as client,
    ):
        client.connect(plan.readers)
        client.settle()
        client.until(1)
        client.ages()
        found = _watch(subject, client, plan, seconds)
        state = client.state
    odd = state.odd + sum(abs(count - events - 1) for count in (state.least, state.most))
    name = subject.name
    bench.samples.add(0, CROWD_ODD, name, "events", odd)
    bench.samples.add(0, CROWD_P99, name, "ms", found.p99_us / 1000)
    bench.samples.add(0, CROWD_GROWTH, name, "MiB", found.growth_mib)
    bench.samples.add(0, CROWD_BUSY, name, "", found.busy)


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What was seen over the whole time."""

    p99_us: int
    """The worst of all intervals between two looks."""
    growth_mib: float
    busy: float


def _watch(subject: subjects.Subject, client: Client, plan: Plan, seconds: float) -> _Crowd:
    """Look at ages and memory every few seconds until all events have come."""
    ages: list[Ages] = []
    warm_kib: int | None = None
    began, before_us = time.monotonic(), cpu_us(subject.pid)
    step = round(_LOOK_S * CROWD_RATE)
    for upto in range(1 + step, plan.events + 1 + step, step):
        client.until(min(upto, plan.events + 1))
        ages.append(client.ages())
        if warm_kib is None and time.monotonic() - began >= _WARM_S:
            warm_kib = memory_kib(subject.pid)
    busy = (cpu_us(subject.pid) - before_us) / 1e6 / (time.monotonic() - began)
    if warm_kib is None:
        raise BenchError(f"{seconds:g} s are too short for a crowd")
    growth_mib = (memory_kib(subject.pid) - warm_kib) / 1024
    return _Crowd(max(each.p99 for each in ages), growth_mib, busy)


def generator(bench: Bench, rounds: int) -> list[dict[str, Any]]:
    """The load generator's own figures and budgets, where it is here: its budgets.

    It is a program of its own, because gevent changes a whole process: it writes a report of the
    same form, whose figures are taken over.
    """
    if find_spec(GENERATOR) is None:
        bench.missing["load generator"] = f"{GENERATOR} is not part of this checkout"
        return []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        report = Path(folder) / "results.json"
        command = [sys.executable, "-m", GENERATOR, "--rounds", str(rounds), "--report", report]
        _run([str(part) for part in command], _GENERATOR_LIMIT_S)
        if not report.exists():
            raise BenchError(f"{GENERATOR} wrote no report")
        found: dict[str, Any] = json.loads(report.read_text())
    for figure in found["figures"]:
        for turn, which in enumerate(("median", "min", "max")):
            key = (figure["name"], figure["subject"], figure["unit"])
            bench.samples.add(turn, *key, figure[which])
    budgets: list[dict[str, Any]] = found["budgets"]
    return budgets


def suite(bench: Bench) -> None:
    """How long the conformance suite takes, over the one wait that it cannot get around: a job
    that begins by itself when its subscriber does not come."""
    wait_s = load_profile("resume-optimizer").declared.subscriber_wait_s
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with subjects.reference(
            Path(folder), bench.cpus, store="sqlite", HISTORY_LIMIT="500", QUOTA_RUNS_PER_CLIENT="5"
        ) as server:
            host, port = server.address
            command = [sys.executable, "-m", "pytest", "conformance", "-q"]
            command += [f"--base-url=http://{host}:{port}", f"--report-dir={folder}/report"]
            output = _run(command, _SUITE_LIMIT_S)
        results = Path(folder) / "report" / "results.json"
        if not results.exists():
            raise BenchError(f"the suite wrote no report: {output[-300:]}")
        found = json.loads(results.read_text())
    if found["verdict"] != "conformant":
        raise BenchError(f"the suite found the server {found['verdict']}: {found['reason']}")
    bench.samples.add(0, SUITE_WAITS, subjects.REFERENCE_SQLITE, "", found["duration_s"] / wait_s)


def _run(command: list[str], limit_s: float) -> str:
    """A program's output; its exit code is for its report to explain."""
    process = subprocess.Popen(
        command,
        cwd=tools.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{' '.join(command[1:4])} took over {limit_s:g} s") from error
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(subjects.END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return output
