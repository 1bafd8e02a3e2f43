"""How many users a shape asks for, and when it has had enough."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from locust_process import headless
from server_process import ServerProcess

from load.shapes import MEASURE_S, SETTLE_S, ShapeError, shape_of
from streamgauge.profile_file import load_profile

PROFILE = load_profile("resume-optimizer")
GIVEN = Namespace(num_users=100, run_time=50, arrivals=0.0)

SUPERVISOR = """
import os, signal, subprocess, sys, time
port, wanted = sys.argv[1], False
def tell(*_):
    global wanted
    wanted = True
signal.signal(signal.SIGHUP, tell)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
env = {**os.environ, "PORT": port}
child = subprocess.Popen([sys.executable, "-m", "reference_server"], env=env)
try:
    while True:
        time.sleep(0.05)
        if wanted:
            wanted = False
            child.terminate()
            child.wait(10)
            child = subprocess.Popen([sys.executable, "-m", "reference_server"], env=env)
finally:
    child.kill()
    child.wait()
"""


class FakeRun:
    """A run whose bounds break at so many users."""

    def __init__(self, breaks_at: int = 10**9) -> None:
        self.breaks_at = breaks_at
        self.asked: list[int] = []
        self.restarts = 0

    def sums(self):
        return Namespace(live=7)

    def step(self, users: int, seconds: float, live: float, before, after) -> bool:
        assert seconds == pytest.approx(MEASURE_S, abs=1.1)
        assert live == 7
        self.asked.append(users)
        return users < self.breaks_at

    def mark(self, label: str) -> None:
        pass

    def restart(self) -> None:
        self.restarts += 1


def course(name: str, run: FakeRun, options: Namespace = GIVEN, profile=PROFILE) -> list[int]:
    """What a shape asks for, second by second, to its end."""
    shape = shape_of(name, options, profile)
    users: list[int] = []
    while (now := shape.users(float(len(users)), run)) is not None:
        users.append(now)
        assert len(users) < 2000
    return users


def test_steps_rise_to_the_peak() -> None:
    users = course("step", FakeRun())
    assert len(users) == 50
    assert sorted(set(users)) == [20, 40, 60, 80, 100]
    assert users == sorted(users)


def test_a_spike_stands_alone() -> None:
    users = course("spike", FakeRun())
    assert users[0] == users[-1] == 20
    assert users.count(100) == 10


def test_a_soak_is_long_where_nothing_else_is_said() -> None:
    users = course("soak", FakeRun(), Namespace(num_users=3, run_time=None, arrivals=0.0))
    assert users == [3] * 600


def test_a_sweep_ends_at_the_knee() -> None:
    run = FakeRun(breaks_at=40)
    users = course("sweep", run)
    assert run.asked == [10, 15, 22, 33, 49]
    assert max(users) == 49
    assert len(users) >= 5 * (SETTLE_S + MEASURE_S)


def test_a_sweep_ends_at_its_limit() -> None:
    run = FakeRun()
    course("sweep", run)
    assert run.asked[-1] == 100


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("wave", GIVEN, "expected one of closed, step, spike, soak, restart, sweep, got 'wave'"),
        ("restart", GIVEN, "needs the command that restarts the target"),
        ("step", Namespace(num_users=1, run_time=1, arrivals=5.0), "give one of both"),
    ],
)
def test_what_a_shape_lacks_is_said(name: str, options: Namespace, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        shape_of(name, options, PROFILE)


def test_restarts_under_load_lose_nothing(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    env = {
        **os.environ, "SCRIPTED_PIPELINES": "1", "LOG_LEVEL": "error", "GRACE_SECONDS": "1",
        "SQLITE_PATH": str(tmp_path / "jobs.db"),
    }  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(port)],
        cwd=Path(__file__).parents[2], env=env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "listening" in server.stdout.readline()
        profile = tmp_path / "here.toml"
        profile.write_text(
            'extends = "resume-optimizer"\n[hooks]\n'
            f'restart = ["sh", "-c", "kill -HUP {server.pid}", "{{instance}}"]\n'
        )
        outcome = headless(
            tmp_path, f"http://127.0.0.1:{port}", 12, 9, "--load-shape", "restart",
            "--profile", str(profile), "--threshold", "event_age.p50<1",
        )  # fmt: skip
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()
    assert outcome.code == 0, outcome.said
    assert outcome.results["percentiles"]["resume"]["count"] > 0
    assert (tmp_path / "index.html").read_text().count("restarted") >= 2


def test_arrivals_do_not_wait_for_each_other(target: ServerProcess, tmp_path: Path) -> None:
    outcome = headless(tmp_path, target.url, 1, 5, "--arrivals", "12")
    assert outcome.code == 0, outcome.said
    assert outcome.results["streams"] > 20
    assert outcome.results["ledger"]["stopped"] > 3
