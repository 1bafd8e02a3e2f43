"""How jobs end: completed, failed, crashed, cancelled; with readers and with none."""

from __future__ import annotations

import asyncio

from streamgauge.client import LiveExchange
from streamgauge.job import Job, Shape
from streamgauge.lab import Lab
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .shapes import script

CRASH_AT = 5
LONELY_S = 2.0


async def endings(lab: Lab) -> None:
    """Every way in which a job can end, each read live and again afterwards."""
    if not lab.shared.shaped:
        await _cancelled(lab, "cancelled", None)
        return
    await together(
        _watched(lab, "completed", script(12, 20)),
        _watched(lab, "failed", script(12, 20, outcome="failed")),
        _watched(lab, "crashed", script(30, 20, crash_at=CRASH_AT)),
        _lonely(lab),
        _cancelled(lab, "cancelled", script(200, 150)),
        _cancelled_unbegun(lab),
    )


async def _watched(lab: Lab, name: str, shape: Shape) -> None:
    job = await lab.start(f"{name} start", shape)
    reader = lab.stream(job, f"{name} reader", bound_s=25.0)
    states = asyncio.create_task(_states(lab, job, name, reader))
    try:
        await reader.until(lab.ended, 12.0)
        await reader.until(lambda live: live.end is not None, lab.profile.declared.close_s + 1.0)
        await states
    finally:
        states.cancel()
    await _afterwards(lab, job, name)


async def _states(lab: Lab, job: Job, name: str, reader: LiveExchange) -> None:
    """The job's status in the other views while it runs."""
    for number in range(20):
        await lab.snapshot(job, f"{name} snapshot {number}")
        await lab.poll(job, f"{name} poll {number}")
        if await reader.until(lab.ended, 0.1):
            return


async def _afterwards(lab: Lab, job: Job, name: str) -> None:
    replay = lab.stream(job, f"{name} replay", bound_s=10.0)
    recording = await replay.finish()
    last = next((b.own_id for b in reversed(recording.blocks) if lab.is_log(b) and b.own_id), None)
    await asyncio.gather(
        lab.poll(job, f"{name} poll"),
        lab.snapshot(job, f"{name} snapshot"),
        *([lab.read(job, f"{name} again", cursor=last, bound_s=8.0)] if last else []),
    )


async def _lonely(lab: Lab) -> None:
    """A job that nobody reads, and one whose only reader leaves."""

    async def one(name: str, leaver: bool) -> None:
        events = 20
        job = await lab.start(f"{name} start", script(events, int(LONELY_S * 1000) // events))
        if leaver:
            reader = lab.stream(job, f"{name} reader", bound_s=10.0)
            await reader.until(lab.seen(3), 5.0)
            await reader.leave()
        await asyncio.sleep(LONELY_S + 1.0)
        await lab.snapshot(job, f"{name} snapshot")
        await lab.read(job, f"{name} replay", bound_s=10.0)

    await asyncio.gather(one("unread", False), one("left", True))


async def _cancelled(lab: Lab, name: str, shape: Shape | None) -> None:
    if not lab.shared.has("cancel"):
        if shape is None:
            raise Unable("the target has no way to cancel a job")
        return  # the other endings have to go on
    job = await lab.start(f"{name} start", shape)
    readers = [lab.stream(job, f"{name} reader {n}", bound_s=30.0) for n in range(3)]
    await readers[0].until(lab.seen(4 if shape else 1), 15.0)
    within_s = lab.profile.declared.cancel_s
    await lab.cancel(job, f"{name} cancel")
    await asyncio.gather(*(reader.until(lab.ended, within_s + 1.0) for reader in readers))
    await lab.cancel(job, f"{name} cancel again")
    close_s = lab.profile.declared.close_s
    await asyncio.gather(
        *(r.until(lambda live: live.end is not None, close_s + 1.0) for r in readers)
    )
    await _reconnect_recycled(lab, job, name, readers)
    await _afterwards(lab, job, name)
    await lab.cancel(job, f"{name} cancel after the end")
    await lab.snapshot(job, f"{name} snapshot later")


async def _reconnect_recycled(lab: Lab, job: Job, name: str, readers: list[LiveExchange]) -> None:
    """A reader whose stream was recycled comes back with its cursor, as every client does."""
    for number, reader in enumerate(readers):
        if not lab.ended(reader) and reader.end is not None:
            cursor = lab.newest(reader) or None
            await lab.read(job, f"{name} resumed {number}", cursor=cursor, bound_s=8.0)


async def _cancelled_unbegun(lab: Lab) -> None:
    """Cancel a job before it has emitted anything."""
    if not lab.shared.has("cancel") or not lab.shared.has("wait_for_subscriber"):
        return
    job = await lab.start("unbegun start", script(6, 0), wait=True)
    await lab.cancel(job, "unbegun cancel")
    await _afterwards(lab, job, "unbegun")
