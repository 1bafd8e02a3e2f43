"""Runner: pipelines under leases, persist before fan-out, and ends for all jobs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reference_server.clock import Clock
from reference_server.emitter import APPEND_EVENTS_MAX
from reference_server.events import Draft, Event
from reference_server.hub import Hub, JobLog, LocalBroadcaster
from reference_server.observe import NoHooks
from reference_server.payloads import seal
from reference_server.pipelines import Pipelines
from reference_server.runner import Runner
from reference_server.store import (
    Created,
    MemoryStore,
    NewRun,
    SqliteStore,
    Store,
    StoreUnavailable,
)
from reference_server.store.base import Claim
from reference_server.store.postgres import PostgresStore
from reference_server.store.postgres_schema import PostgresOptions

STAMP = "2026-01-31T12:00:00.123456Z"
DEADLINE_S = 8.0
LEASE_S = 15.0


class QuickClock(Clock):
    """Waits are cut to a hundredth."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


class CountingHooks(NoHooks):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.started = self.ended = self.taken_over = self.failed = self.events = 0

    def persisted(self, seconds: float, events: int) -> None:
        self.events += events

    def persist_failed(self) -> None:
        self.failed += 1

    def job_started(self) -> None:
        self.started += 1

    def job_ended(self) -> None:
        self.ended += 1

    def job_taken_over(self) -> None:
        self.taken_over += 1


class FlakyStore(MemoryStore):
    """Appends fail as told: "before" writing anything, "after" having written all, or "late": what
    was given up as lost is written just before the next attempt."""

    def __init__(self) -> None:
        super().__init__(Clock(), history_limit=100_000)
        self.faults: list[str] = []
        self.late: Coroutine[Any, Any, list[Event]] | None = None

    async def append(
        self,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> list[Event]:
        if self.late is not None:
            late, self.late = self.late, None
            await late
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise StoreUnavailable("away")
        append = super().append(job_id, epoch, drafts, status, head)
        if fault == "late":
            self.late = append
            raise StoreUnavailable("nothing was heard for too long")
        events = await append
        if fault == "after":
            raise StoreUnavailable("the answer was lost")
        return events

    async def close(self) -> None:
        if self.late is not None:
            self.late.close()
        await super().close()


@dataclass
class Server:
    """A runner with its parts."""

    store: Store
    hub: Hub
    runner: Runner
    pipelines: Pipelines
    hooks: CountingHooks
    fanned_out: list[Event]

    async def start(self, job_id: str = "job", *, ready: bool = True, **script: object) -> None:
        """What a start request does."""
        new = new_run(job_id, parameters(**script), ready=ready)
        outcome = await self.store.create_run(new, 0)
        assert isinstance(outcome, Created)
        if ready:
            self.runner.launch(Claim(job_id, outcome.epoch, 0, new.parameters, False))

    async def log(self, job_id: str = "job") -> list[Event]:
        return await self.store.read(job_id, 0, upto=10**9, limit=10**6, max_bytes=10**9)

    async def ended(self, job_id: str = "job") -> list[Event]:
        """The whole log once the job has ended; it must be well-formed."""

        async def has_ended() -> bool:
            run = await self.store.run(job_id)
            return run is not None and run.ended

        await until(has_ended)
        events = await self.log(job_id)
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert events[0].data == '{"status":"started"}'
        assert [event.type for event in events].count("done") == 1
        assert [event.type for event in events[-2:]] == ["job_status", "done"]
        return events


@dataclass(frozen=True)
class Start:
    resume_text: str
    job_text: str | None
    pipeline: object


def parameters(**script: object) -> str:
    defaults: dict[str, object] = {"interval_ms": 0}
    return Pipelines().parameters(Start("x", None, {**defaults, **script}))


def new_run(job_id: str, stored: str, *, ready: bool = True, owner: str = "me") -> NewRun:
    return NewRun(job_id, "client", stored, ready, 30, None, "print", owner, LEASE_S)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 - the condition is another part's state
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(
    store: Store, owner: str = "me", *, clock: Clock | None = None, lease_s: float = LEASE_S,
    keep_s: float = 3600.0,
) -> AsyncIterator[Server]:  # fmt: skip
    """A server on an open store, closed afterwards; the store stays open."""
    fanned_out: list[Event] = []

    def encode(event: Event) -> bytes:
        fanned_out.append(event)
        return event.envelope().encode()

    hub = Hub(store, encode, LocalBroadcaster(), 100, 1 << 20, 1.0)
    hooks, pipelines = CountingHooks(), Pipelines()
    runner = Runner(store, hub, clock or Clock(), pipelines, owner, lease_s, hooks, keep_s=keep_s)
    await hub.open()
    await runner.open()
    try:
        yield Server(store, hub, runner, pipelines, hooks, fanned_out)
    finally:
        await runner.drain()
        await hub.close()


def _postgres_store(request: pytest.FixtureRequest) -> Store:
    return PostgresStore(PostgresOptions(request.getfixturevalue("postgres_dsn")))


STORES: dict[str, Callable[[pytest.FixtureRequest, Path], Store]] = {
    "memory": lambda _request, _folder: MemoryStore(Clock(), history_limit=100_000),
    "sqlite": lambda _request, folder: SqliteStore(folder / "runner.db", Clock()),
    "postgres": lambda request, _folder: _postgres_store(request),
}


@pytest.fixture(params=STORES)
def closed_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](request, tmp_path)


