"""Broadcasters: wake-ups arrive, and a loss is noticed, told once and made up for."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaos.services import PostgresServer, RedisServer, Service
from reference_server.broadcast import LocalBroadcaster, RemoteBroadcaster
from reference_server.broadcast_postgres import PAYLOAD_CHARS_MAX, PostgresBroadcaster, payloads
from reference_server.broadcast_redis import RedisBroadcaster
from reference_server.clock import Clock
from reference_server.events import Draft
from reference_server.hub import Hub
from reference_server.joblog import Reader
from reference_server.store import NewRun, SqliteStore
from reference_server.store.postgres_schema import PostgresOptions

DEADLINE_S = 15.0
STAMP = "2026-01-31T12:00:00.123456Z"


@pytest.fixture(params=["redis", "postgres"])
def service(request: pytest.FixtureRequest) -> Service:
    """One of one's own, because some tests stop it."""
    service: Service = request.getfixturevalue(
        "redis" if request.param == "redis" else "own_postgres"
    )
    return service


def broadcaster_of(service: Service) -> RemoteBroadcaster:
    if isinstance(service, RedisServer):
        return RedisBroadcaster(service.url)
    assert isinstance(service, PostgresServer)
    return PostgresBroadcaster(PostgresOptions(service.dsn, statement_timeout_s=1.0))


class Listener:
    """A broadcaster and what it has delivered."""

    def __init__(self, service: Service) -> None:
        self.broadcaster = broadcaster_of(service)
        self.heard: list[tuple[str, int | None]] = []
        self.states: list[bool] = []

    async def open(self) -> None:
        await self.broadcaster.open(
            lambda job_id, head: self.heard.append((job_id, head)),
            lambda: self.states.append(self.broadcaster.connected),
        )

    async def connected(self) -> None:
        await until(lambda: self.broadcaster.connected)


