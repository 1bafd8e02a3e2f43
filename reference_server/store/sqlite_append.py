"""The append of events inside a transaction that somebody else has begun.

Many appends become three statements: read the jobs' rows, insert all events, update the rows. The
check of the epoch happens here, under the write lock, so a lost owner can never slip in between.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import aiosqlite

from ..events import TERMINAL_STATUSES, Event
from .appends import AppendRequest
from .base import Fenced, HeadMoved

_SELECT = """
SELECT job_id, epoch, head, status FROM run_metadata
WHERE job_id IN (SELECT value FROM json_each(?))
"""
_INSERT = "INSERT INTO run_events (job_id, seq, type, ts, size, payload) VALUES (?, ?, ?, ?, ?, ?)"
_UPDATE = """
UPDATE run_metadata
SET head = ?1, status = ?2, updated_at = ?3, ended_at = ?4,
    owner = CASE WHEN ?4 IS NULL THEN owner END
WHERE job_id = ?5
"""


@dataclass(slots=True)
class _Row:
    """A job's row while the transaction changes it."""

    epoch: int
    head: int
    status: str
    updated_at: str | None = None

    def accepts(self, epoch: int) -> bool:
        return self.epoch == epoch and self.status not in TERMINAL_STATUSES


async def append_all(
    connection: aiosqlite.Connection, appends: Sequence[AppendRequest], now: float
) -> list[list[Event] | Fenced | HeadMoved]:
    """The stored events of each append, or why it was refused."""
    rows = await _rows(connection, {append.job_id for append in appends})
    results: list[list[Event] | Fenced | HeadMoved] = []
    inserts: list[tuple[str, int, str, str, int, str]] = []
    for append in appends:
        row = rows.get(append.job_id)
        if row is None or not row.accepts(append.epoch):
            results.append(Fenced(append.job_id))
            continue
        if append.head not in (None, row.head):
            results.append(HeadMoved(append.job_id))
            continue
        events = append.events_after(row.head)
        for event, size in zip(events, append.sizes, strict=True):
            inserts.append((append.job_id, event.id, event.type, event.timestamp, size, event.data))
        row.head += len(events)
        row.updated_at = append.drafts[-1].timestamp
        row.status = append.status or row.status
        results.append(events)
    updates = [
        (row.head, row.status, row.updated_at, now if row.status in TERMINAL_STATUSES else None, id)
        for id, row in rows.items()
        if row.updated_at is not None
    ]
    if inserts:
        await connection.executemany(_INSERT, inserts)
        await connection.executemany(_UPDATE, updates)
    return results


async def _rows(connection: aiosqlite.Connection, job_ids: set[str]) -> dict[str, _Row]:
    rows = await connection.execute_fetchall(_SELECT, (json.dumps(sorted(job_ids)),))
    return {job_id: _Row(epoch, head, status) for job_id, epoch, head, status in rows}
