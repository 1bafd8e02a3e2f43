"""What only the PostgreSQL store has: instances that start together, and a database that goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
from new_runs import new_run

from chaos.services import PostgresServer
from reference_server.events import Draft
from reference_server.store import Created, SchemaTooNew, StoreUnavailable
from reference_server.store.postgres import PostgresStore
from reference_server.store.postgres_schema import PostgresOptions

STAMP = "2026-01-31T12:00:00.123456Z"


def draft(data: str = "{}") -> Draft:
    return Draft("agent_chunk", STAMP, data)


def store_at(dsn: str, statement_timeout_s: float = 5.0) -> PostgresStore:
    return PostgresStore(PostgresOptions(dsn, statement_timeout_s=statement_timeout_s))


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    store = store_at(postgres_dsn, 0.5)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def session(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else at the same database."""
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


async def test_many_instances_open_a_new_database_together(postgres_dsn: str) -> None:
    """The migrations are applied once, however many start at the same moment."""
    stores = [store_at(postgres_dsn) for _ in range(8)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        await stores[0].create_run(new_run(), quota=0)
        assert await stores[7].run("job") is not None
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_five_instances_admit_one_quota(postgres_dsn: str) -> None:
    """Starts that come to all instances at the same moment are admitted exactly five times, and
    one key gives one job."""
    stores = [store_at(postgres_dsn) for _ in range(5)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        outcomes = await asyncio.gather(
            *(s.create_run(new_run(f"{n}-{i}"), 5) for n in range(10) for i, s in enumerate(stores))
        )
        assert sum(isinstance(outcome, Created) for outcome in outcomes) == 5
        keyed = await asyncio.gather(
            *(
                s.create_run(new_run(f"k{n}-{i}", client_id="other", idempotency_key="k"), 5)
                for n in range(10)
                for i, s in enumerate(stores)
            )
        )
        assert sum(isinstance(outcome, Created) for outcome in keyed) == 1
        assert len({outcome.job_id for outcome in keyed}) == 1  # type: ignore[union-attr]
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_a_newer_database_is_refused(
    postgres_dsn: str, store: PostgresStore, session: asyncpg.Connection
) -> None:
    """A schema that this version does not know is left alone, with a clear error."""
    await session.execute("INSERT INTO schema_migrations (version, name) VALUES (999, 'x')")
    with pytest.raises(SchemaTooNew, match="got version 999"):
        await store_at(postgres_dsn).open()


@pytest.mark.parametrize("path", ["postgres", "nothing"])
async def test_a_database_that_cannot_be_opened_is_unavailable(
    postgres: PostgresServer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong address gives one clear error, in time, that does not quote the address."""
    monkeypatch.setattr("reference_server.store.postgres_schema.OPEN_PATIENCE_S", 0.3)
    port = 1 if path == "postgres" else postgres.port
    dsn = f"postgresql://me:HIDDEN@127.0.0.1:{port}/{path}"
    with pytest.raises(StoreUnavailable, match="cannot be opened") as caught:
        await store_at(dsn).open()
    assert "HIDDEN" not in str(caught.value)


async def test_broken_connections_are_replaced(
    store: PostgresStore, session: asyncpg.Connection
) -> None:
    """After the server has cut all connections, at most the verbs of that moment fail."""
    await store.create_run(new_run(), quota=0)
    await asyncio.gather(*(store.run("job") for _ in range(20)))
    await store.append("job", 1, [draft()], None)
    await session.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'streamgauge'"
    )
    for _ in range(20):
        try:
            await asyncio.gather(*(store.run("job") for _ in range(7)))
            (event,) = await store.append("job", 1, [draft()], None, 1)
            break
        except StoreUnavailable:
            await asyncio.sleep(0.05)
    assert event.id == 2


async def test_a_locked_row_is_given_up_in_time(
    store: PostgresStore, session: asyncpg.Connection
) -> None:
    """While a session holds a job's row, appends to it fail within the statement timeout, reads go
    on, and nothing of the failed append comes through afterwards."""
    await store.create_run(new_run(), quota=0)
    transaction = session.transaction()
    await transaction.start()
    await session.execute("SELECT * FROM run_metadata WHERE job_id = 'job' FOR UPDATE")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.append("job", 1, [draft()], None)
    assert time.monotonic() - began < 3
    assert (await store.runs(["job"]))[0].head == 0
    await transaction.rollback()
    assert [event.id for event in await store.append("job", 1, [draft()], None, 0)] == [1]


async def test_a_raw_nul_harms_nobody_else(store: PostgresStore) -> None:
    """Text that no column can hold is refused before it is in a batch with others."""
    await store.create_run(new_run(), quota=0)
    results = await asyncio.gather(
        *(store.append("job", 1, [draft(data)], None) for data in ("{}", '"a\x00b"', "{}")),
        return_exceptions=True,
    )
    assert isinstance(results[1], ValueError)
    assert [event.id for event in results[0] + results[2]] == [1, 2]  # type: ignore[operator]


async def test_appends_renewals_and_claims_do_not_deadlock(postgres_dsn: str) -> None:
    """Statements over many rows lock them in one order, in all instances."""
    stores = [store_at(postgres_dsn) for _ in range(3)]
    jobs = [f"job{n}" for n in range(40)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        for job in jobs:
            await stores[0].create_run(new_run(job), quota=0)

        async def appending(store: PostgresStore) -> None:
            for _ in range(15):
                await asyncio.gather(*(store.append(job, 1, [draft()], None) for job in jobs))

        async def renewing(store: PostgresStore) -> None:
            for _ in range(30):
                assert len(await store.renew("me", 15, jobs[::-1])) == len(jobs)
                assert await store.claim_waiting("other", 15, 10) == []

        await asyncio.gather(*(verb(store) for store in stores for verb in (appending, renewing)))
        assert {run.head for run in await stores[0].runs(jobs)} == {45}
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_closing_stores_what_was_accepted(postgres_dsn: str) -> None:
    """Appends that were queued before `close` are stored."""
    store = store_at(postgres_dsn)
    await store.open()
    await store.create_run(new_run(), quota=0)
    appends = [asyncio.ensure_future(store.append("job", 1, [draft()], None)) for _ in range(10)]
    await asyncio.sleep(0)
    await store.close()
    assert [len(await append) for append in appends] == [1] * 10
