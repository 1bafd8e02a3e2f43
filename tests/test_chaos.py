"""The parts of chaos: what is drawn, what is cut, what is hit, what is judged, what is shrunk."""

from __future__ import annotations

import asyncio
import functools
import http.server
import os
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import httpx
import pytest

from chaos.cuts import POINTS, cut_there
from chaos.deployment import Running
from chaos.disk import DiskFailed, SmallDisk
from chaos.experiments import POSTGRES, SQLITE, Experiment, drawn, possible, randomised
from chaos.faults import MENDED_BY
from chaos.ledger import judge
from chaos.measure import Calm, hit, resume_lag_s, resumed_s
from chaos.outcome import FAIL, INCONCLUSIVE, PASS, judged
from chaos.platforms import CHOSEN, powers
from chaos.programme import Choice, Programme
from chaos.readers import Connection, Reader, Texts
from chaos.schedule import Fault, ScheduleError
from chaos.services import MissingProgram, ServiceFailed
from chaos.shrink import shrunk
from chaos.toxics import NAMES, Toxic, toxics
from chaos.toxiproxy import ToxiproxyServer
from chaos.trial import Played, Size, Trial
from streamgauge.explain.platforms import platforms
from streamgauge.history import Entry
from streamgauge.profile import Hooks
from tests.needs import missing

if TYPE_CHECKING:
    from chaos.deployment import Deployment

CALM = Calm(age_p99_s=0.1, pause_s=0.2)


class Anywhere:
    """A deployment that nothing is asked of."""

    lease_s = 2.0
    heartbeat_s = 1.0
    headers: ClassVar[dict[str, str]] = {}


def reader(*connections: Connection, ended: bool = True) -> Reader:
    made = Reader(Anywhere(), ["http://one"], "job", "reader", random.Random(1), 0, Texts())
    made.connections, made.ended = list(connections), ended
    return made


def connection(
    *at: float,
    age: float = 0.01,
    broken: str = "",
    first: int = 1,
    after: int | None = None,
    closed: float | None = None,
) -> Connection:
    """Events that came at these moments, so old each, to a reader with this cursor."""
    entries = [
        Entry(str(n), ("x", "", f"text {n}"), moment, emitted_at=moment - age)
        for n, moment in enumerate(at, first)
    ]
    cursor = first - 1 if after is None else after
    return Connection(
        "http://one",
        str(cursor or ""),
        at[0] - 0.05,
        entries,
        closed_at=closed or at[-1],
        broken=broken,
    )


def steadily(begin: float, end: float) -> list[float]:
    return [begin + n * 0.1 for n in range(round((end - begin) * 10))]


# Drawn.


@pytest.mark.parametrize("whole", [False, True])
def test_a_seed_gives_the_same_experiments(whole: bool) -> None:
    """If the seed is the same, then so is everything that is drawn from it."""
    first, same, other = (drawn(s, whole=whole, small_disk=True, clocks=True) for s in (1, 1, 2))
    assert first == same != other
    assert [e.key for some in first.values() for e in some] == [
        e.key for some in other.values() for e in some
    ] or not whole


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_fault_is_played_on_each_deployment(seed: int) -> None:
    """If a fault can befall a deployment, then it is played there at least once."""
    found = drawn(seed, whole=False, small_disk=True, clocks=True)
    for deployment, experiments in found.items():
        kinds = {fault.kind for each in experiments for fault in each.faults}
        assert {"kill", "terminate", "pause", "roll"} | set(NAMES) <= kinds
        assert kinds & {"ahead", "behind"}
        assert ("fill" in kinds) is (deployment == SQLITE)
        assert ("stop" in kinds) is (deployment == POSTGRES)
        assert len({each.name for each in experiments}) == len(experiments)
    assert {each.cut for each in found[SQLITE]} >= set(POINTS)


def test_the_whole_has_every_toxic_on_every_link() -> None:
    """If a link can have a toxic, then the whole run gives it one."""
    found = drawn(1, whole=True, small_disk=True, clocks=True)
    groups = {SQLITE: ("edge", "backend"), POSTGRES: ("edge", "backend", "store", "broker")}
    for deployment, experiments in found.items():
        names = {each.name for each in experiments}
        assert {f"{g}-{toxic}" for g in groups[deployment] for toxic in toxics(g)} <= names


def test_whatever_is_broken_is_mended() -> None:
    """If a fault does not end by itself, then a command ends it."""
    found = drawn(3, whole=True, small_disk=True, clocks=True)
    for fault in (f for some in found.values() for each in some for f in each.faults):
        assert fault.mends or fault.kind == "roll"
        assert fault.kind in MENDED_BY or fault.kind == "roll"


