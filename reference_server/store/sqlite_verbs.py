"""What each writing verb of the SQLite store does inside a transaction that is already open.

Functions of a connection, so that the writer can put any of them into one transaction. They never
begin, commit or roll back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import aiosqlite

from ..clock import rfc3339
from ..events import CANCELED, QUEUED, TERMINAL_STATUSES, Draft
from .appends import AppendRequest
from .base import (
    Claim,
    Created,
    KeyReused,
    NewRun,
    QuotaExceeded,
    Repeated,
    StartOutcome,
)
from .sqlite_append import append_all


async def create_run(db: aiosqlite.Connection, new: NewRun, quota: int, now: float) -> StartOutcome:
    """Idempotency first: a repeated request is answered also when the quota is used up."""
    earlier = await _first(
        db,
        "SELECT fingerprint, job_id, remaining FROM run_idempotency"
        " WHERE client_id = ? AND idempotency_key = ?",
        (new.client_id, new.idempotency_key),
    )
    if earlier is not None:
        fingerprint, job_id, remaining = earlier
        return Repeated(job_id, remaining) if fingerprint == new.fingerprint else KeyReused()
    counted = await _first(
        db, "SELECT accepted FROM run_quota WHERE client_id = ?", (new.client_id,)
    )
    accepted = 1 + (counted[0] if counted else 0)
    if 0 < quota < accepted:
        return QuotaExceeded()
    remaining = quota - accepted if quota else None
    await _insert_run(db, new, now)
    await db.execute("REPLACE INTO run_quota VALUES (?, ?)", (new.client_id, accepted))
    if new.idempotency_key is not None:
        await db.execute(
            "INSERT INTO run_idempotency VALUES (?, ?, ?, ?, ?)",
            (new.client_id, new.idempotency_key, new.fingerprint, new.job_id, remaining),
        )
    return Created(new.job_id, 1 if new.ready else 0, remaining)


async def _insert_run(db: aiosqlite.Connection, new: NewRun, now: float) -> None:
    await db.execute(
        "INSERT INTO run_metadata (job_id, status, created_at, updated_at, client_id, head, epoch,"
        " owner, lease_expires, not_before) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
        (
            new.job_id,
            QUEUED,
            rfc3339(now),
            rfc3339(now),
            new.client_id,
            1 if new.ready else 0,
            new.owner if new.ready else None,
            now + new.lease_s,
            now if new.ready else now + new.wait_s,
        ),
    )
    await db.execute("INSERT INTO run_parameters VALUES (?, ?)", (new.job_id, new.parameters))


async def cancel_run(
    db: aiosqlite.Connection, job_id: str, drafts: Sequence[Draft], started: Draft, now: float
) -> None:
    """Raise the epoch, so that the owner's next append is fenced, and write the end with it."""
    row = await _first(
        db, "SELECT status, head, epoch FROM run_metadata WHERE job_id = ?", (job_id,)
    )
    if row is None or row[0] in TERMINAL_STATUSES:
        return
    _, head, epoch = row
    await db.execute("UPDATE run_metadata SET epoch = ? WHERE job_id = ?", (epoch + 1, job_id))
    end = drafts if head else [started, *drafts]
    await append_all(db, [AppendRequest.of(job_id, epoch + 1, end, CANCELED)], now)


async def claim_runs(
    db: aiosqlite.Connection, owner: str, lease_s: float, limit: int, now: float
) -> list[Claim]:
    rows = list(
        await db.execute_fetchall(
            "SELECT job_id, epoch, head, parameters"
            " FROM run_metadata JOIN run_parameters USING (job_id)"
            " WHERE ended_at IS NULL AND not_before <= ?1"
            " AND (owner IS NULL OR lease_expires <= ?1) ORDER BY not_before LIMIT ?2",
            (now, limit),
        )
    )
    if rows:
        await db.executemany(
            "UPDATE run_metadata SET epoch = epoch + 1, owner = ?, lease_expires = ?"
            " WHERE job_id = ?",
            [(owner, now + lease_s, row[0]) for row in rows],
        )
    return [
        Claim(job_id, epoch + 1, head, parameters, taken_over=epoch > 0)
        for job_id, epoch, head, parameters in rows
    ]


async def renew_leases(
    db: aiosqlite.Connection, owner: str, lease_s: float, job_ids: Sequence[str], now: float
) -> dict[str, int]:
    rows = await db.execute_fetchall(
        "UPDATE run_metadata SET lease_expires = ?1"
        " WHERE job_id IN (SELECT value FROM json_each(?2))"
        " AND owner = ?3 AND lease_expires > ?4 RETURNING job_id, epoch",
        (now + lease_s, json.dumps(list(job_ids)), owner, now),
    )
    return {str(row[0]): int(row[1]) for row in rows}


async def release_leases(db: aiosqlite.Connection, owner: str) -> None:
    await db.execute(
        "UPDATE run_metadata SET owner = NULL WHERE owner = ? AND ended_at IS NULL", (owner,)
    )


async def delete_run(db: aiosqlite.Connection, job_id: str) -> None:
    """The job and everything that lives as long as it: not its place in the quota."""
    for table in ("run_events", "run_parameters", "run_idempotency", "run_metadata"):
        await db.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))


async def probe(db: aiosqlite.Connection, now: float) -> None:
    await db.execute("REPLACE INTO store_probe VALUES (1, ?)", (now,))


async def _first(
    db: aiosqlite.Connection, sql: str, parameters: Sequence[object]
) -> tuple[Any, ...] | None:
    for row in await db.execute_fetchall(sql, parameters):
        return tuple(row)
    return None
