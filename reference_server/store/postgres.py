"""The PostgreSQL store: one database, any number of instances (protocol §8).

Each verb is one statement and one round trip. Lease times are the database's, so instances need
not agree about the time. Whatever goes wrong with the connection is StoreUnavailable; the pools
connect anew by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import asyncpg

from ..events import Draft, Event
from .base import (
    PRUNED_AT_ONCE,
    Claim,
    Created,
    KeyReused,
    NewRun,
    QuotaExceeded,
    Repeated,
    Run,
    StartOutcome,
    StoreUnavailable,
)
from .postgres_schema import (
    PostgresOptions,
    connect_patiently,
    migrate,
    open_pool,
    reason,
    unavailable,
)
from .postgres_writer import AppendWriter, fetch

CLOSE_TIMEOUT_S: Final = 1.0

_ROW: Final = "SELECT job_id, status, created_at, updated_at, head FROM run_metadata"

_PAGE: Final = """
WITH sized AS (
    SELECT seq, sum(size) OVER (ORDER BY seq) AS total, row_number() OVER (ORDER BY seq) AS place
    FROM (
        SELECT seq, size FROM run_events
        WHERE job_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4
    ) AS page
)
SELECT seq, type, ts, payload FROM run_events
WHERE job_id = $1 AND seq > $2
    AND seq <= (SELECT max(seq) FROM sized WHERE total <= $5 OR place = 1)
ORDER BY seq
"""

_CREATE: Final = """
SELECT outcome, job_id, remaining
FROM create_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""

# Rows that an append holds just now are skipped; the next sweep looks again.
_CLAIM: Final = """
WITH due AS MATERIALIZED (
    SELECT job_id FROM run_metadata
    WHERE ended_at IS NULL AND not_before <= (SELECT run_clock())
        AND (owner IS NULL OR lease_expires <= (SELECT run_clock()))
    ORDER BY not_before LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE run_metadata m
SET epoch = epoch + 1, owner = $1, lease_expires = run_clock() + $2::float8
FROM due, run_parameters p
WHERE m.job_id = due.job_id AND p.job_id = due.job_id
RETURNING m.job_id, m.epoch, m.head, p.parameters, m.not_before
"""

# Rows are locked in the order of their ids, as the append does, so that the two cannot deadlock.
_RENEW: Final = """
WITH mine AS MATERIALIZED (
    SELECT job_id FROM run_metadata
    WHERE job_id = ANY ($3::text[]) AND owner = $1 AND lease_expires > run_clock()
    ORDER BY job_id FOR UPDATE
)
UPDATE run_metadata m SET lease_expires = run_clock() + $2::float8
FROM mine WHERE m.job_id = mine.job_id RETURNING m.job_id, m.epoch
"""

_RELEASE: Final = """
WITH mine AS MATERIALIZED (
    SELECT job_id FROM run_metadata WHERE owner = $1 AND ended_at IS NULL
    ORDER BY job_id FOR UPDATE
)
UPDATE run_metadata m SET owner = NULL FROM mine WHERE m.job_id = mine.job_id
"""

_READY: Final = """
UPDATE run_metadata SET not_before = least(not_before, run_clock()) WHERE job_id = $1
"""

_OLD: Final = """
SELECT job_id FROM run_metadata WHERE ended_at < (SELECT run_clock() - $1::float8) LIMIT $2
"""

_PROBE: Final = """
INSERT INTO store_probe VALUES (1, run_clock())
ON CONFLICT (id) DO UPDATE SET probed_at = excluded.probed_at
"""


#: While one waits for the database, the other's batch is put together. A job has always the same.
WRITERS: Final = 2