@pytest.fixture
async def store(closed_store: Store) -> AsyncIterator[Store]:
    store = closed_store
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def flaky() -> AsyncIterator[FlakyStore]:
    store = FlakyStore()
    await store.open()
    yield store
    await store.close()


def expected(server: Server, stored: str) -> list[tuple[str, str]]:
    """A script's log without times."""
    return [
        (draft.type, draft.data)
        for step in server.pipelines.steps(stored, 0)
        for draft in (seal(emission, STAMP) for emission in step.emissions)
    ]


async def test_a_job_runs_to_its_end(store: Store) -> None:
    """The log is the script's, every event is fanned out once, and nothing is left running."""
    async with serving(store) as server:
        await server.start(events=300, outcome="failed")
        events = await server.ended()
        script = parameters(events=300, outcome="failed")
        assert [(event.type, event.data) for event in events] == expected(server, script)

        async def stopped() -> bool:
            return server.runner.running == 0

        await until(stopped)
        assert server.fanned_out == events
        hooks = server.hooks
        assert (hooks.started, hooks.ended, hooks.events, hooks.failed) == (1, 1, 300, 0)


async def test_many_jobs_run_at_once_and_the_loop_keeps_turning(store: Store) -> None:
    """Jobs at full speed neither mix nor starve other tasks."""
    async with serving(store) as server:
        for n in range(10):
            await server.start(f"job{n}", events=500, payload_bytes=n)
        turns = 0
        tasks = [asyncio.ensure_future(server.ended(f"job{n}")) for n in range(10)]
        while not all(task.done() for task in tasks):
            turns += 1
            await asyncio.sleep(0)
        for task in tasks:
            assert len(await task) == 500
        assert turns >= 500 // APPEND_EVENTS_MAX


async def test_nothing_is_fanned_out_before_it_is_stored(flaky: FlakyStore) -> None:
    """While the store is away the pipeline waits, and readers see nothing."""
    flaky.faults = ["before"] * 6
    async with serving(flaky, clock=QuickClock()) as server:
        await server.start(events=30)

        async def tried() -> bool:
            assert not (server.fanned_out and not await server.log())
            return not flaky.faults

        await until(tried)
        events = await server.ended()
        assert len(events) == 30
        assert server.hooks.failed == 6


async def test_an_append_whose_answer_was_lost_is_not_repeated(flaky: FlakyStore) -> None:
    """After an unknown outcome the log decides: what came through is fanned out, once."""
    flaky.faults = ["after", "before", "after", "after"]
    async with serving(flaky, clock=QuickClock()) as server:
        await server.start(events=300)
        events = await server.ended()
        assert len(events) == 300
        assert server.fanned_out == events


async def test_an_append_that_comes_through_late_is_not_repeated(flaky: FlakyStore) -> None:
    """What a database still works on after its answer was given up is found, not written again."""
    flaky.faults = ["late", "late"]
    async with serving(flaky, clock=QuickClock()) as server:
        await server.start(events=300)
        events = await server.ended()
        assert len(events) == 300
        assert server.fanned_out == events


