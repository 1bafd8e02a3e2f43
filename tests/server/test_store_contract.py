"""The contract that every store keeps. A new backend adds one class to `BACKENDS`.

What only some stores can do (survive a restart) runs for those that say they are `durable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from new_runs import new_run

from reference_server.clock import Clock
from reference_server.events import CANCELED, COMPLETED, RUNNING, STARTED, Draft, Event
from reference_server.store import (
    Created,
    Fenced,
    HeadMoved,
    KeyReused,
    MemoryStore,
    QuotaExceeded,
    Repeated,
    SqliteStore,
    Store,
    StoreUnavailable,
)
from reference_server.store.postgres import PostgresStore
from reference_server.store.postgres_schema import PostgresOptions

STAMP = "2026-01-31T12:00:00.123456Z"
EVERYTHING = {"upto": 2**62, "limit": 10_000, "max_bytes": 2**40}


class SetClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.mirror: Path | None = None
        self.time = 1_800_000_000.0

    @property
    def time(self) -> float:
        return self._time

    @time.setter
    def time(self, time: float) -> None:
        self._time = time
        if self.mirror is not None:
            self.mirror.write_text(f"{time}\n")

    def now(self) -> float:
        return self.time


class SetPostgresStore(PostgresStore):
    """Takes its time from a file, as the database's own clock cannot be moved."""

    def __init__(self, dsn: str, clock_file: Path, defining: asyncio.Lock) -> None:
        super().__init__(PostgresOptions(dsn))
        self._clock_file = clock_file
        self._defining = defining

    async def open(self) -> None:
        await super().open()
        async with self._defining:  # PostgreSQL refuses to replace a function twice at once
            await self._fetch(
                "CREATE OR REPLACE FUNCTION run_clock() RETURNS float8 LANGUAGE sql VOLATILE AS"
                f" $$ SELECT pg_read_file('{self._clock_file}')::float8 $$"
            )


Factory = Callable[[], Store]


def postgres_stores(request: pytest.FixtureRequest, clock: SetClock, _folder: Path) -> Factory:
    server = request.getfixturevalue("postgres")
    dsn = request.getfixturevalue("postgres_dsn")
    clock.mirror = server.folder / "clock"
    clock.time = clock.time
    defining = asyncio.Lock()
    return lambda: SetPostgresStore(dsn, clock.mirror, defining)


BACKENDS: dict[str, Callable[[pytest.FixtureRequest, SetClock, Path], Factory]] = {
    "memory": lambda _request, clock, _folder: lambda: MemoryStore(clock),
    "sqlite": lambda _request, clock, folder: lambda: SqliteStore(folder / "contract.db", clock),
    "postgres": postgres_stores,
}

