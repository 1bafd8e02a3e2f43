"""What batching appends buys in SQLite, and what the store costs the fan-out.

A hundred emitters append one event after the other, each waiting for its own to be confirmed, as
pipelines do: once through the reference server's store, where whatever is due together shares a
transaction, and once with a transaction for each event. Both on a file that every commit flushes.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import aiosqlite

from reference_server.clock import Clock
from reference_server.events import Draft
from reference_server.store import NewRun
from reference_server.store.sqlite import SqliteStore

from .client import Client
from .machine import pin
from .parts import Bench
from .subjects import Plan

EMITTERS: Final = 100
RATE: Final = f"appends, SQLite synchronous=FULL, {EMITTERS} emitters"
WAIT_P99: Final = f"append p99, SQLite synchronous=FULL, {EMITTERS} emitters"
FANOUT_RATE: Final = "deliveries of a job without pauses, 200 readers"
SHARED: Final = "shared transactions"
SINGLE: Final = "a transaction an event"
_SECONDS: Final = 3.0
_PAYLOAD: Final = '{"text":"' + "x" * 300 + '"}'
_EVENTS: Final = 640
_READERS: Final = 200

_SELECT: Final = "SELECT head FROM run_metadata WHERE job_id = ? AND epoch = 1"
_INSERT: Final = """
INSERT INTO run_events (job_id, seq, type, ts, size, payload) VALUES (?, ?, ?, ?, ?, ?)
"""
_UPDATE: Final = "UPDATE run_metadata SET head = ?, updated_at = ? WHERE job_id = ?"

Append = Callable[[str, Draft], Awaitable[object]]
Rate = tuple[float, float]
"""Confirmed events a second, and the seconds that 99 of 100 waited at most."""
Way = Callable[[SqliteStore, Path], AbstractAsyncContextManager[Append]]


def store(bench: Bench, turn: int) -> None:
    """Both ways of appending, and both stores under a job that emits as fast as it can."""
    sides = [(SHARED, _shared), (SINGLE, _single)]
    for name, way in sides[turn % 2 :] + sides[: turn % 2]:
        os.sched_setaffinity(0, bench.cpus)  # no server is measured, so both are free
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            rate, p99_s = asyncio.run(_appends(Path(folder) / "bench.db", way))
        bench.samples.add(turn, RATE, name, "events/s", rate)
        bench.samples.add(turn, WAIT_P99, name, "ms", p99_s * 1000)
    pin(bench.cpus.client)
    with bench.serving(turn, (), ("memory", "sqlite")) as servers:
        for subject in servers:
            plan = Plan(_READERS, _EVENTS, _EVENTS, 0)
            with subject.job(plan) as job, Client(bench.client, job.offer, "lazy") as client:
                client.connect(plan.readers)
                client.settle()
                first_s = client.until(1)
                took_s = client.until(1 + plan.events) - first_s - plan.gap_s
            rate = plan.deliveries / took_s
            bench.samples.add(turn, FANOUT_RATE, subject.name, "events/s", rate)


@asynccontextmanager
async def _shared(opened: SqliteStore, path: Path) -> AsyncIterator[Append]:
    """The store's own way."""
    yield lambda job_id, draft: opened.append(job_id, 1, [draft], None)


@asynccontextmanager
async def _single(opened: SqliteStore, path: Path) -> AsyncIterator[Append]:
    """The same rows, as aiosqlite's documentation writes it: execute, commit."""
    turn = asyncio.Lock()  # one connection has one transaction at a time

    async def append(job_id: str, draft: Draft) -> None:
        async with turn:
            await db.execute("BEGIN IMMEDIATE")
            ((head,),) = await db.execute_fetchall(_SELECT, (job_id,))
            size = len(draft.data.encode())
            row = (job_id, head + 1, draft.type, draft.timestamp, size, draft.data)
            await db.execute(_INSERT, row)
            await db.execute(_UPDATE, (head + 1, draft.timestamp, job_id))
            await db.commit()

    async with aiosqlite.connect(path, isolation_level=None) as db:
        await db.execute("PRAGMA synchronous=FULL")
        yield append


async def _appends(path: Path, way: Way) -> Rate:
    """Open a store with a job for each emitter, and let them emit."""
    async with asyncio.timeout(60):
        opened = SqliteStore(path, Clock(), "full")
        await opened.open()
        try:
            for n in range(EMITTERS):
                run = NewRun(f"job-{n}", "bench", "{}", True, 30.0, None, "", "bench", 3600.0)
                await opened.create_run(run, 0)
            async with way(opened, path) as append:
                return await _rate(append)
        finally:
            await opened.close()


async def _rate(append: Append) -> Rate:
    clock = Clock()
    waits_s: list[float] = []
    began = time.monotonic()

    async def emit(job_id: str) -> None:
        while (asked := time.monotonic()) < began + _SECONDS:
            await append(job_id, Draft("agent_chunk", clock.timestamp(), _PAYLOAD))
            waits_s.append(time.monotonic() - asked)

    await asyncio.gather(*(emit(f"job-{n}") for n in range(EMITTERS)))
    took_s = time.monotonic() - began
    return len(waits_s) / took_s, sorted(waits_s)[math.ceil(0.99 * len(waits_s)) - 1]