def test_a_random_combination_has_several_faults_in_order() -> None:
    """If faults are combined at random, then the seed says how, and none comes before another."""
    pool = drawn(1, whole=True, small_disk=True, clocks=True)[SQLITE]
    first, same, other = (randomised(seed, SQLITE, pool) for seed in (4, 4, 5))
    assert first == same != other
    shares = [fault.at_share for fault in first.faults]
    assert shares == sorted(shares)
    assert 3 <= len(shares) <= 4
    assert max(shares) < 0.9


def test_a_deployment_of_ones_own_is_broken_by_its_hooks_only() -> None:
    """If a profile has no hook for a fault, then that fault is not played."""
    alone = {each.name for each in possible(1, Hooks(), 1)}
    assert alone == {f"cut-{point}" for point in POINTS}
    able = possible(1, Hooks(kill=("k",), restart=("r",), stop_store=("s",), start_store=("t",)), 2)
    assert {"kill", "rolling-restart", "store-stop"} <= {each.name for each in able}
    assert "pause" not in {each.name for each in able}


def test_a_schedule_is_played_on_the_deployment_that_it_was_drawn_for(tmp_path: Path) -> None:
    """If a run on one's own deployment was written down, then it comes back for one, only."""
    own = Running("http://a", ["http://a"], 2.0, Hooks(kill=("k",), restart=("r",)), 2.0)
    programme, path = Programme.chosen(Choice(7), own=own), tmp_path / "schedule.json"
    programme.save(path)
    assert Programme.chosen(Choice(8), path, own).experiments == programme.experiments
    with pytest.raises(ScheduleError, match="give --base-url"):
        Programme.chosen(Choice(7), path)


# Cut.


def stream(events: int) -> bytes:
    """A log with a text of several bytes a letter, padded as a server does it."""
    frames = [b'event: connection\ndata: {"type":"connection"}\n\n:' + b" " * 50 + b"\n"]
    for n in range(1, events + 1):
        kind = "done" if n == events else "agent_chunk"
        data = f'{{"id":{n},"type":"{kind}","data":{{"text":"Größe"}}}}'
        frames.append(f"id: {n}\nevent: {kind}\ndata: {data}\n\n: padding\n".encode())
    return b"".join(frames)


@pytest.mark.parametrize("point", POINTS)
def test_a_cut_lies_where_its_name_says(point: str) -> None:
    """If a stream is cut at a point, then what came before it ends as the name says."""
    body = stream(9)
    offset = POINTS[point](body, 5)
    before, after = body[:offset], body[offset:]
    if point == "behind-an-event":
        assert before.endswith(b"}}\n\n")
        assert b"id: 5\n" in before
        assert after.startswith(b": padding\nid: 6\n")
    elif point == "inside-a-frame":
        assert b"data:" in before.rpartition(b"\n")[2]
    elif point == "between-id-and-data":
        assert before.endswith(b"\nid: 5\n")
    elif point == "inside-utf-8":
        with pytest.raises(UnicodeDecodeError):
            before.decode()
        assert b'"id":5' in before.rpartition(b"\n")[2]
    else:
        assert before.endswith(b"}}\n\n")
        assert b"id: 8\n" in before
        assert after.startswith(b": padding\nid: 9\nevent: done")


def test_a_cut_elsewhere_is_not_taken_for_one() -> None:
    """If a connection ended behind a frame, then it was not cut inside of one."""
    whole = connection(1.0, 2.0, broken="cut")
    torn = connection(1.0, 2.0, broken="cut")
    torn.torn = True
    assert cut_there("behind-an-event", whole)
    assert not cut_there("inside-a-frame", whole)
    assert cut_there("inside-utf-8", torn)
    assert not cut_there("behind-an-event", connection(1.0, 2.0))


# Hit.


def test_a_calm_stream_is_not_hit() -> None:
    """If a stream is as streams are without faults, then no fault touched it."""
    assert not hit(reader(connection(*steadily(0, 10))), 4.0, 6.0, CALM)


def test_a_broken_connection_is_hit() -> None:
    """If a connection breaks while a fault lasts, or just after it began, then it was touched."""
    broken = connection(*steadily(0, 5), broken="cut", closed=5.0)
    assert hit(reader(broken, connection(*steadily(5.1, 10), first=60)), 4.5, 6.0, CALM)
    assert not hit(reader(broken, connection(*steadily(5.1, 10), first=60)), 7.0, 8.0, CALM)


def test_a_silence_is_hit() -> None:
    """If a stream is silent for longer than any calm one, then it was touched."""
    assert hit(reader(connection(*steadily(0, 5), *steadily(6, 10))), 5.0, 6.0, CALM)