DURABLE = ["sqlite", "postgres"]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(params=BACKENDS)
def factory(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Factory:
    return BACKENDS[request.param](request, clock, tmp_path)


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(factory: Factory) -> AsyncIterator[Store]:
    async with opened(factory()) as store:
        yield store


def drafts(count: int, data: str = "{}") -> list[Draft]:
    return [Draft("agent_chunk", STAMP, data) for _ in range(count)]


START = Draft("job_status", STAMP, '{"status":"started"}')
END = [
    Draft("job_status", STAMP, '{"status":"canceled"}'),
    Draft("done", STAMP, '{"status":"canceled"}'),
]


async def ids(store: Store, job_id: str = "job") -> list[int]:
    return [event.id for event in await store.read(job_id, 0, **EVERYTHING)]


async def head_of(store: Store, job_id: str = "job") -> int:
    run = await store.run(job_id)
    assert run is not None
    return run.head


async def test_a_new_run_is_queued_and_empty(store: Store) -> None:
    """A job has a row before its first event: queued, head 0, earliest 0."""
    assert await store.create_run(new_run(), quota=0) == Created("job", 1, None)
    run = await store.run("job")
    assert run is not None
    assert (run.status, run.head, run.earliest, run.ended) == ("queued", 0, 0, False)
    assert run.created_at == run.updated_at == "2027-01-15T08:00:00.000000Z"
    assert await store.run("other") is None
    assert await store.read("job", 0, **EVERYTHING) == []


async def test_ids_are_contiguous_over_batches(store: Store) -> None:
    """Ids go on from the head, whatever the size of the batches."""
    await store.create_run(new_run(), quota=0)
    for size in (1, 3, 64, 2):
        events = await store.append("job", 1, drafts(size), None)
        assert [event.id for event in events][-1] == await head_of(store)
    assert await ids(store) == list(range(1, 71))


async def test_status_and_events_change_together(store: Store) -> None:
    """The status that comes with an append is the job's from then on; None leaves it."""
    await store.create_run(new_run(), quota=0)
    await store.append("job", 1, [START], STARTED)
    await store.append("job", 1, drafts(1), None)
    run = await store.run("job")
    assert run is not None
    assert (run.status, run.head, run.earliest, run.updated_at) == (STARTED, 2, 1, STAMP)


async def test_concurrent_appends_are_contiguous_in_each_job(store: Store) -> None:
    """50 tasks that append to five jobs at once neither lose, repeat nor mix up an event."""
    for job in range(5):
        await store.create_run(new_run(f"job{job}"), quota=0)

    async def append(task: int) -> list[Event]:
        return await store.append(f"job{task % 5}", 1, drafts(3, f'{{"task":{task}}}'), None)

    stored = await asyncio.gather(*(append(task) for task in range(50)))
    for job in range(5):
        log = await store.read(f"job{job}", 0, **EVERYTHING)
        assert [event.id for event in log] == list(range(1, 31))
        for task in range(job, 50, 5):
            first = stored[task][0].id
            assert log[first - 1 : first + 2] == stored[task]


async def test_an_old_epoch_is_fenced(store: Store, clock: SetClock) -> None:
    """Whoever has lost the lease cannot write, even in the same transaction as the new owner."""
    await store.create_run(new_run(lease_s=5), quota=0)
    clock.time += 6
    (claim,) = await store.claim_waiting("other", 15, 10)
    results = await asyncio.gather(
        store.append("job", 1, drafts(1), None),
        store.append("job", claim.epoch, drafts(1), None),
        return_exceptions=True,
    )
    assert isinstance(results[0], Fenced)
    assert isinstance(results[1], list)
    assert await ids(store) == [1]


async def test_an_unknown_job_is_fenced(store: Store) -> None:
    """An append to a job that does not exist, or no longer, writes nothing."""
    with pytest.raises(Fenced):
        await store.append("nobody", 1, drafts(1), None)


async def test_an_ended_job_takes_no_more_events(store: Store) -> None:
    """After the final status even the owner is fenced."""
    await store.create_run(new_run(), quota=0)
    await store.append("job", 1, drafts(2), COMPLETED)
    with pytest.raises(Fenced):
        await store.append("job", 1, drafts(1), None)
    assert await ids(store) == [1, 2]


async def test_an_append_to_another_head_is_refused(store: Store) -> None:
    """Who names the head appends there or not at all: a lost append that came through is found."""
    await store.create_run(new_run(), quota=0)
    await store.append("job", 1, drafts(2), None, 0)
    with pytest.raises(HeadMoved):
        await store.append("job", 1, drafts(2), COMPLETED, 0)
    (event,) = await store.append("job", 1, drafts(1), None, 2)
    assert event.id == 3
    with pytest.raises(Fenced):
        await store.append("job", 2, drafts(1), None, 0)


async def test_ids_that_no_column_can_hold_are_unknown(store: Store) -> None:
    """An id comes from a URL: whatever it is, there is no such job."""
    for job_id in ("a\x00b", "\x00", "", "é" * 5000):
        assert await store.run(job_id) is None
        assert await store.runs([job_id]) == []
        assert await store.cancel(job_id, END, START) is None


async def test_cancel_of_an_empty_log_starts_it_first(store: Store) -> None:
    """A job that is cancelled before it began still has `started` as its first event."""
    await store.create_run(new_run(ready=False), quota=0)
    run = await store.cancel("job", END, START)
    assert run is not None
    assert (run.status, run.head) == (CANCELED, 3)
    assert [event.data for event in await store.read("job", 0, **EVERYTHING)] == [
        START.data,
        *(draft.data for draft in END),
    ]
    assert await store.claim_waiting("me", 15, 10) == []


async def test_cancel_of_a_running_job_fences_its_owner(store: Store) -> None:
    """The end is appended once, and the owner's next append is refused."""
    await store.create_run(new_run(), quota=0)
    await store.append("job", 1, [START], STARTED)
    run = await store.cancel("job", END, START)
    assert run is not None
    assert (run.status, run.head) == (CANCELED, 3)
    with pytest.raises(Fenced):
        await store.append("job", 1, drafts(1), RUNNING)


async def test_cancel_of_an_ended_or_unknown_job_changes_nothing(store: Store) -> None:
    """Cancelling again, or after the end, answers the row as it is."""
    await store.create_run(new_run(), quota=0)
    await store.append("job", 1, drafts(2), COMPLETED)
    before = await store.run("job")
    assert await store.cancel("job", END, START) == before
    assert await store.cancel("other", END, START) is None


async def test_the_quota_admits_exactly_its_number(store: Store) -> None:
    """Of 25 simultaneous starts with quota 5 exactly 5 are accepted and the rest leave no trace."""
    outcomes = await asyncio.gather(
        *(store.create_run(new_run(f"job{n}"), quota=5) for n in range(25))
    )
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Created)]
    assert sorted(outcome.remaining or 0 for outcome in accepted) == [0, 1, 2, 3, 4]
    assert outcomes.count(QuotaExceeded()) == 20
    assert len(await store.runs([f"job{n}" for n in range(25)])) == 5
    other = await store.create_run(new_run("x", client_id="other"), quota=5)
    assert other == Created("x", 1, 4)


