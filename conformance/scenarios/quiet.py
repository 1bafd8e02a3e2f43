"""Silence: what a stream does while its job says nothing for longer than a heartbeat."""

from __future__ import annotations

import asyncio

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.sse import Block
from streamgauge.verdict import Unable

from .ending import natural_s
from .shapes import script

LONG_QUIET_S = 125.0
BEFORE = 4
AFTER = 4
GAP_MS = 1000
GAP_EVENTS = 6
HEAD_START_MS = 2000
NATURAL_WATCH_S = 75.0


async def quiet(lab: Lab) -> None:
    """A job that pauses: a reader from the start, and one that joins in the silence."""
    if not lab.shared.shaped:
        await _natural(lab)
        return
    quiet_s = LONG_QUIET_S if lab.shared.long else lab.profile.quiet_s()
    shape = script(BEFORE + AFTER, 0, pauses=[[BEFORE, int(quiet_s * 1000)]])
    job = await lab.start("start", shape)
    lab.facts.update(job=job.job_id, quiet_s=quiet_s, before=BEFORE)
    bound_s = quiet_s + 15.0
    reader = lab.stream(job, "reader", bound_s=bound_s)
    if not await reader.until(lab.seen(BEFORE), 8.0) and reader.end is not None:
        raise Unable("the stream ended before the quiet stretch began")
    newest = lab.newest(reader) or str(BEFORE)
    tail = lab.stream(job, "tail", cursor=newest, bound_s=bound_s)
    await asyncio.gather(
        lab.poll(job, "poll at the tail", after=newest),
        lab.poll(job, "poll at the tail again", after=newest),
        lab.snapshot(job, "snapshot in the silence"),
        _held_polls(lab, job, newest, quiet_s),
    )
    lab.expect("a quiet stretch to end (heartbeats are due in it)", quiet_s)
    await asyncio.gather(
        *(each.until(lab.ended, bound_s) for each in (reader, tail)),
        lab.poll(job, "poll held to the next event", after=newest, wait=30.0)
        if lab.shared.has("long_poll") and quiet_s < 28.0
        else asyncio.sleep(0),
    )
    close_s = lab.profile.declared.close_s
    await asyncio.gather(
        *(each.until(lambda live: live.end is not None, close_s + 1.0) for each in (reader, tail))
    )
    await asyncio.gather(
        lab.read(job, "final replay", bound_s=10.0),
        lab.poll(job, "final poll"),
        lab.snapshot(job, "final snapshot"),
    )


async def _natural(lab: Lab) -> None:
    """The target's own job may fall silent by itself: its first reader tells."""
    job, reader = lab.natural()
    lab.adopt(reader, job.started)
    lab.facts.update(job=job.job_id, natural=True)
    await reader.until(lab.ended, natural_s(lab, NATURAL_WATCH_S, 20.0))
    close_s = lab.profile.declared.close_s
    await reader.until(lambda live: live.end is not None, close_s + 1.0)
    if lab.profile.capabilities.heartbeat == "auto":
        beats = any(_is_beat(lab, block) for block in reader.blocks)
        watched = lab.now() - reader.sent_at
        seen = "" if beats else f"none came in {watched:.0f} s of the target's own job"
        lab.shared.found["heartbeat"] = seen


def _is_beat(lab: Lab, block: Block) -> bool:
    """A heartbeat event, or a block of comments alone where heartbeats are comments."""
    name = lab.profile.events.heartbeat
    if name:
        return block.event is not None and block.event.type == name
    return bool(block.comments) and not block.fields


async def _held_polls(lab: Lab, job: Job, newest: str, quiet_s: float) -> None:
    if lab.shared.has("long_poll") and quiet_s > 4.0:
        for wait in (1, 2):
            await lab.poll(job, f"poll held {wait}", after=newest, wait=wait)


async def gaps(lab: Lab) -> None:
    """Events a second apart, before them a head start in which the job has emitted nothing."""
    if not lab.shared.shaped:
        raise Unable("events a second apart need a job whose emissions can be shaped")
    shape = script(GAP_EVENTS, GAP_MS, pauses=[[0, HEAD_START_MS]])
    answer = await lab.post_start("start with head start", shape, client_id=lab.new_client())
    job = lab.job_of(answer)
    if job is None:
        job = await lab.start("start", script(GAP_EVENTS, GAP_MS))
    lab.facts["head_start"] = answer.status is not None and answer.status < 300
    bound_s = (HEAD_START_MS + GAP_MS * GAP_EVENTS) / 1000 + 15.0
    readers = [lab.stream(job, f"reader {n}", bound_s=bound_s) for n in range(3)]
    await asyncio.gather(*(reader.until(lab.ended, bound_s) for reader in readers))
    close_s = lab.profile.declared.close_s
    await asyncio.gather(
        *(each.until(lambda live: live.end is not None, close_s + 1.0) for each in readers)
    )
    await lab.poll(job, "final poll")
