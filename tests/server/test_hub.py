"""Hub: every reader gets every frame once, from memory or from the store, within the bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from reference_server.clock import Clock
from reference_server.events import COMPLETED, STARTED, Draft, Event
from reference_server.hub import Hub, JobLog, LocalBroadcaster, Reader
from reference_server.store import MemoryStore, NewRun

STAMP = "2026-01-31T12:00:00.123456Z"
STAMP_UNIX_S = 1769860800.123456
DEADLINE_S = 5.0


class CountingStore(MemoryStore):
    """Counts reads, and lets other tasks run during each, as a real store does."""

    def __init__(self, history_limit: int = 100_000) -> None:
        super().__init__(Clock(), history_limit)
        self.reads = 0

    async def read(
        self, job_id: str, after: int, *, upto: int, limit: int, max_bytes: int
    ) -> list[Event]:
        self.reads += 1
        await asyncio.sleep(0)
        return await super().read(job_id, after, upto=upto, limit=limit, max_bytes=max_bytes)


class Counter:
    """A frame encoder that counts: 100 octets a frame, or as many as the data says."""

    def __init__(self) -> None:
        self.encoded = 0

    def __call__(self, event: Event) -> bytes:
        self.encoded += 1
        size = int(event.data) if event.data.isdecimal() else 100
        return f"{event.id}\n".encode().ljust(size, b" ")


def frame_ids(frames: Sequence[bytes]) -> list[int]:
    return [int(frame) for frame in frames]


@pytest.fixture
async def store() -> AsyncIterator[CountingStore]:
    store = CountingStore()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def make_hub(store: CountingStore) -> AsyncIterator[Callable[..., Hub]]:
    hubs: list[Hub] = []

    def make(**changes: object) -> Hub:
        members: dict[str, object] = {
            "store": store,
            "encode": Counter(),
            "broadcaster": LocalBroadcaster(),
            "hot_events": 100,
            "hot_bytes": 1_000_000,
            "poll_interval_s": 60.0,
        }
        hubs.append(Hub(**{**members, **changes}))  # type: ignore[arg-type]
        return hubs[-1]

    yield make
    for hub in hubs:
        await hub.close()


async def create(store: MemoryStore, job_id: str = "job") -> None:
    await store.create_run(NewRun(job_id, "c", "{}", True, 30, None, "f", "me", 15), 0)


async def emit(
    store: MemoryStore, hub: Hub | None, count: int = 1, *, job_id: str = "job",
    data: str = "{}", status: str | None = None,
) -> None:  # fmt: skip
    drafts = [Draft("agent_chunk", STAMP, data) for _ in range(count)]
    events = await store.append(job_id, 1, drafts, status)
    if hub is not None:
        hub.committed(job_id, events, status)


async def find(hub: Hub, job_id: str = "job") -> JobLog:
    log = await hub.log(job_id)
    assert log is not None
    return log


async def drain(log: JobLog, cursor: int, max_bytes: int = 1000) -> list[int]:
    """Everything after `cursor` by a stream's loop, without waiting."""
    ids: list[int] = []
    while cursor < log.head:
        batch = await log.frames(cursor, max_bytes)
        assert batch.data
        assert sum(map(len, batch.data)) <= max(max_bytes, len(batch.data[0]))
        ids += frame_ids(batch.data)
        cursor = batch.last
        assert cursor == ids[-1]
    return ids


async def read_to_end(log: JobLog, reader: Reader) -> list[int]:
    """A stream: frames until the log has ended."""
    ids: list[int] = []
    log.attach(reader)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not (log.ended and reader.cursor == log.head):
                batch = await log.frames(reader.cursor, 1000)
                ids += frame_ids(batch.data)
                reader.cursor = batch.last
                if reader.cursor == log.head and not log.ended:
                    await reader.wait(asyncio.get_running_loop().time() + DEADLINE_S)
    finally:
        log.detach(reader)
    return ids


async def test_an_unknown_job_has_no_log(make_hub: Callable[..., Hub]) -> None:
    """None, so that the answer is 404."""
    assert await make_hub().log("nobody") is None


async def test_frames_after_every_cursor(make_hub: Callable[..., Hub], store: MemoryStore) -> None:
    """For every k exactly the frames after k, across the border of the hot ring."""
    hub = make_hub(hot_events=10)
    await create(store)
    for _ in range(20):
        await emit(store, hub, 3)
    log = await find(hub)
    assert (log.head, log.earliest) == (60, 1)
    for cursor in range(61):
        assert await drain(log, cursor) == list(range(cursor + 1, 61))
    assert (await log.frames(60, 1000)).data == []