async def test_the_quota_survives_pruning(store: Store, clock: SetClock) -> None:
    """Deleting an old job gives no start back."""
    await store.create_run(new_run(), quota=1)
    await store.append("job", 1, drafts(1), COMPLETED)
    clock.time += 100
    assert await store.prune(50) == 1
    assert await store.create_run(new_run("next"), quota=1) == QuotaExceeded()


async def test_a_raced_key_creates_one_run(store: Store) -> None:
    """50 requests with one key and body: one run, one charge, the same numbers for all."""
    outcomes = await asyncio.gather(
        *(store.create_run(new_run(f"job{n}", idempotency_key="k"), quota=5) for n in range(50))
    )
    created = [outcome for outcome in outcomes if isinstance(outcome, Created)]
    assert len(created) == 1
    assert outcomes.count(Repeated(created[0].job_id, 4)) == 49
    assert await store.create_run(new_run("y"), quota=5) == Created("y", 1, 3)


async def test_a_key_with_another_body_is_refused(store: Store) -> None:
    """The key belongs to its client and its body; another client may use the same."""
    await store.create_run(new_run(idempotency_key="k"), quota=1)
    again = new_run("b", idempotency_key="k", fingerprint="other")
    assert await store.create_run(again, quota=1) == KeyReused()
    other = new_run("c", idempotency_key="k", client_id="other")
    assert await store.create_run(other, quota=1) == Created("c", 1, 0)


async def test_a_repeated_key_is_answered_with_the_quota_used_up(store: Store) -> None:
    """The same request again costs nothing, so an empty quota does not refuse it."""
    await store.create_run(new_run(idempotency_key="k"), quota=1)
    repeated = await store.create_run(new_run("b", idempotency_key="k"), quota=1)
    assert repeated == Repeated("job", 0)


async def test_a_key_lives_as_long_as_its_job(store: Store, clock: SetClock) -> None:
    """Once the job is pruned its key is free again."""
    await store.create_run(new_run(idempotency_key="k"), quota=0)
    await store.append("job", 1, drafts(1), COMPLETED)
    clock.time += 100
    await store.prune(50)
    again = await store.create_run(new_run("b", idempotency_key="k"), quota=0)
    assert again == Created("b", 1, None)


async def test_a_refused_start_does_not_bind_its_key(store: Store) -> None:
    """What was refused is not remembered: the key may come again with another body."""
    await store.create_run(new_run(), quota=1)
    refused = await store.create_run(new_run("b", idempotency_key="k"), quota=1)
    assert refused == QuotaExceeded()
    later = new_run("c", idempotency_key="k", fingerprint="other")
    assert await store.create_run(later, quota=2) == Created("c", 1, 0)


