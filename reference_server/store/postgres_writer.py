"""Group commit for PostgreSQL: the appends of many jobs in one statement, one after the other.

While a statement is under way its successors gather, so that the round trip and the flush of the
log are shared by whoever is due. The statement locks the rows of its jobs in the order of their
ids, checks each one's epoch and head under that lock, and is a transaction of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import asyncpg

from ..events import Draft, Event
from .appends import AppendRequest
from .base import Fenced, HeadMoved, StoreUnavailable
from .group import BATCH_BYTES_MAX, Entry, GroupCommit, fail
from .postgres_schema import PostgresOptions, reason

LOGGER = logging.getLogger(__name__)

#: Jobs in one statement.
BATCH_JOBS_MAX: Final = 512

_APPEND: Final = """
WITH wanted AS (
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::bigint[], $4::int[], $5::text[], $6::bool[], $7::text[]
    ) AS w (job_id, epoch, known_head, added, status, ends, stamp)
), owned AS MATERIALIZED (
    SELECT m.job_id, m.head, coalesce(w.known_head = m.head, true) AS fits
    FROM run_metadata m JOIN wanted w USING (job_id)
    WHERE m.epoch = w.epoch AND m.ended_at IS NULL
    ORDER BY m.job_id FOR UPDATE OF m
), stored AS (
    INSERT INTO run_events (job_id, seq, type, ts, size, payload)
    SELECT o.job_id, o.head + e.place, e.type, e.ts, octet_length(e.payload), e.payload
    FROM unnest($8::text[], $9::int[], $10::text[], $11::text[], $12::text[])
        AS e (job_id, place, type, ts, payload)
    JOIN owned o ON o.job_id = e.job_id AND o.fits
), moved AS (
    UPDATE run_metadata m
    SET head = o.head + w.added, status = coalesce(w.status, m.status), updated_at = w.stamp,
        ended_at = CASE WHEN w.ends THEN run_clock() END,
        owner = CASE WHEN NOT w.ends THEN m.owner END
    FROM owned o JOIN wanted w USING (job_id)
    WHERE m.job_id = o.job_id AND o.fits
)
SELECT job_id, head, fits FROM owned
"""


_Entry = Entry[AppendRequest]


class AppendWriter(GroupCommit[AppendRequest]):
    """Owns the pool that it is given."""

    def __init__(self, pool: asyncpg.Pool, options: PostgresOptions) -> None:
        self._pool = pool
        self._options = options
        super().__init__("postgres-writer")

    async def append(
        self,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None,
    ) -> list[Event]:
        """Raises Fenced, HeadMoved, StoreUnavailable; ValueError for a raw U+0000."""
        work = AppendRequest.of(job_id, epoch, drafts, status, head)
        if any("\x00" in draft.data for draft in drafts):
            # JSON text has it only as an escape. In a batch it would fail everybody else's events.
            raise ValueError("expected JSON text without a raw U+0000")
        events: list[Event] = await self.submit(work)
        return events

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            self._pool.terminate()

    def _take(self) -> list[_Entry]:
        """The next statement's appends, at most one for each job; the others keep their order."""
        batch: dict[str, _Entry] = {}
        later: list[_Entry] = []
        nbytes = 0
        while self._queue and len(batch) + len(later) < BATCH_JOBS_MAX:
            entry = self._queue[0]
            if batch and nbytes + entry.work.nbytes > BATCH_BYTES_MAX:
                break
            self._queue.popleft()
            if entry.done.cancelled():
                continue
            if entry.work.job_id in batch:
                later.append(entry)
                continue
            batch[entry.work.job_id] = entry
            nbytes += entry.work.nbytes
        self._queue.extendleft(reversed(later))
        return list(batch.values())

    async def _commit(self, batch: list[_Entry]) -> bool:
        """All of the batch in one statement, and the answer to everybody; whether it worked."""
        try:
            rows = await self._execute([entry.work for entry in batch])
        except Exception as error:
            LOGGER.warning("a batch of appends failed: %s", reason(error))
            fail(batch, StoreUnavailable(f"the append was not confirmed: {reason(error)}"))
            return False  # nobody waits for a database that is away
        except BaseException:
            fail(batch, StoreUnavailable("the append was broken off"))
            raise
        for entry in batch:
            _answer(entry, rows.get(entry.work.job_id))
        return True

    async def _execute(self, works: list[AppendRequest]) -> dict[str, tuple[int, bool]]:
        """Head before the append, and whether it was the expected one, of each job not fenced."""
        events = [
            (work.job_id, place, draft)
            for work in works
            for place, draft in enumerate(work.drafts, start=1)
        ]
        arguments = (
            [work.job_id for work in works],
            [work.epoch for work in works],
            [work.head for work in works],
            [len(work.drafts) for work in works],
            [work.status for work in works],
            [work.ends for work in works],
            [work.drafts[-1].timestamp for work in works],
            [job_id for job_id, _, _ in events],
            [place for _, place, _ in events],
            [draft.type for _, _, draft in events],
            [draft.timestamp for _, _, draft in events],
            [draft.data for _, _, draft in events],
        )
        rows = await fetch(self._pool, self._options, _APPEND, *arguments)
        return {row[0]: (row[1], row[2]) for row in rows}


async def fetch(
    pool: asyncpg.Pool, options: PostgresOptions, sql: str, *arguments: object
) -> list[asyncpg.Record]:
    """One statement on a connection of the pool. Raises what the driver raises.

    A connection on which something else than the statement failed is not used again: the server
    may still be working on what was sent.
    """
    async with pool.acquire(timeout=options.client_timeout_s) as connection:
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        except asyncpg.PostgresError:
            raise
        except BaseException:
            connection.terminate()
            raise
        return rows


def _answer(entry: _Entry, row: tuple[int, bool] | None) -> None:
    if entry.done.done():
        return
    if row is None:
        entry.done.set_exception(Fenced(entry.work.job_id))
    elif not row[1]:
        entry.done.set_exception(HeadMoved(entry.work.job_id))
    else:
        entry.done.set_result(entry.work.events_after(row[0]))