async def test_a_batch_tells_when_its_last_event_was_emitted(
    make_hub: Callable[..., Hub], store: MemoryStore
) -> None:
    """Unix seconds, from the ring and from the store alike; None for nothing."""
    hub = make_hub(hot_events=1)
    await create(store)
    await emit(store, hub, 3)
    log = await find(hub)
    assert (await log.frames(2, 1000)).newest_emitted == pytest.approx(STAMP_UNIX_S)
    assert (await log.frames(0, 1000)).newest_emitted == pytest.approx(STAMP_UNIX_S)
    assert (await log.frames(3, 1000)).newest_emitted is None


async def test_hot_frames_are_encoded_once_and_spare_the_store(
    make_hub: Callable[..., Hub], store: CountingStore
) -> None:
    """300 readers that follow a job cost one encoding an event and no read."""
    encode = Counter()
    hub = make_hub(encode=encode)
    await create(store)
    log = await find(hub)
    readers = [asyncio.ensure_future(read_to_end(log, Reader())) for _ in range(300)]
    for _ in range(20):
        await emit(store, hub, 2)
        await asyncio.sleep(0)
    await emit(store, hub, 1, status=COMPLETED)
    for ids in await asyncio.gather(*readers):
        assert ids == list(range(1, 42))
    assert encode.encoded == 41
    assert store.reads == 0


async def test_joining_while_events_are_emitted_loses_and_repeats_nothing(
    make_hub: Callable[..., Hub], store: MemoryStore
) -> None:
    """However a reader's start falls among the emissions, replay passes into live."""
    hub = make_hub(hot_events=5)
    await create(store)
    readers: list[asyncio.Future[list[int]]] = []
    for _ in range(60):
        await emit(store, hub, 1)
        log = await find(hub)
        readers.append(asyncio.ensure_future(read_to_end(log, Reader())))
        await asyncio.sleep(0)
    await emit(store, hub, 1, status=COMPLETED)
    for ids in await asyncio.gather(*readers):
        assert ids == list(range(1, 62))


async def test_readers_of_the_same_page_share_one_read(
    make_hub: Callable[..., Hub], store: CountingStore
) -> None:
    """Many readers that fall behind together read the store once; one may leave meanwhile."""
    hub = make_hub(hot_events=1)
    await create(store)
    await emit(store, hub, 50)
    log = await find(hub)
    pages = [asyncio.ensure_future(log.frames(0, 2000)) for _ in range(100)]
    await asyncio.sleep(0)
    pages[0].cancel()
    results = await asyncio.gather(*pages[1:])
    assert store.reads == 1
    assert all(batch is results[0] for batch in results)


async def test_the_ring_is_bounded_in_octets(
    make_hub: Callable[..., Hub], store: CountingStore
) -> None:
    """A frame over a job's share is not cached, and the frames after it are."""
    hub = make_hub(hot_bytes=4000)  # a share is 1000
    await create(store)
    await emit(store, hub, 3)
    await emit(store, hub, 1, data="1001")
    await emit(store, hub, 2)
    log = await find(hub)
    await log.frames(4, 5000)
    assert store.reads == 0
    assert frame_ids((await log.frames(3, 5000)).data) == [4, 5, 6]
    assert store.reads == 1
    await emit(store, hub, 11)
    await log.frames(7, 5000)
    assert store.reads == 1
    await log.frames(6, 5000)
    assert store.reads == 2


async def test_the_least_recently_used_job_loses_its_frames_first(
    make_hub: Callable[..., Hub], store: CountingStore
) -> None:
    """All hot frames together stay within the bound."""
    hub = make_hub(hot_bytes=4000)
    logs: list[JobLog] = []
    for n in range(6):
        await create(store, f"job{n}")
        await emit(store, hub, 9, job_id=f"job{n}")
        logs.append(await find(hub, f"job{n}"))
    for log in logs[2:]:
        await log.frames(8, 1000)
    assert store.reads == 0
    await logs[0].frames(8, 1000)
    assert store.reads == 1