async def test_a_lost_answer_after_a_cancel_ends_quietly(flaky: FlakyStore) -> None:
    """Somebody else's events in the place of one's own mean: stop."""
    async with serving(flaky, clock=QuickClock()) as server:
        flaky.faults = ["before"] * 1000
        await server.start(events=30)

        async def tried() -> bool:
            return server.hooks.failed > 2

        await until(tried)
        run = await server.runner.cancel("job")
        assert run is not None
        assert len(await server.ended()) == 3


async def test_a_crash_ends_the_job_as_failed(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Events before the crash stay; then error, status and done, without any internals."""
    async with serving(store) as server:
        await server.start(events=200, crash_at=100, payload="TOP SECRET")
        events = await server.ended()
    assert len(events) == 103
    error = json.loads(events[100].data)
    assert error == {
        "code": "pipeline_error", "message": "The pipeline failed.", "retryable": False
    }  # fmt: skip
    assert json.loads(events[-1].data) == {"status": "failed"}
    assert "ScriptedCrash" in caplog.text
    assert "TOP SECRET" not in caplog.text


async def test_a_pipeline_that_cannot_even_begin_ends_well_formed(store: Store) -> None:
    """Parameters that nobody understands give started, error, failed, done."""
    async with serving(store) as server:
        await store.create_run(new_run("job", '{"kind":"unknown"}'), 0)
        server.runner.launch(Claim("job", 1, 0, '{"kind":"unknown"}', False))
        events = await server.ended()
    assert [event.type for event in events] == ["job_status", "error", "job_status", "done"]


async def test_a_dead_owners_job_goes_on_after_its_last_event(store: Store) -> None:
    """When the lease ends somebody else continues: ids contiguous, nothing twice."""
    stored = parameters(events=40)
    async with serving(store, "survivor") as server:
        run = NewRun("job", "c", stored, True, 30, None, "p", "dead", lease_s=0.1)
        await store.create_run(run, 0)
        steps = server.pipelines.steps(stored, 0)
        drafts = [seal(emission, STAMP) for _ in range(17) for emission in next(steps).emissions]
        await store.append("job", 1, drafts, "running")
        events = await server.ended()
        assert [(event.type, event.data) for event in events] == expected(server, stored)
        assert server.hooks.taken_over == 1


async def test_a_lost_lease_stops_the_pipeline(store: Store) -> None:
    """Whoever learns that the lease is somebody else's stops, and writes nothing more."""
    async with serving(store, lease_s=0.3) as server:
        await server.start(events=1000, interval_ms=50)
        await store.release("me")
        (claim,) = await store.claim_waiting("thief", 60, 10)
        assert claim.job_id == "job"
        head = len(await server.log())

        async def stopped() -> bool:
            return server.runner.running == 0

        await until(stopped)
        assert len(await server.log()) == head


async def test_leases_are_renewed_while_the_job_runs(store: Store) -> None:
    """A job that takes several leases' time keeps its owner and its epoch."""
    async with serving(store, lease_s=0.3) as server:
        stored = parameters(events=10, interval_ms=120)
        await store.create_run(NewRun("job", "c", stored, True, 30, None, "p", "me", 0.3), 0)
        server.runner.launch(Claim("job", 1, 0, stored, False))
        assert len(await server.ended()) == 10
        assert (server.hooks.started, server.hooks.taken_over) == (1, 0)


async def test_a_start_that_was_broken_off_is_taken_up(store: Store) -> None:
    """A job with a row and no pipeline runs when its lease is over: none lies for ever."""
    async with serving(store, lease_s=0.3) as server:
        await store.create_run(
            NewRun("job", "c", parameters(), True, 30, None, "p", "me", lease_s=0.3), 0
        )
        assert len(await server.ended()) == 20


async def test_a_waiting_job_starts_with_its_first_subscriber(store: Store) -> None:
    """It stays queued until then, and starts once, however many arrive."""
    async with serving(store) as server:
        await server.start(ready=False)
        await asyncio.gather(*(server.runner.subscriber_arrived("job") for _ in range(50)))
        assert len(await server.ended()) == 20
        assert server.hooks.started == 1


async def test_cancel_ends_a_running_job_for_all_readers(store: Store) -> None:
    """The pipeline stops at once, the log ends as canceled, and a second cancel changes nothing."""
    async with serving(store) as server:
        await server.start(events=1000, interval_ms=1000)

        async def begun() -> bool:
            return len(await server.log()) > 0

        await until(begun)
        log: JobLog | None = await server.hub.log("job")
        assert log is not None
        run = await server.runner.cancel("job")
        assert run is not None
        assert (run.status, log.status, log.head) == ("canceled", "canceled", run.head)
        events = await server.ended()
        assert json.loads(events[-1].data) == {"status": "canceled"}
        assert await server.runner.cancel("job") == run
        assert await server.runner.cancel("nobody") is None

        async def stopped() -> bool:
            return server.runner.running == 0

        await until(stopped)


async def test_cancel_before_the_first_event(store: Store) -> None:
    """A job that nobody has started yet gets started, canceled, done."""
    async with serving(store) as server:
        await server.start(ready=False)
        await server.runner.cancel("job")
        assert len(await server.ended()) == 3


async def test_a_drained_server_leaves_its_jobs_to_others(tmp_path: Path) -> None:
    """On a durable store the leases are free at once and the job goes on elsewhere."""
    store = SqliteStore(tmp_path / "drain.db", Clock())
    await store.open()
    try:
        async with serving(store, "first") as first:
            new = new_run("job", parameters(events=30, interval_ms=20), owner="first")
            await store.create_run(new, 0)
            first.runner.launch(Claim("job", 1, 0, new.parameters, False))

            async def begun() -> bool:
                return len(await first.log()) > 3

            await until(begun)
            await first.runner.drain()
            await first.runner.drain()
            assert first.runner.running == 0
            first.runner.launch(Claim("job", 1, 0, new.parameters, False))
            assert first.runner.running == 0
        async with serving(store, "second") as second:
            events = await second.ended()
            assert [(e.type, e.data) for e in events] == expected(second, new.parameters)
            assert second.hooks.taken_over == 1
    finally:
        await store.close()


async def test_a_drained_memory_server_ends_its_jobs_as_interrupted() -> None:
    """What cannot go on anywhere ends with error, failed, done, and readers are told."""
    store = MemoryStore(Clock())
    await store.open()
    async with serving(store) as server:
        await server.start(events=100, interval_ms=1000)

        async def begun() -> bool:
            return len(await server.log()) > 0

        await until(begun)
        log = await server.hub.log("job")
        assert log is not None
        await server.runner.drain()
        assert log.ended
        events = await server.ended()
        assert json.loads(events[-3].data)["code"] == "interrupted"
        assert server.fanned_out == events


async def test_a_drained_memory_server_ends_what_waits_for_a_subscriber() -> None:
    """A job that has not begun cannot begin elsewhere either: it ends as interrupted."""
    store = MemoryStore(Clock())
    await store.open()
    async with serving(store) as server:
        await server.start(ready=False)
        await server.runner.drain()
        events = await server.ended()
        assert [event.type for event in events] == ["job_status", "error", "job_status", "done"]
        assert json.loads(events[1].data)["code"] == "interrupted"


async def test_old_jobs_are_pruned(store: Store) -> None:
    """Finished jobs leave after the time they are kept."""
    async with serving(store, keep_s=0.05) as server:
        await server.start()

        async def gone() -> bool:
            return await store.run("job") is None

        await until(gone)


async def test_a_store_that_is_away_stops_no_loop(
    flaky: FlakyStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Sweeping goes on after failures, whatever they were."""
    monkeypatch.setattr("reference_server.runner.SWEEP_INTERVAL_S", 0.01)
    failures: list[Exception] = [StoreUnavailable("away"), RuntimeError("TOP SECRET")]
    claim_waiting = flaky.claim_waiting

    async def failing(owner: str, lease_s: float, limit: int) -> list[Claim]:
        if failures:
            raise failures.pop(0)
        return await claim_waiting(owner, lease_s, limit)

    monkeypatch.setattr(flaky, "claim_waiting", failing)
    with caplog.at_level(logging.WARNING):
        async with serving(flaky) as server:
            await server.start(ready=False)
            await server.runner.subscriber_arrived("job")
            assert len(await server.ended()) == 20
    assert "RuntimeError" in caplog.text
    assert "TOP SECRET" not in caplog.text
