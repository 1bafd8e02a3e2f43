"""What batching buys in PostgreSQL: `python -m load.bench.appends`.

A hundred emitters append one event after the other, each waiting for its own to be confirmed, as
pipelines do. Once as the store does it, where whatever is due together shares a statement, and
once with a transaction for each event on as many connections as the store may use. Both in one
run on one fresh cluster that flushes its log to disk; only the ratio says something about another
machine. It judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from chaos.services import MissingProgram, PostgresServer
from reference_server.clock import Clock
from reference_server.events import Draft
from reference_server.store import NewRun
from reference_server.store.postgres import PostgresStore
from reference_server.store.postgres_schema import PostgresOptions

POOL_SIZE: Final = 8
PAYLOAD: Final = '{"text":"' + "x" * 300 + '"}'

_SELECT: Final = "SELECT head, status FROM run_metadata WHERE job_id = $1 AND epoch = 1 FOR UPDATE"
_INSERT: Final = """
INSERT INTO run_events (job_id, seq, type, ts, size, payload) VALUES ($1, $2, $3, $4, $5, $6)
"""
_UPDATE: Final = "UPDATE run_metadata SET head = $2, updated_at = $3 WHERE job_id = $1"

Append = Callable[[str, Draft], Awaitable[object]]


async def rate(append: Append, jobs: list[str], seconds: float) -> float:
    """Confirmed events a second, all jobs together."""
    clock = Clock()
    until = time.monotonic() + seconds
    counts: list[int] = []

    async def emit(job_id: str) -> None:
        count = 0
        while time.monotonic() < until:
            await append(job_id, Draft("agent_chunk", clock.timestamp(), PAYLOAD))
            count += 1
        counts.append(count)

    began = time.monotonic()
    await asyncio.gather(*(emit(job_id) for job_id in jobs))
    return sum(counts) / (time.monotonic() - began)


def one_by_one(pool: asyncpg.Pool) -> Append:
    """A transaction for each event: look at the row, insert, update, commit."""

    async def append(job_id: str, draft: Draft) -> None:
        async with pool.acquire() as connection, connection.transaction():
            head = 1 + await connection.fetchval(_SELECT, job_id)
            size = len(draft.data.encode())
            await connection.execute(
                _INSERT, job_id, head, draft.type, draft.timestamp, size, draft.data
            )
            await connection.execute(_UPDATE, job_id, head, draft.timestamp)

    return append


async def compare(dsn: str, emitters: int, seconds: float, rounds: int) -> list[float]:
    """Prints both rates of each round; returns their ratios."""
    store = PostgresStore(PostgresOptions(dsn, pool_size=POOL_SIZE))
    await store.open()
    pool = await asyncpg.create_pool(dsn, min_size=POOL_SIZE, max_size=POOL_SIZE)
    try:
        jobs = [f"job-{n}" for n in range(emitters)]
        for job_id in jobs:
            run = NewRun(job_id, "bench", "{}", True, 30.0, None, "", "bench", 3600.0)
            await store.create_run(run, 0)
        ratios: list[float] = []
        for number in range(1, rounds + 1):
            single = await rate(one_by_one(pool), jobs, seconds)
            together = await rate(
                lambda job_id, draft: store.append(job_id, 1, [draft], None), jobs, seconds
            )
            ratios.append(together / single)
            print(
                f"round {number}: {together:7.0f} events/s together,"
                f" {single:6.0f} with a transaction each: {ratios[-1]:.1f} times",
                flush=True,
            )
        return ratios
    finally:
        await pool.close()
        await store.close()


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--emitters", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    try:
        service = PostgresServer(durable=True)
    except MissingProgram as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with service as server:
        ratios = asyncio.run(compare(server.dsn, options.emitters, options.seconds, options.rounds))
    print(
        f"{options.emitters} emitters: {statistics.median(ratios):.1f} times as many"
        f" ({min(ratios):.1f} to {max(ratios):.1f})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
