"""Every deployment that the reference server is made for keeps the rules about several instances.

Real processes: PostgreSQL, Redis and nginx from the system, and instances that the suite kills,
pauses and restarts by hooks. Two classic deployments that cannot work are beside them, so that it
is seen that the rules tell the difference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from chaos.control import Commands
from chaos.nginx import STICKY_SESSION
from chaos.services import MissingProgram
from chaos.topology import Plan, Topology
from tests.mutants import runner
from tests.mutants.model import Control
from tests.needs import missing
from tests.suite_process import SuiteProcess

SCALED = Path(runner.__file__).parent / "scaled.toml"
ALONE = ("REPLAY-04", "REPLAY-11", "LATE-01", "LATE-04")
TOGETHER = (
    *("MI-01", "MI-02", "MI-03", "MI-04", "MI-05", "MI-06", "MI-07", "MI-09", "MI-10"),
    *("TAKE-01", "TAKE-02", "TAKE-03"),
)
AWAY = {"postgres": ("TAKE-05", "MI-08"), "redis": ("TAKE-04", "MI-08")}
SESSION = "X-Session-ID"


def deployed(store: str, fanout: str, instances: int) -> Control:
    """A deployment, and what has to pass on it."""
    rules = set(TOGETHER if instances > 1 else ALONE)
    return Control(
        name=f"{store}-{fanout}-{instances}",
        passes=tuple(sorted(rules | {*AWAY.get(store, ())} | {*AWAY.get(fanout, ())})),
        instances=instances,
        deployment=(store, fanout),
        about="",
    )


MATRIX = [
    deployed(store, fanout, instances)
    for store in ("sqlite", "postgres")
    for fanout in ("local", "redis", "notify")
    if fanout != "notify" or store == "postgres"
    for instances in (1, 3)
]


@pytest.mark.parametrize("subject", MATRIX, ids=lambda each: each.name)
def test_the_deployment_keeps_the_rules(subject: Control) -> None:
    """If instances share a durable store, then nothing that fails is noticed by a reader."""
    sections = "MI,TAKE" if subject.instances > 1 else "MI,TAKE,REPLAY,LATE"
    outcome = runner.run(subject, sections)
    if any("is not on this machine" in problem for problem in outcome.problems):
        missing(outcome.problems[0])
    assert not outcome.problems, (outcome.problems, outcome.messages)


@contextmanager
def in_memory(balance: str) -> Iterator[Topology]:
    """Two instances, each with its jobs in its own memory, behind a balancer."""
    env = {k: v for k, v in runner.ENVIRONMENT.items() if k not in runner.OF_A_TOPOLOGY}
    env["HISTORY_LIMIT"] = "2000"
    plan = Plan(2, "memory", "local", balance, lease_s=2, env=env, profile=str(SCALED))
    try:
        with Topology(plan) as topology, Commands(topology):
            yield topology
    except MissingProgram as error:
        missing(str(error))


def test_memory_behind_round_robin_is_caught(tmp_path: Path) -> None:
    """If each instance knows its own jobs only, then MI-01 and MI-02 fail."""
    with in_memory("round-robin") as topology:
        first, second = topology.urls
        outcome = SuiteProcess(
            first, tmp_path, f"--instance={second}", "--only=MI-01,MI-02", profile=str(SCALED)
        ).finish()
    assert outcome.ids("fail") == ["MI-01", "MI-02"], outcome.output


def test_memory_behind_sticky_routing_is_caught_when_its_instance_dies(tmp_path: Path) -> None:
    """If a balancer always finds the job's instance, then replay works, until that one dies."""
    with in_memory(STICKY_SESSION) as topology:
        header = {SESSION: "one session for all of this run"}
        home = _home(topology, header)
        profile = tmp_path / "sticky.toml"
        profile.write_text(_killing(topology, home), "utf-8")
        outcome = SuiteProcess(
            topology.url,
            tmp_path,
            f"--instance={topology.url}",
            f"--header={SESSION}: {header[SESSION]}",
            "--only=REPLAY,LATE,MI-05",
            profile=str(profile),
        ).finish()
    assert outcome.ids("fail", "error") == ["MI-05"], outcome.output
    assert set(ALONE) <= set(outcome.ids("pass")), outcome.output


def _home(topology: Topology, header: dict[str, str]) -> int:
    """The number of the instance to which the balancer sends requests with this header."""
    answer = httpx.post(
        f"{topology.url}/api/pipeline/start",
        headers={**header, "X-Client-Id": "7d0b1f2e-5d6a-4b53-9d3b-3f0a9a0e6c11"},
        json={"resume_text": "Whose job is this?", "job_text": "That is asked."},
    )
    job = answer.json()["job_id"]
    (number,) = (
        number
        for number, url in enumerate(topology.urls, 1)
        if httpx.get(f"{url}/api/jobs/{job}/snapshot").status_code == 200
    )
    return number


def _killing(topology: Topology, number: int) -> str:
    """A profile whose hooks hit this instance, whichever the suite means."""
    code = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:-1]))"
    control = [sys.executable, "-c", code, sys.executable, "-m", "chaos.control"]
    lines = [
        f"{name} = {json.dumps([*control, str(topology.folder), name, str(number), '{instance}'])}"
        for name in ("kill", "restart")
    ]
    return "\n".join((f"extends = {json.dumps(str(topology.profile))}", "[hooks]", *lines, ""))