def test_late_events_are_hit_and_a_single_one_is_chance() -> None:
    """If a tenth of the events is later than the control's p99, then it was touched."""
    late = connection(*steadily(0, 10), age=0.5)
    assert hit(reader(late), 4.0, 6.0, CALM)
    calm, one = connection(*steadily(0, 5)), connection(5.0, age=0.5, first=51)
    rest = connection(*steadily(5.1, 10), first=52)
    assert not hit(reader(calm, one, rest), 4.0, 6.0, CALM)


def test_what_could_not_come_is_no_delay() -> None:
    """If there was no event to be had, then a reader did not wait for it."""
    broken = connection(1.0, 2.0, broken="cut", closed=2.0)
    fresh = connection(6.0, 6.1, first=3, age=0.2)
    assert resumed_s(reader(broken, fresh)) == pytest.approx(4.0)
    assert resume_lag_s(reader(broken, fresh)) == pytest.approx(0.2)


# Judged.


def trial(*readers: Reader, faults: Sequence[Fault] = (), lively: bool = True) -> Trial:
    """A run that is over, its log being what the first reader saw."""
    where: Deployment = Anywhere()  # type: ignore[assignment]
    made = Trial(where, Size(jobs=1), faults, 1, jobs=["job"], readers=list(readers), began=0.0)
    made.ended, made.lively = 10.0, lively
    made.played = [Played(fault, 4.0, 2.0) for fault in faults]
    entries = [entry for c in readers[0].connections for entry in c.entries]
    last = entries[-1]
    entries[-1] = Entry(last.id, last.key, last.at, terminal=True, emitted_at=last.emitted_at)
    log = Connection("http://one", "", 0.0, entries, closed_at=10.0)
    made.ledger = judge(made.readers, {"job": [log]}, {"job": len(entries)})
    return made


KILL = Fault("kill", "1", 0.4, 2.0)


def touched() -> Reader:
    """Cut while the fault lasted, and back at once."""
    return reader(
        connection(*steadily(0, 5), broken="cut", closed=5.0),
        connection(*steadily(5.1, 10), first=51),
    )


def test_a_fault_that_nobody_notices_is_a_pass() -> None:
    """If a stream was touched and is whole all the same, then the experiment passes."""
    found = judged(Experiment("kill", SQLITE, (KILL,)), trial(touched(), faults=[KILL]), CALM)
    assert (found.verdict, found.reasons) == (PASS, [])


def test_a_fault_that_touched_nobody_proves_nothing() -> None:
    """If no stream was touched, then the experiment is inconclusive, never green."""
    calm = reader(connection(*steadily(0, 10)))
    found = judged(Experiment("kill", SQLITE, (KILL,)), trial(calm, faults=[KILL]), CALM)
    assert (found.verdict, found.reasons) == (INCONCLUSIVE, ["kill 1 touched no stream"])


def test_a_lost_event_is_a_failure() -> None:
    """If one of two readers lacks an event, then the experiment fails and says so."""
    short = reader(
        connection(*steadily(0, 5), broken="cut", closed=5.0),
        connection(*steadily(5.2, 10), first=52, after=50),
    )
    found = judged(
        Experiment("kill", SQLITE, (KILL,)), trial(touched(), short, faults=[KILL]), CALM
    )
    assert found.verdict == FAIL
    assert "51" in found.reasons[0]


def test_a_deployment_that_does_not_come_back_is_a_failure() -> None:
    """If no fresh job runs afterwards, then the experiment fails though nothing was lost."""
    dead = trial(touched(), faults=[KILL], lively=False)
    found = judged(Experiment("kill", SQLITE, (KILL,)), dead, CALM)
    assert found.verdict == FAIL
    assert "fresh job" in found.reasons[0]


def test_late_events_afterwards_are_a_failure() -> None:
    """If events are still late when all is mended, then the steady state is not back."""
    late = reader(
        connection(*steadily(0, 5), broken="cut", closed=5.0),
        connection(*steadily(5.1, 10), first=51, age=3.0),
    )
    found = judged(Experiment("kill", SQLITE, (KILL,)), trial(late, faults=[KILL]), CALM)
    assert found.verdict == FAIL
    assert "3.00 s old" in found.reasons[0]


def test_a_busy_machine_blames_nobody_for_late_events() -> None:
    """If the readers themselves were late, then late events prove nothing."""
    late = reader(
        connection(*steadily(0, 5), broken="cut", closed=5.0),
        connection(*steadily(5.1, 10), first=51, age=3.0),
    )
    busy = trial(late, faults=[KILL])
    busy.late_s = 1.1
    found = judged(Experiment("kill", SQLITE, (KILL,)), busy, CALM)
    assert found.verdict == INCONCLUSIVE
    assert "too busy" in found.reasons[0]