async def test_a_waiting_job_is_claimed_when_its_time_has_come(
    store: Store, clock: SetClock
) -> None:
    """Without a subscriber the job is due after `wait_s`, and is claimed once."""
    await store.create_run(new_run(ready=False, wait_s=30), quota=0)
    assert await store.claim_waiting("me", 15, 10) == []
    clock.time += 30
    (claim,) = await store.claim_waiting("me", 15, 10)
    assert (claim.epoch, claim.head, claim.taken_over) == (1, 0, False)
    assert claim.parameters == '{"kind":"test"}'
    assert await store.claim_waiting("other", 15, 10) == []


async def test_make_ready_makes_a_waiting_job_due(store: Store) -> None:
    """A subscriber's arrival lets the job be claimed at once."""
    await store.create_run(new_run(ready=False), quota=0)
    await store.make_ready("job")
    assert [claim.job_id for claim in await store.claim_waiting("me", 15, 10)] == ["job"]


async def test_a_lease_that_ran_out_is_taken_over_after_the_head(
    store: Store, clock: SetClock
) -> None:
    """The new owner learns the head, and gets a higher epoch."""
    await store.create_run(new_run(lease_s=15), quota=0)
    await store.append("job", 1, drafts(7), STARTED)
    assert await store.claim_waiting("other", 15, 10) == []
    clock.time += 15
    (claim,) = await store.claim_waiting("other", 15, 10)
    assert (claim.epoch, claim.head, claim.taken_over) == (2, 7, True)


async def test_only_one_of_many_claims_a_job(store: Store) -> None:
    """Instances that sweep at the same time never get the same job."""
    for n in range(6):
        await store.create_run(new_run(f"job{n}", ready=False, wait_s=0), quota=0)
    claims = await asyncio.gather(*(store.claim_waiting(f"i{n}", 15, 2) for n in range(5)))
    jobs = [claim.job_id for claimed in claims for claim in claimed]
    assert sorted(jobs) == [f"job{n}" for n in range(6)]


async def test_renewing_keeps_a_lease_and_never_revives_one(store: Store, clock: SetClock) -> None:
    """A lease is extended while it lasts and only for its owner and the named jobs."""
    for name in ("a", "b"):
        await store.create_run(new_run(name, lease_s=10), quota=0)
    clock.time += 9
    assert await store.renew("me", 10, ["a", "unknown"]) == {"a": 1}
    assert await store.renew("other", 10, ["a"]) == {}
    clock.time += 9
    assert await store.renew("me", 10, ["a", "b"]) == {"a": 1}
    assert [claim.job_id for claim in await store.claim_waiting("x", 15, 10)] == ["b"]


async def test_an_ended_job_has_no_lease(store: Store, clock: SetClock) -> None:
    """A finished job is neither renewed nor claimed."""
    await store.create_run(new_run(), quota=0)
    await store.append("job", 1, drafts(1), COMPLETED)
    assert await store.renew("me", 15, ["job"]) == {}
    clock.time += 1000
    assert await store.claim_waiting("x", 15, 10) == []


async def test_released_leases_are_free_at_once(store: Store) -> None:
    """Giving up one's leases leaves those of others alone."""
    await store.create_run(new_run("mine"), quota=0)
    await store.create_run(new_run("theirs", owner="they"), quota=0)
    await store.release("me")
    (claim,) = await store.claim_waiting("x", 15, 10)
    assert (claim.job_id, claim.taken_over) == ("mine", True)


async def test_reads_are_bounded(store: Store) -> None:
    """`after` is exclusive, `upto` inclusive; limit and octets end a page after at least one."""
    await store.create_run(new_run(), quota=0)
    await store.append("job", 1, drafts(10, '"' + "é" * 49 + '"'), None)  # 100 octets each

    async def page(after: int, upto: int, limit: int, max_bytes: int) -> list[int]:
        events = await store.read("job", after, upto=upto, limit=limit, max_bytes=max_bytes)
        return [event.id for event in events]

    assert await page(3, 7, 100, 10**6) == [4, 5, 6, 7]
    assert await page(0, 10, 3, 10**6) == [1, 2, 3]
    assert await page(0, 10, 10, 399) == [1, 2, 3]
    assert await page(0, 10, 10, 400) == [1, 2, 3, 4]
    assert await page(5, 10, 10, 1) == [6]
    assert await page(10, 99, 10, 10**6) == []
    assert await page(2**62, 2**63 - 1, 10, 10**6) == []


