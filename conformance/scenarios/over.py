"""Knowing that a job is over when no stream tells so: recycled, cut, or never live."""

from __future__ import annotations

import asyncio

from streamgauge.job import Job
from streamgauge.lab import Lab

LOOK_EVERY_S = 0.5
FINAL = ("completed", "failed", "canceled")


async def until_over(lab: Lab, job: Job, within_s: float) -> bool:
    """Ask the job's snapshots until one tells of the end; tells whether it did."""
    deadline = lab.now() + within_s
    number = 0
    while lab.now() < deadline:
        body = (await lab.snapshot(job, f"waiting snapshot {job.job_id}/{number}")).json
        if not isinstance(body, dict):
            return False
        if body.get("status") in FINAL:
            return True
        number += 1
        await asyncio.sleep(LOOK_EVERY_S)
    return False
