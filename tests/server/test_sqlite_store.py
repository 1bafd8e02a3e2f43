"""What only the SQLite store has: migrations, and transactions that fail as a whole."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from reference_server.clock import Clock
from reference_server.events import Draft
from reference_server.store import (
    MemoryStore,
    NewRun,
    SchemaTooNew,
    SqliteStore,
    StoreUnavailable,
)

STAMP = "2026-01-31T12:00:00.123456Z"
RUN = NewRun("job", "client", "{}", True, 30.0, None, "print", "me", 15.0)


def draft(data: str = "{}") -> Draft:
    return Draft("agent_chunk", STAMP, data)


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """A schema that this version does not know is left alone, with a clear error."""
    path = tmp_path / "new.db"
    store = SqliteStore(path, Clock())
    await store.open()
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_migrations (version, name) VALUES (999, 'x')")
    connection.close()
    with pytest.raises(SchemaTooNew, match="got version 999"):
        await store.open()


async def test_many_instances_open_a_new_database_together(tmp_path: Path) -> None:
    """The migrations are applied once, however many start at the same moment."""
    stores = [SqliteStore(tmp_path / "shared.db", Clock()) for _ in range(8)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        await stores[0].create_run(RUN, quota=0)
        assert await stores[7].run("job") is not None
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_a_path_that_cannot_be_a_database_is_unavailable(tmp_path: Path) -> None:
    """A file that is no database gives one clear error and leaves nothing open."""
    path = tmp_path / "text.db"
    path.write_text("this is not a database, " * 100)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await SqliteStore(path, Clock()).open()


async def test_a_failed_transaction_is_rolled_back_whole(tmp_path: Path) -> None:
    """An SQL error fails everybody in the batch and leaves nothing behind; then work goes on."""
    path = tmp_path / "broken.db"
    store = SqliteStore(path, Clock())
    await store.open()
    try:
        await store.create_run(RUN, quota=0)
        with sqlite3.connect(path) as connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON run_events WHEN NEW.payload = '\"bad\"'"
                " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
        connection.close()
        results = await asyncio.gather(
            *(store.append("job", 1, [draft(data)], None) for data in ("{}", '"bad"', "{}")),
            return_exceptions=True,
        )
        assert all(isinstance(result, StoreUnavailable) for result in results)
        (event,) = await store.append("job", 1, [draft()], None)
        assert event.id == 1
    finally:
        await store.close()


async def test_a_locked_database_is_unavailable_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the write lock, writes fail and reads go on."""
    monkeypatch.setattr("reference_server.store.sqlite_schema.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "locked.db"
    store = SqliteStore(path, Clock())
    await store.open()
    other = sqlite3.connect(path, isolation_level=None)
    try:
        await store.create_run(RUN, quota=0)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await store.append("job", 1, [draft()], None)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        assert (await store.runs(["job"]))[0].head == 0
        other.execute("ROLLBACK")
        assert len(await store.append("job", 1, [draft()], None)) == 1
    finally:
        other.close()
        await store.close()


async def test_closing_commits_what_was_accepted(tmp_path: Path) -> None:
    """Appends that were queued before `close` are stored."""
    path = tmp_path / "closing.db"
    store = SqliteStore(path, Clock())
    await store.open()
    await store.create_run(RUN, quota=0)
    appends = [asyncio.ensure_future(store.append("job", 1, [draft()], None)) for _ in range(10)]
    await asyncio.sleep(0)
    await store.close()
    assert [len(await append) for append in appends] == [1] * 10


async def test_the_memory_store_prunes_the_oldest_events() -> None:
    """Beyond its history limit `earliest` rises, and reads start there."""
    store = MemoryStore(Clock(), history_limit=5)
    await store.open()
    await store.create_run(RUN, quota=0)
    await store.append("job", 1, [draft()] * 12, None)
    run = await store.run("job")
    assert run is not None
    assert (run.head, run.earliest) == (12, 8)
    page = await store.read("job", 3, upto=12, limit=2, max_bytes=10**6)
    assert [event.id for event in page] == [8, 9]