async def test_runs_answers_the_known_ones(store: Store) -> None:
    """Many rows in one query; unknown ids are left out."""
    await store.create_run(new_run("a"), quota=0)
    await store.create_run(new_run("b"), quota=0)
    runs = await store.runs(["a", "nobody", "b"])
    assert sorted(run.job_id for run in runs) == ["a", "b"]


async def test_pruning_deletes_old_finished_jobs_whole(store: Store, clock: SetClock) -> None:
    """Only jobs that ended long enough ago go, and nothing of them stays."""
    for name in ("old", "young", "running"):
        await store.create_run(new_run(name), quota=0)
        await store.append(name, 1, drafts(3), COMPLETED if name == "old" else None)
    clock.time += 100
    await store.append("young", 1, drafts(1), COMPLETED)
    assert await store.prune(50) == 1
    assert await store.run("old") is None
    assert await ids(store, "old") == []
    assert await head_of(store, "young") == 4
    assert await head_of(store, "running") == 3


@pytest.mark.parametrize("text", ['{"t":"\\u0000"}', '"a\\u0000b"', '"🙂𝄞 é 日本"', "{}"])
async def test_data_comes_back_as_it_was(store: Store, text: str) -> None:
    """JSON with an escaped NUL, astral characters and empty objects is stored verbatim."""
    await store.create_run(new_run(), quota=0)
    (stored,) = await store.append("job", 1, [Draft("agent_chunk", STAMP, text)], None)
    assert await store.read("job", 0, **EVERYTHING) == [stored]
    assert stored == Event(1, "agent_chunk", STAMP, text)


async def test_cancelled_callers_leave_the_store_usable(store: Store) -> None:
    """Callers that go away in the middle cost at most their own append, whole."""
    await store.create_run(new_run(), quota=0)
    tasks = [asyncio.ensure_future(store.append("job", 1, drafts(3), None)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    head = await head_of(store)
    assert head % 3 == 0
    assert head >= 30
    assert await ids(store) == list(range(1, head + 1))


async def test_ping_tells_whether_writing_works(factory: Factory) -> None:
    """A store that is open answers; one that is not open, or closed, is unavailable."""
    store = factory()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    async with opened(store):
        await store.ping()
    for verb in (store.ping(), store.run("job"), store.append("job", 1, drafts(1), None)):
        with pytest.raises(StoreUnavailable):
            await verb


@pytest.mark.parametrize("factory", DURABLE, indirect=True)
async def test_a_durable_store_has_everything_after_reopening(
    factory: Factory, clock: SetClock
) -> None:
    """Log, status, epoch, quota and keys survive the process."""
    async with opened(factory()) as store:
        await store.create_run(new_run(idempotency_key="k"), quota=1)
        stored = await store.append("job", 1, drafts(5), STARTED)
        before = await store.run("job")
    async with opened(factory()) as store:
        assert await store.run("job") == before
        assert await store.read("job", 0, **EVERYTHING) == stored
        assert await store.create_run(new_run("b"), quota=1) == QuotaExceeded()
        repeated = await store.create_run(new_run("b", idempotency_key="k"), quota=1)
        assert repeated == Repeated("job", 0)
        clock.time += 16
        (claim,) = await store.claim_waiting("next", 15, 10)
        assert (claim.epoch, claim.head) == (2, 5)
        (event,) = await store.append("job", 2, drafts(1), None)
        assert event.id == 6


@pytest.mark.parametrize("factory", DURABLE, indirect=True)
async def test_instances_that_share_a_durable_store_agree(factory: Factory) -> None:
    """Two instances that open a new store together admit the quota once between them."""
    first, second = factory(), factory()
    await asyncio.gather(first.open(), second.open())
    try:
        outcomes = await asyncio.gather(
            *(
                s.create_run(new_run(f"{n}{i}"), quota=5)
                for n in range(13)
                for i, s in enumerate((first, second))
            )
        )
        assert sum(isinstance(outcome, Created) for outcome in outcomes) == 5
    finally:
        await asyncio.gather(first.close(), second.close())
