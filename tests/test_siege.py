"""The rules of the siege: its schedule can be repeated, its ledger misses nothing, and it bites."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from chaos.experiments import ENV
from chaos.ledger import WORDS, judge
from chaos.readers import Connection, Reader, Texts
from chaos.schedule import Fault, Schedule, ScheduleError
from chaos.siege import besiege, results
from chaos.topology import Plan, Topology
from chaos.trial import Size
from streamgauge.history import Entry
from tests.suite_process import ROOT

SIEGE_MAX_S = 150.0


def test_a_seed_gives_one_schedule() -> None:
    """If the seed is the same, then so is the schedule; it has every kind of fault."""
    drawn = [Schedule.drawn(seed, 3, ("store", "broker"), 2.0) for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2]
    for schedule in drawn:
        kinds = {(fault.kind, fault.target) for fault in schedule.faults}
        assert {kind for kind, _ in kinds} == {"kill", "pause", "restart", "stop"}
        assert {("stop", "store"), ("stop", "broker")} <= kinds
        assert {target for kind, target in kinds if kind == "restart"} == {"1", "2", "3"}
        shares = [fault.at_share for fault in schedule.faults]
        assert shares == sorted(shares)


def test_a_pause_outlasts_the_lease() -> None:
    """If an instance is paused, then for longer than its lease: another one has to take over."""
    for seed in range(50):
        for fault in Schedule.drawn(seed, 3, (), 2.0).faults:
            assert fault.kind != "pause" or fault.lasts_s > 2.0


def test_a_schedule_comes_back_from_its_file(tmp_path: Path) -> None:
    """If a schedule was written down, then reading it gives the same one."""
    schedule = Schedule.drawn(9, 3, ("store",), 2.0)
    schedule.save(tmp_path / "deep" / "schedule.json")
    assert Schedule.load(tmp_path / "deep" / "schedule.json") == schedule


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seed": 1, "faults": [{"kind": "kill"}]}'])
def test_a_file_that_is_no_schedule_is_refused(tmp_path: Path, text: str) -> None:
    """If a file is no schedule, then the error names it."""
    path = tmp_path / "schedule.json"
    path.write_text(text)
    with pytest.raises(ScheduleError, match=r"schedule\.json"):
        Schedule.load(path)


def test_what_is_broken_is_mended() -> None:
    """Each fault but a restart has a command that ends it."""
    assert Fault("kill", "2", 0.1, 1.0).mends == "restart 2"
    assert Fault("pause", "2", 0.1, 1.0).mends == "unpause 2"
    assert Fault("stop", "store", 0.1, 1.0).mends == "start store"
    assert Fault("restart", "2", 0.1, 0.0).mends == ""


def connection(*ids: int, after: str = "") -> Connection:
    """A connection that showed these events of a log of five."""
    entries = [Entry(str(k), ("x", "", f"text {k}"), at=float(k), terminal=k == 5) for k in ids]
    return Connection("http://one", after, 0.0, entries, closed_at=9.0)


def reader(name: str, *connections: Connection, ended: bool = True) -> Reader:
    made = Reader(httpx.AsyncClient(), ["http://one"], "job", name, random.Random(1), 0.0, Texts())
    made.connections, made.ended = list(connections), ended
    return made


@pytest.mark.parametrize(
    ("word", "connections"),
    [
        ("ok", (connection(1, 2, 3, 4, 5),)),
        ("ok", (connection(1, 2), connection(3, 4, 5, after="2"))),
        ("lost", (connection(1, 2), connection(4, 5, after="2"))),
        ("lost", (connection(1, 2, 3, 5),)),
        ("duplicate", (connection(1, 2, 2, 3, 4, 5),)),
        ("reordered", (connection(1, 2, 3), connection(2, 3, 4, 5, after="3"))),
    ],
)
def test_each_stream_gets_its_word(word: str, connections: tuple[Connection, ...]) -> None:
    """If a stream is otherwise than the log, then the ledger says how, and how many are so."""
    good = reader("good", connection(1, 2, 3, 4, 5))
    ledger = judge(
        [good, reader("seen", *connections)], {"job": [connection(1, 2, 3, 4, 5)]}, {"job": 5}
    )
    counts = ledger.as_json()
    assert counts["ok"] + counts[word] == (4 if word == "ok" else 2)
    assert ledger.clean is (word == "ok"), ledger.faults


def test_a_reader_that_never_ended_is_stuck() -> None:
    """If a reader has not seen the end, then it is stuck, though all that it saw is right."""
    stuck = reader("late", connection(1, 2), ended=False)
    ledger = judge([stuck], {"job": [connection(1, 2, 3, 4, 5)]}, {"job": 5})
    assert ledger.as_json()["stuck"] == 1
    assert not ledger.clean


def test_a_log_that_is_too_short_is_seen() -> None:
    """If all agree on a log that lacks events of the script, then that is a fault."""
    whole = [connection(1, 2, 3, 4, 5)]
    ledger = judge([reader("good", *whole)], {"job": whole}, {"job": 6})
    assert any("asked for 6" in fault for fault in ledger.faults)


def test_nothing_read_is_not_clean() -> None:
    """If there was no stream, then nothing is proven."""
    assert not judge([], {}, {}).clean


def test_a_siege_sees_what_was_shown_and_never_stored() -> None:
    """If a server shows events before it stores them, then a kill loses some, and that is seen."""
    plan = Plan(
        2,
        "sqlite",
        "local",
        lease_s=2,
        env=ENV,
        program=("tests.mutants.serve", "take-shown-first"),
    )
    schedule = Schedule(1, (Fault("kill", "1", 0.1, 1.0), Fault("kill", "2", 0.5, 1.0)))
    size = Size(jobs=2, readers=3, events=300, interval_ms=20, stay_s=0.0)
    with Topology(plan) as topology:
        siege = besiege(topology, schedule, size)
    assert not siege.ledger.clean
    assert results(siege)["verdict"] == "fail"
    assert siege.ledger.as_json()["ok"] < 6, siege.ledger.faults


def test_a_small_siege_loses_nothing(tmp_path: Path) -> None:
    """If instances fail while jobs run on them, then every reader has the exact log."""
    command = [sys.executable, "-m", "chaos.siege", "--seed", "4", "--reports", str(tmp_path)]
    command += ["--store", "sqlite", "--fanout", "local"]
    command += ["--jobs", "3", "--readers", "4", "--events", "1000"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SIEGE_MAX_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["verdict"] == "pass"
    (experiment,) = found["experiments"]
    assert experiment["ledger"] == {word: 12 if word == "ok" else 0 for word in WORDS}
    assert {fault["kind"] for fault in experiment["faults"]} == {"kill", "pause", "restart"}
    assert all(fault["streams_hit"] for fault in experiment["faults"])
