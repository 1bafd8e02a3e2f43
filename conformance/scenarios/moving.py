"""Readers that keep reading while something fails: at the next instance when theirs is gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from streamgauge.hooks import lacking
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.verdict import Unable

from .reconnecting import CONNECTIONS_MAX, ORDERLY_END_S, cursor_after, retry_after_s

SEEN_BEFORE = 15
"""The jobs are well under way when the fault comes."""
SCRIPT_S = 12.0
"""What is left of a script then takes no longer."""
AFTERWARDS_S = 10.0
WATCH_BOUND_S = 15.0
PAGE_EVENTS = 1000
"""As many as a page may have (protocol §6)."""


def may(lab: Lab, *hooks: str, instances: int = 1) -> bool:
    """Whether a part can be played; noted in the facts where the user has to give more.

    Raises:
        Unable: the target's jobs cannot be shaped.
    """
    lab.facts["lacking"] = lacking(lab, *hooks, instances=instances)
    if lab.facts["lacking"]:
        return False
    if not lab.shared.shaped:
        raise Unable("jobs that run while something fails have to be shaped")
    return True


async def keep_reading(lab: Lab, job: Job, label: str, first: int, *, bound_s: float) -> None:
    """Read a job's log to its end, from the instance `first` (counted from 0) on.

    The connections are recorded as `label/0`, `label/1`, and so on.
    """
    deadline = lab.now() + bound_s
    cursor, at = "", first
    for number in range(CONNECTIONS_MAX):
        left_s = deadline - lab.now()
        if left_s <= 0:
            return
        live = lab.stream(
            lab.at_instance(job, at),
            f"{label}/{number}",
            cursor=cursor or None,
            bound_s=left_s,
            info={"after": cursor or None, "instance": at + 1},
        )
        try:
            if await live.until(lab.ended, left_s):
                await live.until(lambda each: each.end is not None, ORDERLY_END_S)
                return
        finally:
            recording = await live.leave()
        cursor = cursor_after(recording, cursor)
        if recording.status == 204:
            return
        at = (at + 1) % len(lab.instances)
        await asyncio.sleep(retry_after_s(recording))


@contextlib.asynccontextmanager
async def reading(lab: Lab, *readers: tuple[Job, str, int]) -> AsyncIterator[None]:
    """Readers that keep reading while the block runs, and are waited for at its end."""
    bound_s = lab.left_s()
    tasks = [
        asyncio.create_task(keep_reading(lab, job, label, first, bound_s=bound_s))
        for job, label, first in readers
    ]
    try:
        yield
        await asyncio.wait(tasks, timeout=AFTERWARDS_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def under_way(lab: Lab, job: Job, label: str = "under way") -> None:
    """Wait until a job has shown some events.

    Raises:
        Unable: it shows none.
    """
    watch = lab.stream(lab.at_instance(job, 0), label, bound_s=WATCH_BOUND_S)
    seen = await watch.until(lab.seen(SEEN_BEFORE), WATCH_BOUND_S)
    await watch.leave()
    if not seen:
        raise Unable(f"the job did not show {SEEN_BEFORE} events, so nothing was broken")


async def over(lab: Lab, *jobs: Job, number: int = 0) -> None:
    """Wait at an instance until the jobs have ended, or the time for it is over."""
    within_s = lab.profile.declared.takeover_s + SCRIPT_S
    ends = [
        lab.stream(lab.at_instance(job, number), f"end {job.job_id}", bound_s=within_s)
        for job in jobs
    ]
    await asyncio.gather(*(each.until(lab.ended, within_s) for each in ends))
    for each in ends:
        await each.leave()


async def read_everywhere(lab: Lab, *jobs: Job) -> None:
    """The logs as every instance shows them: `replay JOB 1`, `page JOB 1`, and so on."""
    await asyncio.gather(
        *(
            lab.poll(lab.at_instance(job, n), f"page {job.job_id} {n + 1}", limit=PAGE_EVENTS)
            for job in jobs
            for n in range(len(lab.instances))
        ),
        *(
            lab.read(lab.at_instance(job, n), f"replay {job.job_id} {n + 1}", bound_s=20.0)
            for job in jobs
            for n in range(len(lab.instances))
        ),
    )
