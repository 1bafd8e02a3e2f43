"""What a wake-up through Redis adds: `python -m chaos.wakeups`.

Jobs run on the first of two instances that share PostgreSQL and Redis. The same events are read on
that instance, where a wake-up is a function call, and on the other one, where it is a message
through Redis and a read from the store. Event age is when the bytes arrived less the event's own
timestamp, on one machine and so by one clock. One run, one figure: how much later the other
instance's readers have 95 % of their events. It judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from typing import Final

import httpx

from .measure import arrivals, percentile
from .readers import Reader, Texts
from .services import MissingProgram, ServiceFailed
from .topology import Plan, Topology
from .trial import Size, client, reading, start

SIZE: Final = Size(jobs=3, readers=5, events=400, interval_ms=25)


async def ages(topology: Topology) -> dict[str, list[float]]:
    """Seconds from emission to arrival, by the instance that was read from.

    Raises httpx.HTTPError: no job could be started.
    """
    texts, (own, other) = Texts(), topology.urls
    async with client(topology) as http:
        jobs = [await start(http, own, SIZE) for _ in range(SIZE.jobs)]
        readers = [
            Reader(topology, [url], job, url, random.Random(0), 0.0, texts)
            for job in jobs
            for url in (own, other)
            for _ in range(SIZE.readers)
        ]
        async with reading(readers) as tasks:
            await asyncio.wait(tasks, timeout=SIZE.script_s + SIZE.ended_s)
    found: dict[str, list[float]] = {"local": [], "redis": []}
    for reader in readers:
        found["local" if reader.name == own else "redis"] += [a.age_s for a in arrivals(reader)]
    return found


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.wakeups", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="1..20")
    rounds = parser.parse_args().rounds
    try:
        with Topology(Plan(instances=2)) as topology:
            for number in range(1, rounds + 1):
                found = asyncio.run(ages(topology))
                local, redis = (percentile(found[name], 95) * 1000 for name in ("local", "redis"))
                print(
                    f"round {number}: p95 {local:.1f} ms locally, {redis:.1f} ms through Redis: "
                    f"{redis - local:+.1f} ms ({len(found['redis'])} events)",
                    flush=True,
                )
    except (MissingProgram, ServiceFailed, httpx.HTTPError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