class PostgresStore:
    """Create, `open`, use, `close`. A verb raises StoreUnavailable while the database is away."""

    durable = True

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._pool: asyncpg.Pool | None = None
        self._writers: tuple[AppendWriter, ...] = ()

    async def open(self) -> None:
        """Raises SchemaTooNew as well."""
        try:
            connection = await connect_patiently(self._options)
            try:
                await migrate(connection)
            finally:
                await connection.close(timeout=CLOSE_TIMEOUT_S)
            # Some connections of the instance's share are the writers'.
            writers = min(WRITERS, self._options.pool_size - 1)
            self._pool = await open_pool(self._options, self._options.pool_size - writers)
            for _ in range(writers):
                own = await open_pool(self._options, 1)
                self._writers += (AppendWriter(own, self._options),)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            await self.close()
            raise StoreUnavailable(f"the database cannot be opened: {reason(error)}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        writers, self._writers = self._writers, ()
        pool, self._pool = self._pool, None
        try:
            await asyncio.gather(*(writer.close() for writer in writers))
        finally:
            if pool is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await pool.close()
                pool.terminate()

    async def ping(self) -> None:
        await self._fetch(_PROBE)

    async def create_run(self, new: NewRun, quota: int) -> StartOutcome:
        ((outcome, job_id, remaining),) = await self._fetch(
            _CREATE,
            new.job_id,
            new.client_id,
            new.parameters,
            new.ready,
            new.wait_s,
            new.idempotency_key,
            new.fingerprint,
            new.owner,
            new.lease_s,
            quota,
        )
        match outcome:
            case "created":
                return Created(job_id, 1 if new.ready else 0, remaining)
            case "repeated":
                return Repeated(job_id, remaining)
            case "reused":
                return KeyReused()
            case _:
                return QuotaExceeded()

    async def append(
        self,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> list[Event]:
        if not self._writers:
            raise StoreUnavailable("expected an open store")
        writer = self._writers[hash(job_id) % len(self._writers)]
        return await writer.append(job_id, epoch, drafts, status, head)

    async def cancel(self, job_id: str, drafts: Sequence[Draft], started: Draft) -> Run | None:
        if not _storable(job_id):
            return None
        end = [started, *drafts]
        await self._fetch(
            "SELECT cancel_run($1, $2, $3, $4)",
            job_id,
            [draft.type for draft in end],
            [draft.timestamp for draft in end],
            [draft.data for draft in end],
        )
        return await self.run(job_id)

    async def run(self, job_id: str) -> Run | None:
        runs = await self.runs([job_id])
        return runs[0] if runs else None

    async def runs(self, job_ids: Sequence[str]) -> list[Run]:
        known = [job_id for job_id in job_ids if _storable(job_id)]
        rows = await self._fetch(f"{_ROW} WHERE job_id = ANY ($1::text[])", known)
        return [_run(row) for row in rows]

    async def read(
        self, job_id: str, after: int, *, upto: int, limit: int, max_bytes: int
    ) -> list[Event]:
        rows = await self._fetch(_PAGE, job_id, after, upto, limit, max_bytes)
        return list(map(Event._make, rows))

    async def claim_waiting(self, owner: str, lease_s: float, limit: int) -> list[Claim]:
        rows = await self._fetch(_CLAIM, owner, lease_s, limit)
        return [
            Claim(job_id, epoch, head, parameters, taken_over=epoch > 1)
            for job_id, epoch, head, parameters, _ in sorted(rows, key=lambda row: row[4])
        ]

    async def make_ready(self, job_id: str) -> None:
        await self._fetch(_READY, job_id)

    async def renew(self, owner: str, lease_s: float, job_ids: Sequence[str]) -> dict[str, int]:
        rows = await self._fetch(_RENEW, owner, lease_s, list(job_ids))
        return {row[0]: row[1] for row in rows}

    async def release(self, owner: str) -> None:
        await self._fetch(_RELEASE, owner)

    async def prune(self, keep_s: float) -> int:
        # A statement for each job, so that none holds its locks for long.
        old = await self._fetch(_OLD, keep_s, PRUNED_AT_ONCE)
        pruned = 0
        for (job_id,) in old:
            ((deleted,),) = await self._fetch("SELECT delete_run($1)", job_id)
            pruned += deleted
        return pruned

    async def _fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        if self._pool is None:
            raise StoreUnavailable("expected an open store")
        with unavailable("a statement failed"):
            return await fetch(self._pool, self._options, sql, *arguments)


def _run(row: asyncpg.Record) -> Run:
    job_id, status, created_at, updated_at, head = row
    return Run(job_id, status, created_at, updated_at, head, earliest=min(head, 1))


def _storable(job_id: str) -> bool:
    """Whether a text column could hold it: an id that none can hold belongs to no job."""
    try:
        return b"\x00" not in job_id.encode()
    except UnicodeEncodeError:
        return False
