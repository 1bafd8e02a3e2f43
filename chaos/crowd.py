"""Readers of the same jobs behind different ways, for what is about the way and not the server."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .deployment import Served
from .ledger import Ledger, judge
from .measure import arrivals, percentile, resume_lag_s
from .readers import Reader, Texts
from .trial import Size, client, logs, reading, start


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of the readers behind one way."""

    readers: tuple[Reader, ...]
    ledger: Ledger
    lasted_s: float

    @property
    def age_p50_s(self) -> float:
        return percentile(self._ages(), 50)

    @property
    def age_p95_s(self) -> float:
        return percentile(self._ages(), 95)

    @property
    def cuts(self) -> int:
        """Connections that the way ended."""
        return sum(bool(c.broken) for reader in self.readers for c in reader.connections)

    @property
    def resume_lag_s(self) -> float:
        return max((resume_lag_s(reader) for reader in self.readers), default=0.0)

    def hit(self, late_s: float) -> int:
        """The streams whose events were later than this (p95)."""
        return sum(
            percentile((a.age_s for a in arrivals(reader)), 95) > late_s for reader in self.readers
        )

    def _ages(self) -> list[float]:
        return [arrival.age_s for reader in self.readers for arrival in arrivals(reader)]


async def watch(
    url: str,
    ways: Mapping[str, str],
    sizes: Sequence[Size],
    seed: int,
    served: Served,
) -> dict[str, Seen]:
    """Start a job of each size at `url`, and read all of them through every way.

    Args:
        ways: name -> address.
        served: what requests carry, and how long a stream may be silent.
        sizes: of each job; `readers` is how many there are of it behind each way.

    Raises:
        httpx.HTTPError: no job could be started.
    """
    texts, chance, began = Texts(), random.Random(seed), time.monotonic()
    async with client(served) as http:
        jobs = [await start(http, url, size) for size in sizes]
        readers = {
            way: tuple(
                Reader(
                    served,
                    [address],
                    job,
                    f"{way} {n}.{k}",
                    random.Random(chance.random()),
                    0.0,
                    texts,
                )
                for n, (job, size) in enumerate(zip(jobs, sizes, strict=True))
                for k in range(size.readers)
            )
            for way, address in ways.items()
        }
        async with reading([one for some in readers.values() for one in some]) as tasks:
            bound_s = max(size.script_s + size.ended_s for size in sizes)
            await asyncio.wait(tasks, timeout=bound_s)
        ended = time.monotonic()
        whole = {job: await logs(served, [url], job, texts) for job in jobs}
    events = dict(zip(jobs, (size.events for size in sizes), strict=True))
    return {
        way: Seen(some, judge(some, whole, events), ended - began) for way, some in readers.items()
    }
