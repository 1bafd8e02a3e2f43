"""Joins that race a burst: hundreds of readers that open while events are being emitted."""

from __future__ import annotations

import asyncio
import random

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.verdict import Unable

from .shapes import script

JOINS = 1000
AT_ONCE = 24
BURST_EVENTS = 1200
BURST_INTERVAL_MS = 5
BURSTS_MAX = 4
SEEN_PER_JOIN = 4
JOIN_BOUND_S = 5.0
NATURAL_JOINS_AT_ONCE = 4
SEED = 20260131


async def race(lab: Lab) -> None:
    """Keep joining until enough joins were made or the time for it is over."""
    chance = random.Random(SEED)
    if reason := lab.shared.one_reader():
        raise Unable(reason)
    if not lab.shared.shaped:
        job, reader = lab.natural()
        await _join_all(lab, job, reader, "natural", chance, NATURAL_JOINS_AT_ONCE, JOINS)
        return
    async with lab.shared.heavy:
        lab.expect("1,000 joins that race a burst", 12.0)
        await _bursts(lab, chance)


async def _bursts(lab: Lab, chance: random.Random) -> None:
    made = 0
    for burst in range(BURSTS_MAX):
        if made >= JOINS:
            break
        job = await lab.start(f"start {burst}", script(BURST_EVENTS, BURST_INTERVAL_MS))
        reader = lab.stream(job, f"reader {burst}", bound_s=40.0)
        await reader.until(lab.seen(2), 5.0)
        made += await _join_all(lab, job, reader, str(burst), chance, AT_ONCE, JOINS - made)
        await _let_end(lab, job, reader, burst)
    if not made:
        raise Unable("no join could be made while the job was running")


async def _let_end(lab: Lab, job: Job, reader: LiveExchange, burst: int) -> None:
    """Only the newest part of a burst matters once the joins are made."""
    await reader.until(lab.ended, 20.0)
    await lab.read(job, f"replay {burst}", bound_s=20.0)


async def _join_all(
    lab: Lab,
    job: Job,
    reader: LiveExchange,
    name: str,
    chance: random.Random,
    at_once: int,
    wanted: int,
) -> int:
    """Join again and again, `at_once` at a time, until the job ends or `wanted` were made."""
    made = 0

    async def worker() -> None:
        nonlocal made
        while made < wanted and not lab.ended(reader) and reader.end is None:
            made += 1
            await _join(lab, job, reader, f"join {name}/{made}", chance)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return made


async def _join(
    lab: Lab, job: Job, reader: LiveExchange, label: str, chance: random.Random
) -> None:
    """Join at, or a few events before, the newest event that is known at this moment."""
    newest = lab.newest(reader)
    back = chance.randrange(4)
    cursor: str | None = newest
    if newest.isdigit() and lab.profile.ids.order == "contiguous":
        cursor = str(max(0, int(newest) - back))
    elif back and chance.randrange(8) == 0:
        cursor = None
    joined = lab.stream(job, label, cursor=cursor or None, bound_s=JOIN_BOUND_S)
    await joined.until(lab.seen(SEEN_PER_JOIN), JOIN_BOUND_S)
    await joined.leave()
