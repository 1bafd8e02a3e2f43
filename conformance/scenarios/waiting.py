"""Jobs that wait for their first subscriber, with one and without; and events at the opening."""

from __future__ import annotations

import asyncio

from streamgauge.lab import Lab
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .shapes import script

OPENED_JOBS = 6
HELD_S = 1.2
SELF_START_MARGIN_S = 3.0
CANCELLED_AT_OPENING = 4


async def waiting(lab: Lab) -> None:
    """Some jobs get a subscriber after a while, one never does and has to start by itself."""
    if not lab.shared.shaped or not lab.shared.has("wait_for_subscriber"):
        raise Unable("no job that waits for its subscriber could be had")
    await together(_unopened(lab), *(_opened(lab, n) for n in range(OPENED_JOBS)))


async def _opened(lab: Lab, number: int) -> None:
    job = await lab.start(f"start {number}", script(6, 0), wait=True)
    await lab.snapshot(job, f"snapshot early {number}")
    await asyncio.sleep(HELD_S)
    await lab.snapshot(job, f"snapshot before {number}")
    reader = lab.stream(job, f"opened {number}", bound_s=20.0)
    await reader.until(lab.ended, 10.0)
    await reader.until(lambda live: live.end is not None, lab.profile.declared.close_s + 1.0)
    await lab.read(job, f"replay {number}", bound_s=10.0)


async def _unopened(lab: Lab) -> None:
    """Watched by snapshots only, which are no subscribers."""
    wait_s = lab.profile.declared.subscriber_wait_s
    job = await lab.start("start unopened", script(6, 0), wait=True)
    began = job.started.ended_at
    lab.facts["unopened"] = job.job_id
    early = max(0.0, began + wait_s - 1.5 - lab.now())
    await lab.pause(early, "a job without subscriber to start by itself")
    await lab.snapshot(job, "unopened before")
    for number in range(40):
        if lab.now() > began + wait_s + SELF_START_MARGIN_S:
            break
        snapshot = await lab.snapshot(job, f"unopened {number}")
        body = snapshot.json
        if isinstance(body, dict) and body.get("events"):
            break
        await asyncio.sleep(0.15)


async def opening(lab: Lab) -> None:
    """Something is emitted the instant after a stream opens: the suite cancels the job then."""
    if not lab.shared.shaped or not lab.shared.has("cancel"):
        raise Unable("needs a quiet job and a way to cancel it")

    async def once(number: int) -> None:
        job = await lab.start(f"start {number}", script(8, 0, pauses=[[3, 20_000]]))
        first = lab.stream(job, f"reader {number}", bound_s=20.0)
        await first.until(lab.seen(3), 5.0)
        late = lab.stream(job, f"late {number}", cursor=lab.newest(first) or "3", bound_s=15.0)
        if await late.until(lab.opened, 5.0):
            await lab.cancel(job, f"cancel {number}")
        await asyncio.gather(*(each.until(lab.ended, 8.0) for each in (first, late)))
        await lab.read(job, f"replay {number}", bound_s=8.0)

    await together(*(once(n) for n in range(CANCELLED_AT_OPENING)))
