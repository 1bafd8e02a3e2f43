"""The SQLite store: one file, durable, the default (protocol §8).

Every verb that writes is a function of a connection that `GroupWriter` runs inside its
transaction; reads go to two connections of their own and never wait for the writer. Lease times
are the host's, which is the only clock that all users of one file share.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiosqlite

from ..clock import Clock
from ..events import Draft, Event
from .base import PRUNED_AT_ONCE, Claim, NewRun, Run, StartOutcome, StoreUnavailable
from .sqlite_schema import Synchronous, connect_reader, connect_writer, migrate
from .sqlite_verbs import (
    cancel_run,
    claim_runs,
    create_run,
    delete_run,
    probe,
    release_leases,
    renew_leases,
)
from .sqlite_writer import GroupWriter

READERS: Final = 2

_ROW: Final = "SELECT job_id, status, created_at, updated_at, head FROM run_metadata"

_PAGE: Final = """
WITH page AS (
    SELECT seq, size FROM run_events
    WHERE job_id = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4
)
SELECT seq, type, ts, payload FROM run_events
WHERE job_id = ?1 AND seq > ?2 AND seq <= ?3
ORDER BY seq
LIMIT CASE
    WHEN (SELECT SUM(size) FROM page) <= ?5 THEN ?4
    ELSE (
        SELECT COUNT(*) FROM (
            SELECT SUM(size) OVER (ORDER BY seq) AS total, ROW_NUMBER() OVER (ORDER BY seq) AS place
            FROM page
        ) WHERE total <= ?5 OR place = 1
    )
END
"""
"""The running total costs more than the rows do, and nearly every page fits without it."""


class SqliteStore:
    """Create, `open`, use, and `close` in a `finally`: an open connection's thread keeps the
    process from ending. Every verb raises StoreUnavailable where the database cannot be used."""

    durable = True

    def __init__(self, path: str | Path, clock: Clock, synchronous: Synchronous = "full") -> None:
        """`synchronous` "full" survives a power cut, "normal" may then lose the last commits; a
        killed process loses nothing with either."""
        self._path = Path(path)
        self._clock = clock
        self._synchronous = synchronous
        self._writer: GroupWriter | None = None
        self._connections: list[aiosqlite.Connection] = []
        self._readers: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()

    async def open(self) -> None:
        """Raises SchemaTooNew as well."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            writing = await connect_writer(self._path, self._synchronous)
            self._connections.append(writing)
            await migrate(writing)
            for _ in range(READERS):
                reading = await connect_reader(self._path)
                self._connections.append(reading)
                self._readers.put_nowait(reading)
            self._writer = GroupWriter(writing, self._clock.now)
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise StoreUnavailable(f"the database cannot be opened: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        try:
            if self._writer is not None:
                await self._writer.close()
        finally:
            self._writer = None
            self._readers = asyncio.LifoQueue()
            while self._connections:
                await self._connections.pop().close()

    async def ping(self) -> None:
        await self._open_writer().perform(lambda db: probe(db, self._clock.now()))

    async def create_run(self, new: NewRun, quota: int) -> StartOutcome:
        outcome: StartOutcome = await self._open_writer().perform(
            lambda db: create_run(db, new, quota, self._clock.now())
        )
        return outcome

    async def append(
        self,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> list[Event]:
        return await self._open_writer().append(job_id, epoch, drafts, status, head)

    async def cancel(self, job_id: str, drafts: Sequence[Draft], started: Draft) -> Run | None:
        now = self._clock.now
        await self._open_writer().perform(lambda db: cancel_run(db, job_id, drafts, started, now()))
        return await self.run(job_id)

    async def run(self, job_id: str) -> Run | None:
        rows = await self._fetch(f"{_ROW} WHERE job_id = ?", (job_id,))
        return next((_run(row) for row in rows), None)

    async def runs(self, job_ids: Sequence[str]) -> list[Run]:
        sql = f"{_ROW} WHERE job_id IN (SELECT value FROM json_each(?))"
        return [_run(row) for row in await self._fetch(sql, (json.dumps(list(job_ids)),))]

    async def read(
        self, job_id: str, after: int, *, upto: int, limit: int, max_bytes: int
    ) -> list[Event]:
        rows = await self._fetch(_PAGE, (job_id, after, upto, limit, max_bytes))
        return list(map(Event._make, rows))

    async def claim_waiting(self, owner: str, lease_s: float, limit: int) -> list[Claim]:
        now = self._clock.now
        claims: list[Claim] = await self._open_writer().perform(
            lambda db: claim_runs(db, owner, lease_s, limit, now())
        )
        return claims

    async def make_ready(self, job_id: str) -> None:
        now = self._clock.now
        await self._open_writer().perform(
            lambda db: db.execute(
                "UPDATE run_metadata SET not_before = min(not_before, ?) WHERE job_id = ?",
                (now(), job_id),
            )
        )

    async def renew(self, owner: str, lease_s: float, job_ids: Sequence[str]) -> dict[str, int]:
        now = self._clock.now
        held: dict[str, int] = await self._open_writer().perform(
            lambda db: renew_leases(db, owner, lease_s, job_ids, now())
        )
        return held

    async def release(self, owner: str) -> None:
        await self._open_writer().perform(lambda db: release_leases(db, owner))

    async def prune(self, keep_s: float) -> int:
        # A transaction for each job, so that appends come through between them.
        old = await self._fetch(
            "SELECT job_id FROM run_metadata WHERE ended_at < ? LIMIT ?",
            (self._clock.now() - keep_s, PRUNED_AT_ONCE),
        )
        writer = self._open_writer()
        for (job_id,) in old:
            await writer.perform(partial(delete_run, job_id=job_id))
        return len(old)

    def _open_writer(self) -> GroupWriter:
        if self._writer is None:
            raise StoreUnavailable("expected an open store")
        return self._writer

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[aiosqlite.Connection]:
        """Borrow a reading connection."""
        self._open_writer()
        readers = self._readers
        connection = await readers.get()
        try:
            yield connection
        except (sqlite3.Error, ValueError) as error:
            raise StoreUnavailable(f"a read failed: {type(error).__name__}") from error
        finally:
            readers.put_nowait(connection)

    async def _fetch(self, sql: str, parameters: Iterable[Any]) -> list[Any]:
        async with self._reader() as connection:
            return list(await connection.execute_fetchall(sql, parameters))


def _run(row: tuple[str, str, str, str, int]) -> Run:
    job_id, status, created_at, updated_at, head = row
    return Run(job_id, status, created_at, updated_at, head, earliest=min(head, 1))
