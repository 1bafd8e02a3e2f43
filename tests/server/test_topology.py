"""Whole deployments of local processes: they serve through their balancer, and obey commands."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from needs import missing
from server_process import RESUME, frames_of, wait_until

from chaos.instance import ROOT
from chaos.nginx import BALANCES, ROUND_ROBIN, STICKY_COOKIE, STICKY_SESSION
from chaos.services import MissingProgram
from chaos.topology import Plan, Topology

PATIENCE_S = 60.0


@contextmanager
def deployment(plan: Plan) -> Iterator[Topology]:
    try:
        topology = Topology(plan)
        topology.__enter__()
    except MissingProgram as error:
        missing(str(error))
    try:
        yield topology
    finally:
        topology.__exit__()


def start(client: httpx.Client) -> str:
    headers = {"X-Client-Id": os.urandom(8).hex()}
    body = {**RESUME, "pipeline": {"events": 20, "interval_ms": 10}}
    answer = client.post("/api/pipeline/start", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


@pytest.mark.parametrize("balance", BALANCES)
def test_the_balancer_spreads_or_sticks(balance: str) -> None:
    """With a store that instances do not share, only a sticky balancer finds a job again."""
    with deployment(Plan(instances=2, store="memory", fanout="local", balance=balance)) as place:
        found: set[int] = set()
        for number in range(6):
            session = {"X-Session-ID": f"session-{number}"}
            with httpx.Client(base_url=place.url, headers=session, timeout=20) as client:
                job = start(client)
                if balance != STICKY_COOKIE:
                    client.cookies.clear()
                found |= {client.get(f"/api/jobs/{job}/snapshot").status_code for _ in range(4)}
        assert found == ({200, 404} if balance == ROUND_ROBIN else {200})


@pytest.mark.parametrize(("store", "fanout"), [("sqlite", "local"), ("postgres", "redis")])
def test_a_shared_store_needs_no_stickiness(store: str, fanout: str) -> None:
    """Jobs stream whole through a balancer that sends each request elsewhere."""
    plan = Plan(instances=2, store=store, fanout=fanout, env={"LEASE_SECONDS": "2"})
    with deployment(plan) as place, httpx.Client(base_url=place.url, timeout=30) as client:
        for _ in range(4):
            job = start(client)
            frames = frames_of(client.get(f"/api/jobs/{job}/stream").content)
            assert [frame["id"] for frame in frames if frame["id"]] == [
                str(number) for number in range(1, 21)
            ]
        with pytest.raises(ValueError, match="expected a command"):
            place.obey("explode 1")
        with pytest.raises(ValueError, match="from 1 to 2"):
            place.obey("kill 3")
        place.obey("kill 1")
        for _ in range(4):
            start(client)  # the balancer asks the other instance
        place.obey("restart 1")
        httpx.get(f"{place.urls[0]}/readyz").raise_for_status()


def test_a_topology_takes_commands_from_outside() -> None:
    """What a profile's hooks need: a command line for each fault, and one line on a mistake."""

    def control(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "chaos.control", folder, *words]
        return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)

    command = [sys.executable, "-m", "chaos.topology", "--instances", "1", "--fanout", "notify"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        assert ready
        # All four are written at once.
        lines = dict(process.stdout.readline().strip().split(" ", 1) for _ in range(4))
    except ValueError:
        process.wait(PATIENCE_S)
        reason = process.stderr.read().strip()
        if "is not on this machine" in reason:
            missing(reason)
        pytest.fail(reason)
    try:
        folder = lines["control"]
        url = lines["balancer"]
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert control("stop", "store").returncode == 0
        assert httpx.get(f"{url}/readyz", timeout=20).status_code == 503
        assert control("start", "store").returncode == 0
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, "ready", PATIENCE_S)
        for word in ("pause", "unpause", "terminate", "restart"):
            assert control(word, "1").returncode == 0
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, "ready", PATIENCE_S)
        mistake = control("stop", "broker")
        assert (mistake.returncode, mistake.stderr) == (
            2,
            "this deployment has no broker of its own\n",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        process.stdout.close()
        process.stderr.close()


def test_a_paused_instance_does_not_take_the_store_with_it() -> None:
    """If an instance on SQLite is paused while it writes all the time, then others still write."""

    def start_at(url: str, events: int) -> int:
        body = {**RESUME, "pipeline": {"events": events, "interval_ms": 1}}
        headers = {"X-Client-Id": os.urandom(8).hex()}
        return client.post(f"{url}/api/pipeline/start", json=body, headers=headers).status_code

    plan = Plan(instances=2, store="sqlite", fanout="local")
    with deployment(plan) as place, httpx.Client(timeout=30) as client:
        busy, other = place.urls
        assert {start_at(busy, 2000) for _ in range(4)} == {202}
        for _ in range(8):
            place.obey("pause 1")
            try:
                assert start_at(other, 5) == 202
            finally:
                place.obey("unpause 1")


def test_notify_needs_postgres() -> None:
    """A deployment that cannot be is refused in one line."""
    assert Plan(store="sqlite", fanout="notify").problem() is not None
    assert Plan(store="postgres", fanout="notify", balance=STICKY_SESSION).problem() is None