async def test_a_log_stays_the_same_while_somebody_holds_it(
    make_hub: Callable[..., Hub], store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgetting idle logs never parts a reader from the log that gets the wake-ups."""
    monkeypatch.setattr("reference_server.hub.RECENT_LOGS_MAX", 2)
    hub = make_hub()
    for n in range(5):
        await create(store, f"job{n}")
    held = await find(hub, "job0")
    for n in range(1, 5):
        await find(hub, f"job{n}")
    assert await find(hub, "job0") is held


async def test_a_reader_that_pruning_overtakes_learns_it(
    make_hub: Callable[..., Hub], store: CountingStore
) -> None:
    """An empty batch, a higher `earliest`, and a `wait` that returns at once."""
    small = CountingStore(history_limit=5)
    await small.open()
    hub = make_hub(store=small, hot_events=2)
    await create(small)
    await emit(small, hub, 1)
    log = await find(hub)
    reader = Reader(0)
    log.attach(reader)
    await emit(small, hub, 20)
    await reader.wait(0)  # the wake-up of the events
    batch = await log.frames(0, 1000)
    assert (batch.data, batch.last) == ([], 0)
    assert log.earliest == 17
    async with asyncio.timeout(DEADLINE_S):
        await reader.wait(asyncio.get_running_loop().time() + 10 * DEADLINE_S)
    assert await drain(log, log.earliest - 1) == [17, 18, 19, 20, 21]
    log.detach(reader)


async def test_a_log_that_is_pruned_whole_can_be_left(make_hub: Callable[..., Hub]) -> None:
    """A reader of a job that was deleted meanwhile is told a gap up to its end."""
    store = CountingStore()
    await store.open()
    hub = make_hub(store=store, hot_events=1)
    await create(store)
    await emit(store, hub, 5, status=COMPLETED)
    log = await find(hub)
    await store.prune(-1)
    assert (await log.frames(0, 1000)).data == []
    assert log.earliest == log.head + 1


async def test_head_and_status_come_from_the_store_for_each_caller(
    make_hub: Callable[..., Hub], store: MemoryStore
) -> None:
    """What another instance has written is known to the next `log`, without any wake-up."""
    hub = make_hub()
    await create(store)
    log = await find(hub)
    await emit(store, None, 4, status=STARTED)
    assert (log.head, log.status) == (0, "queued")
    assert await find(hub) is log
    assert (log.head, log.status, log.ended) == (4, STARTED, False)


async def test_a_lost_wake_up_costs_one_poll_interval(
    make_hub: Callable[..., Hub], store: MemoryStore
) -> None:
    """Readers get what nobody announced, by polling."""
    hub = make_hub(poll_interval_s=0.02)
    await hub.open()
    await create(store)
    reading = asyncio.ensure_future(read_to_end(await find(hub), Reader()))
    await emit(store, None, 3)
    await asyncio.sleep(0)
    await emit(store, None, 1, status=COMPLETED)
    assert await reading == [1, 2, 3, 4]


async def test_news_from_another_instance_do_not_wait_for_the_poll(
    make_hub: Callable[..., Hub], store: MemoryStore
) -> None:
    """What a broadcaster delivers is looked up at once."""
    broadcaster = LocalBroadcaster()
    hub = make_hub(broadcaster=broadcaster)
    await hub.open()
    await create(store)
    reading = asyncio.ensure_future(read_to_end(await find(hub), Reader()))
    await asyncio.sleep(0)
    await emit(store, None, 3, status=COMPLETED)
    broadcaster.publish("job", 3)
    assert await reading == [1, 2, 3]


async def test_catch_up_wakes_the_readers_of_a_job_that_was_cancelled(
    make_hub: Callable[..., Hub], store: MemoryStore
) -> None:
    """Events that were not appended here reach the readers by the job's row."""
    hub = make_hub()
    await create(store)
    reading = asyncio.ensure_future(read_to_end(await find(hub), Reader()))
    await asyncio.sleep(0)
    end = [Draft("job_status", STAMP, "{}"), Draft("done", STAMP, "{}")]
    await store.cancel("job", end, Draft("job_status", STAMP, "{}"))
    await hub.catch_up("job")
    assert await reading == [1, 2, 3]


async def test_waking_before_waiting_is_not_lost() -> None:
    """A wake-up between a reader's look at the log and its wait ends that wait at once."""
    reader = Reader()
    reader.wake()
    async with asyncio.timeout(DEADLINE_S):
        await reader.wait(asyncio.get_running_loop().time() + 10 * DEADLINE_S)


async def test_a_wait_ends_at_its_time_and_not_before() -> None:
    """Also when an earlier wait had set the timer to an earlier time."""
    loop = asyncio.get_running_loop()
    reader = Reader()
    first = asyncio.ensure_future(reader.wait(loop.time() + 0.02))
    await asyncio.sleep(0)
    reader.wake()
    await first
    until = loop.time() + 0.05
    await reader.wait(until)
    assert loop.time() >= until
    await reader.wait(until)  # already over
    reader.close()


async def test_a_busy_reader_needs_one_timer() -> None:
    """The timer is left alone while wake-ups come, whatever their number."""
    loop = asyncio.get_running_loop()
    reader = Reader()
    timers = set()
    for _ in range(100):
        wait = asyncio.ensure_future(reader.wait(loop.time() + 60))
        await asyncio.sleep(0)
        timers.add(id(reader._timer))
        reader.wake()
        await wait
    assert len(timers) == 1
    reader.close()


async def test_wake_all_reaches_every_reader(
    make_hub: Callable[..., Hub], store: MemoryStore
) -> None:
    """A drain makes all readers of all jobs look up."""
    hub = make_hub()
    waits: list[asyncio.Future[None]] = []
    kept: list[JobLog] = []
    for n in range(3):
        await create(store, f"job{n}")
        kept.append(await find(hub, f"job{n}"))
        for _ in range(5):
            reader = Reader()
            kept[-1].attach(reader)
            until = asyncio.get_running_loop().time() + 10 * DEADLINE_S
            waits.append(asyncio.ensure_future(reader.wait(until)))
    await asyncio.sleep(0)
    hub.wake_all()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*waits)
    for log in kept:
        for reader in list(log.readers):
            log.detach(reader)


