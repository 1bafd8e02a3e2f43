"""Instances that are killed, told to end, paused, and restarted one after the other.

The victim is always the last instance, and the jobs are those that it started itself. Readers keep
reading the whole time: at the victim, then wherever they are served, and elsewhere from the start.
Whatever a part breaks it mends before it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from streamgauge.h2client import H2Connection
from streamgauge.hooks import bring_back, call
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.profile import Profile
from streamgauge.recording import End
from streamgauge.verdict import Unable

from .moving import (
    AFTERWARDS_S,
    SCRIPT_S,
    SEEN_BEFORE,
    may,
    over,
    read_everywhere,
    reading,
    under_way,
)
from .shapes import script

STEADY = script(100, 100)
SWIFT = script(1500, 4)
"""Events that follow each other so closely that a kill always falls between two of them."""
READY_EVERY_S = 0.02
REPLAYED_S = 0.3
"""A stream that was opened has shown by then what its job's log already had."""
ZOMBIE_S = 3.0
"""A woken owner is so much later with the end of its script than who has taken over."""
CONTINUOUS = script(3000, 100)
"""Longer than any rolling restart; it is cancelled then."""
ROLLED_S = 180.0
"""At most: a deployment takes its time to start an instance."""


def one_fault_s(profile: Profile, long: bool) -> float:
    """About how long a part takes: the fault, the takeover, the script's rest, the restart."""
    return profile.declared.takeover_s + SCRIPT_S + 2 * AFTERWARDS_S


def rolling_s(profile: Profile, long: bool) -> float:
    return ROLLED_S + 2 * AFTERWARDS_S


async def killed(lab: Lab) -> None:
    """Kill the instance that runs two jobs and serves their readers."""
    if not may(lab, "kill", "restart", instances=2):
        return
    victim = len(lab.instances) - 1
    steady = await lab.start("steady start", STEADY, at=lab.instances[victim])
    swift = await lab.start("swift start", SWIFT, at=lab.instances[victim])
    async with reading(
        lab, (steady, "steady", victim), (steady, "watch", 0), (swift, "swift", victim)
    ):
        await under_way(lab, steady)
        try:
            await call(lab, "kill", victim)
            await over(lab, steady, swift)
        finally:
            await bring_back(lab, "restart", victim)
    await read_everywhere(lab, steady, swift)


async def drained(lab: Lab) -> None:
    """Tell the instance to end, and ask all the while whether it is ready."""
    if not may(lab, "terminate", "restart", instances=2):
        return
    victim = len(lab.instances) - 1
    steady = await lab.start("steady start", STEADY, at=lab.instances[victim])
    async with (
        reading(lab, (steady, "steady", victim), (steady, "watch", 0)),
        _over_http2(lab, steady, victim),
    ):
        await under_way(lab, steady)
        asking = asyncio.create_task(_ask_ready(lab, victim))
        try:
            await call(lab, "terminate", victim)
        finally:
            await asking
            await bring_back(lab, "restart", victim)
        await over(lab, steady)
    await read_everywhere(lab, steady)


async def paused(lab: Lab) -> None:
    """Pause the instance beyond its lease, and wake it when another has taken its job over."""
    if not may(lab, "pause", "unpause", instances=2):
        return
    victim = len(lab.instances) - 1
    steady = await lab.start("steady start", STEADY, at=lab.instances[victim])
    async with reading(lab, (steady, "steady", victim), (steady, "watch", 0)):
        await under_way(lab, steady)
        try:
            await call(lab, "pause", victim)
            before = len(list(filter(lab.is_log, lab.recorded("watch/0").blocks)))
            within_s = lab.profile.declared.takeover_s + 2.0
            going_on = lab.stream(lab.at_instance(steady, 0), "going on", bound_s=within_s)
            # What was on its way when the pause began may still come.
            lab.facts["taken_over"] = await going_on.until(lab.seen(before + SEEN_BEFORE), within_s)
            await going_on.leave()
        finally:
            await bring_back(lab, "unpause", victim)
        await over(lab, steady)
        await lab.pause(ZOMBIE_S, "what an instance that was paused may still write")
    await read_everywhere(lab, steady)


async def rolled(lab: Lab) -> None:
    """Restart each instance in turn while jobs that each of them started go on."""
    if not may(lab, "restart", instances=2):
        return
    if not lab.shared.has("cancel"):
        raise Unable("jobs that go on through a rolling restart have to be cancelled at its end")
    numbers = range(len(lab.instances))
    jobs = [await lab.start(f"start {n + 1}", CONTINUOUS, at=lab.instances[n]) for n in numbers]
    async with reading(lab, *((job, f"reader {n + 1}", n) for n, job in enumerate(jobs))):
        await asyncio.gather(*(under_way(lab, job, f"under way {n}") for n, job in enumerate(jobs)))
        for number in numbers:
            await bring_back(lab, "restart", number)
        await asyncio.gather(*(_goes_on(lab, job, n) for n, job in enumerate(jobs, 1)))
        await asyncio.gather(*(lab.cancel(job, f"cancel {n + 1}") for n, job in enumerate(jobs)))
    await read_everywhere(lab, *jobs)


async def _goes_on(lab: Lab, job: Job, number: int) -> None:
    """Wait until a job shows something new; how long that took is for its reader to tell."""
    within_s = lab.profile.declared.handover_s + AFTERWARDS_S
    live = lab.stream(lab.at_instance(job, 0), f"going on {number}", bound_s=within_s)
    await live.until(lab.opened, within_s)
    await asyncio.sleep(REPLAYED_S)
    known = sum(map(lab.is_log, live.blocks))
    await live.until(lab.seen(known + 1), within_s)
    await live.leave()


async def _ask_ready(lab: Lab, victim: int) -> None:
    """Ask for readiness until nobody answers any more, or the time for that is long over."""
    if not lab.profile.api.readyz:
        return
    there = lab.instances[victim]
    deadline = lab.now() + lab.profile.declared.grace_s + 2.0
    number = 0
    while lab.now() < deadline:
        answer = await lab.ask(
            "GET", there.url(lab.profile.api.readyz), label=f"ready {number}", bound_s=2.0
        )
        if answer.end is End.REFUSED:
            return
        number += 1
        await asyncio.sleep(READY_EVERY_S)


@contextlib.asynccontextmanager
async def _over_http2(lab: Lab, job: Job, victim: int) -> AsyncIterator[None]:
    """A stream of the victim over HTTP/2, where that is spoken, open while the block runs."""
    connection = H2Connection(lab.instances[victim], "drained")
    if not lab.shared.has("http2") or await connection.open():
        yield
        return
    try:
        stream = connection.request(
            lab.at_instance(job, victim).stream,
            label="h2 drained",
            headers=(("Accept", "text/event-stream"), ("Cache-Control", "no-store")),
            info={"job": job.job_id, "after": None},
        )
        lab.follow(stream)
        yield
    finally:
        lab.facts["h2"] = connection.facts
        await connection.close()
