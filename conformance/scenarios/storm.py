"""A reconnect storm: all readers of a job are cut at the same moment and come back at once."""

from __future__ import annotations

import asyncio

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.verdict import Unable

from .reconnecting import PAUSE_S, TURNED_AWAY, retry_after_s
from .shapes import script

CLIENTS = 100
EVENTS = 60
INTERVAL_MS = 150
OPEN_S = 6.0
TRIES_MAX = 200
SEEN_AGAIN = 2
"""Events after the storm that a client waits for before it has seen enough."""


async def storm(lab: Lab) -> None:
    """Open, cut all, come back all."""
    async with lab.shared.heavy:
        lab.expect(f"a reconnect storm of {CLIENTS} clients", 8.0)
        if lab.shared.shaped:
            job = await lab.start("start", script(EVENTS, INTERVAL_MS))
        else:
            job = lab.shared_job()
        lab.facts["job"] = job.job_id
        readers = [lab.stream(job, f"reader {n}", bound_s=30.0) for n in range(CLIENTS)]
        await asyncio.gather(*(reader.until(lab.seen(1), OPEN_S) for reader in readers))
        cursors = [lab.newest(reader) for reader in readers]
        if not any(cursors):
            raise Unable("no reader saw an event with an id before the storm")
        await asyncio.gather(*(reader.leave() for reader in readers))
        lab.facts["cut_at"] = lab.now()
        within_s = lab.profile.declared.recover_s
        await asyncio.gather(
            *(_come_back(lab, job, n, cursor, within_s) for n, cursor in enumerate(cursors))
        )
    if lab.shared.shaped:
        watcher = lab.stream(job, "watcher", bound_s=20.0)
        await watcher.until(lab.ended, 20.0)
        await lab.read(job, "final replay", bound_s=10.0)


async def _come_back(lab: Lab, job: Job, number: int, cursor: str, within_s: float) -> None:
    """One client: again and again, as it is told to, until its stream goes on."""
    deadline = lab.now() + within_s
    for attempt in range(TRIES_MAX):
        left_s = deadline - lab.now()
        if left_s <= 0:
            return
        live = lab.stream(
            job, f"back {number}/{attempt}", cursor=cursor or None, bound_s=left_s + 1.0
        )
        served = await live.until(lambda each: _enough(lab, each), left_s)
        recording = await live.leave()
        if recording.status in TURNED_AWAY:
            await asyncio.sleep(retry_after_s(recording))
        elif served or not recording.is_stream:
            return
        else:
            await asyncio.sleep(PAUSE_S)  # recycled, or cut: a client comes again


def _enough(lab: Lab, live: LiveExchange) -> bool:
    """Whether the stream goes on: with events, or with any byte where none may be due."""
    if lab.shared.shaped:
        return lab.seen(SEEN_AGAIN)(live) or lab.ended(live)
    return lab.opened(live)