class Tray:
    """An outlet that keeps what it was handed; `unsent` is what its peer has yet to take."""

    def __init__(self, *, unsent: int = 0, closing: bool = False) -> None:
        self.unsent = unsent
        self.closing = closing
        self.chunks: list[bytes] = []

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        self.chunks.append(data)


def reader_at(cursor: int, outlet: Tray) -> Reader:
    reader = Reader(cursor)
    reader.outlet = outlet
    return reader


async def waiting(reader: Reader) -> asyncio.Task[None]:
    """A stream's task in `wait`."""
    until = asyncio.get_running_loop().time() + DEADLINE_S
    task = asyncio.create_task(reader.wait(until))
    await asyncio.sleep(0)
    assert reader.waits
    return task


async def test_new_events_are_handed_to_who_waits_for_them(
    store: CountingStore, make_hub: Callable[..., Hub]
) -> None:
    """One chunk for all at the head, whose cursors move and whose tasks sleep on. Whoever is
    behind, has unsent bytes, is going, does not wait or has no outlet is woken, its
    cursor stays."""
    counted: list[int] = []
    hub = make_hub(handed=lambda _emitted_s, readers: counted.append(readers))
    await create(store)
    await emit(store, hub)
    log = await find(hub)
    trays = [Tray() for _ in range(3)]
    ready = [reader_at(1, tray) for tray in trays]
    stuck, gone = Tray(unsent=1), Tray(closing=True)
    others = [reader_at(0, Tray()), reader_at(1, stuck), reader_at(1, gone), Reader(1)]
    busy = reader_at(1, Tray())
    for reader in (*ready, *others, busy):
        log.attach(reader)
    tasks = [await waiting(reader) for reader in (*ready, *others)]
    await emit(store, hub, 2)
    assert [reader.cursor for reader in ready] == [3, 3, 3]
    assert {len(tray.chunks) for tray in trays} == {1}
    assert trays[0].chunks[0] is trays[2].chunks[0]
    size, _, rest = trays[0].chunks[0].partition(b"\r\n")
    assert int(size, 16) == len(rest) - 2
    assert [reader.cursor for reader in (*others, busy)] == [0, 1, 1, 1, 1]
    assert not stuck.chunks
    assert not gone.chunks
    assert counted == [3]
    assert all(reader.waits for reader in ready)
    await asyncio.wait_for(asyncio.gather(*tasks[3:]), DEADLINE_S)
    assert not any(task.done() for task in tasks[:3])
    await asyncio.wait_for(busy.wait(asyncio.get_running_loop().time() + DEADLINE_S), 1)
    hub.wake_all()
    await asyncio.gather(*tasks)


async def test_the_end_of_a_log_wakes_everybody(
    store: CountingStore, make_hub: Callable[..., Hub]
) -> None:
    """Its task has to end the answer, so it also writes the last events."""
    hub = make_hub()
    await create(store)
    log = await find(hub)
    reader = reader_at(0, tray := Tray())
    log.attach(reader)
    task = await waiting(reader)
    await emit(store, hub, status="completed")
    assert (tray.chunks, reader.cursor) == ([], 0)
    await asyncio.wait_for(task, DEADLINE_S)


async def test_only_so_much_is_handed_over_at_once(
    store: CountingStore, make_hub: Callable[..., Hub]
) -> None:
    """Of a large batch the first part; the reader's task is woken for the rest."""
    hub = make_hub(encode=lambda event: b"x" * 25_000)
    await create(store)
    log = await find(hub)
    reader = reader_at(0, tray := Tray())
    log.attach(reader)
    task = await waiting(reader)
    await emit(store, hub, 4)
    assert reader.cursor == 2
    assert len(tray.chunks[0]) < 65_536
    await asyncio.wait_for(task, DEADLINE_S)
    again = await waiting(reader)
    await emit(store, hub, 1)  # it waits, but is behind
    assert reader.cursor == 2
    await asyncio.wait_for(again, DEADLINE_S)