async def until(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - the condition is another part's state
            await asyncio.sleep(0.005)


@asynccontextmanager
async def listeners(service: Service, count: int) -> AsyncIterator[list[Listener]]:
    opened = [Listener(service) for _ in range(count)]
    try:
        for listener in opened:
            await listener.open()
        yield opened
    finally:
        for listener in opened:
            await listener.broadcaster.close()


async def test_news_reaches_the_others(service: Service) -> None:
    """What one publishes arrives at the others that watch the job, newest head last."""
    async with listeners(service, 3) as (speaker, *others):
        for listener in (speaker, *others):
            listener.broadcaster.watch("a")
            await listener.connected()
        await asyncio.sleep(0.2)  # Redis confirms the subscriptions
        for head in range(1, 50):
            speaker.broadcaster.publish("a", head)
        await until(lambda: all(("a", 49) in listener.heard for listener in others))


async def test_a_batch_is_sent_together(service: Service) -> None:
    """News that gathers is folded: the newest head of each job, all of them delivered."""
    jobs = [f"job-{n:04d}-{'x' * 30}" for n in range(400)]
    async with listeners(service, 2) as (speaker, other):
        for job in jobs:
            other.broadcaster.watch(job)
        await speaker.connected()
        await other.connected()
        await asyncio.sleep(0.3)
        for head in range(1, 20):
            for job in jobs:
                speaker.broadcaster.publish(job, head)
        await until(lambda: {(job, 19) for job in jobs} <= set(other.heard))
        told = [heard for heard in other.heard if heard[1] is not None]
        assert len(told) == len(jobs)


def test_a_notification_stays_under_its_limit() -> None:
    """However many jobs have news, no payload is one that PostgreSQL refuses."""
    batch = {f"{n:036d}": 10**18 for n in range(1000)}
    found = list(payloads(batch))
    assert max(map(len, found)) <= PAYLOAD_CHARS_MAX
    words = " ".join(found).split()
    assert dict(zip(words[::2], map(int, words[1::2]), strict=True)) == batch
    assert list(payloads({})) == []


async def test_a_loss_is_told_once_and_mended(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Away: not connected, one line in the log however long; back: connected by itself, and what
    is published then arrives."""
    with caplog.at_level(logging.INFO):
        async with listeners(service, 2) as (speaker, other):
            other.broadcaster.watch("a")
            await speaker.connected()
            await other.connected()
            service.stop(signal.SIGINT)
            await until(lambda: not other.broadcaster.connected)
            await until(lambda: not speaker.broadcaster.connected)
            speaker.broadcaster.publish("a", 1)
            await asyncio.sleep(1.0)
            service.start()
            await speaker.connected()
            await other.connected()
            await asyncio.sleep(0.2)
            speaker.broadcaster.publish("a", 2)
            await until(lambda: ("a", 2) in other.heard)
            assert ("a", 1) not in other.heard
            assert other.states == [True, False, True]
    for text, times in (("is away", 2), ("is back", 2)):
        assert sum(text in record.message for record in caplog.records) == times


async def test_a_service_that_is_not_there_yet_is_waited_for(service: Service) -> None:
    """A server that starts before its broadcaster connects when that has come."""
    service.stop(signal.SIGINT)
    async with listeners(service, 1) as (listener,):
        await asyncio.sleep(0.3)
        assert not listener.broadcaster.connected
        listener.broadcaster.publish("a", 1)
        service.start()
        await listener.connected()


async def test_a_service_that_hangs_counts_as_away(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that stays open and says nothing is given up."""
    monkeypatch.setattr("reference_server.broadcast.PROBE_S", 0.3)
    monkeypatch.setattr("reference_server.broadcast_redis.PROBE_S", 0.3)
    async with listeners(service, 1) as (listener,):
        await listener.connected()
        service.pause()
        await until(lambda: not listener.broadcaster.connected)
        service.resume()
        await listener.connected()


async def test_the_poll_follows_the_broadcaster(service: Service, tmp_path: Path) -> None:
    """Connected: a look a second; away: ten a second; and everything is read anew in between."""
    store = SqliteStore(tmp_path / "jobs.db", Clock())
    await store.open()
    broadcaster = broadcaster_of(service)
    hub = Hub(store, lambda event: b"x", broadcaster, 100, 1 << 20, 60.0, poll_alone_s=0.05)
    assert hub.poll_interval_s == 0.05
    await hub.open()
    reader = Reader()
    try:
        await until(lambda: hub.poll_interval_s == 60.0)
        await store.create_run(NewRun("job", "c", "{}", True, 30, None, "f", "me", 15), 0)
        log = await hub.log("job")
        assert log is not None
        log.attach(reader)
        await asyncio.sleep(0.3)
        await store.append("job", 1, [Draft("agent_chunk", STAMP, "{}")], None)
        await asyncio.sleep(0.3)
        assert log.head == 0  # nobody told, and the next look is a minute away
        service.stop(signal.SIGINT)
        await until(lambda: log.head == 1)
        await store.append("job", 1, [Draft("agent_chunk", STAMP, "{}")], None)
        await until(lambda: log.head == 2)
    finally:
        log.detach(reader)
        await hub.close()
        await store.close()


async def test_a_local_broadcaster_hears_nobody(tmp_path: Path) -> None:
    """So a store that others may write is polled quickly, and any other one slowly."""
    store = SqliteStore(tmp_path / "jobs.db", Clock())
    alone = Hub(store, lambda event: b"x", LocalBroadcaster(), 100, 1 << 20, 1.0)
    shared = Hub(store, lambda event: b"x", LocalBroadcaster(), 100, 1 << 20, 1.0, 0.1)
    assert (alone.poll_interval_s, shared.poll_interval_s) == (1.0, 0.1)


async def test_only_watched_jobs_are_subscribed(redis: RedisServer) -> None:
    """Redis sends an instance the news of the jobs that somebody reads there, and no others; a
    fresh subscription asks for a look at the store."""
    async with listeners(redis, 2) as (speaker, other):
        other.broadcaster.watch("mine")
        await speaker.connected()
        await until(lambda: ("mine", None) in other.heard)
        speaker.broadcaster.publish("theirs", 1)
        speaker.broadcaster.publish("mine", 2)
        await until(lambda: ("mine", 2) in other.heard)
        assert {job for job, _ in other.heard} == {"mine"}
        other.broadcaster.unwatch("mine")
        await asyncio.sleep(0.2)
        speaker.broadcaster.publish("mine", 3)
        other.broadcaster.watch("next")
        await until(lambda: ("next", None) in other.heard)
        assert ("mine", 3) not in other.heard


async def test_publishing_never_waits(service: Service) -> None:
    """With the service away or hanging, telling costs nothing and gathers nothing for ever."""
    async with listeners(service, 1) as (listener,):
        await listener.connected()
        service.pause()
        began = time.monotonic()
        for n in range(50_000):
            listener.broadcaster.publish(f"job{n}", 1)
        assert time.monotonic() - began < 2
        assert len(listener.broadcaster._pending) <= 10_000
        service.resume()