def test_a_torn_frame_fails_an_orderly_end_only() -> None:
    """If the server was told to stop, then it may not end a stream inside a frame."""
    for kind, verdict in (("roll", FAIL), ("kill", PASS)):
        torn = touched()
        torn.connections[0].torn = True
        fault = Fault(kind, "all", 0.4, 2.0)
        found = judged(Experiment(kind, SQLITE, (fault,)), trial(torn, faults=[fault]), CALM)
        assert found.verdict == verdict, found.reasons


# Shrunk.


@pytest.mark.parametrize("guilty", [{2}, {0, 7}, {1, 4, 6}, set(range(8))])
def test_shrinking_finds_the_guilty_faults(guilty: set[int]) -> None:
    """If some faults fail together, then exactly these are left."""
    faults = [Fault("kill", str(n), n / 10, 1.0) for n in range(8)]
    runs = 0

    async def fails(some: Sequence[Fault]) -> bool:
        nonlocal runs
        runs += 1
        return {str(n) for n in guilty} <= {fault.target for fault in some}

    fewest = asyncio.run(shrunk(faults, fails, 60.0))
    assert [int(fault.target) for fault in fewest] == sorted(guilty)
    assert runs < 60


def test_shrinking_ends_when_its_time_is_over() -> None:
    """If the time is over, then what is known is kept."""
    faults = [Fault("kill", str(n), n / 10, 1.0) for n in range(8)]

    async def never(_: Sequence[Fault]) -> bool:
        raise AssertionError

    assert asyncio.run(shrunk(faults, never, -1.0)) == faults


# On platforms.


def test_what_a_platform_does_is_scaled_but_never_below_the_heartbeat() -> None:
    """If a platform cuts silent streams, then a target that keeps its heartbeat is not cut."""
    known = {platform.id: platform for platform in platforms()}
    assert set(CHOSEN) <= set(known)
    for name in CHOSEN:
        for heartbeat_s in (2.0, 15.0):
            done = powers(known[name], heartbeat_s)
            assert done.idle_s == 0 or done.idle_s > heartbeat_s
    assert powers(known["cloud-run"], 2.0).cap_s == 3.0
    assert powers(known["nginx"], 2.0).block_bytes == 4096


# The real parts.


def test_links_are_broken_and_healed(tmp_path: Path) -> None:
    """If a link is down, slow or cut, then that is so until it is healed, on the same port."""
    (tmp_path / "page").write_bytes(b"x" * 20_000)
    try:
        with ToxiproxyServer() as server, serving(tmp_path) as port:
            link = server.link("a", port)
            url = f"http://127.0.0.1:{link.port}/page"

            def get() -> httpx.Response:
                return httpx.get(url, timeout=5.0, trust_env=False)

            assert len(get().content) == 20_000
            link.poison(Toxic("down", {}))
            assert not link.healthy
            with pytest.raises(httpx.TransportError):
                get()
            link.heal()
            assert link.healthy
            link.poison(Toxic("limit_data", {"bytes": 1000}))
            with pytest.raises(httpx.RemoteProtocolError):
                get()
            link.change(Toxic("limit_data", {"bytes": 1_000_000}))
            assert len(get().content) == 20_000
            with pytest.raises(ServiceFailed, match="no limit_data"):
                link.poison(Toxic("limit_data", {"bytes": 1}))
            with pytest.raises(ServiceFailed, match="no nonsense"):
                link.poison(Toxic("nonsense", {}))
            with pytest.raises(ServiceFailed, match="made no link a"):
                server.link("a", port)
            link.heal()
            assert len(get().content) == 20_000
    except MissingProgram as error:
        missing(str(error))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Tells nobody what it was asked."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A web server on a folder; gives its port."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_small_disk_is_full_until_it_is_freed(tmp_path: Path) -> None:
    """If the disk is filled, then nothing can be written to it, and afterwards it can."""
    try:
        with SmallDisk(tmp_path / "disk") as disk:
            (disk.folder / "kept").write_bytes(b"before")
            disk.fill()
            with pytest.raises(OSError, match="No space left"):
                (disk.folder / "more").write_bytes(bytes(1 << 16))
            disk.free()
            (disk.folder / "more").write_bytes(bytes(1 << 16))
            assert (disk.folder / "kept").read_bytes() == b"before"
    except DiskFailed as error:
        missing(str(error))
    assert not os.path.ismount(tmp_path / "disk")
