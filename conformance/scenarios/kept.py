"""A job that is over, looked at while it is kept and when its time is up."""

from __future__ import annotations

import asyncio

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.profile import Profile
from streamgauge.verdict import Unable

from .shapes import TINY

KEPT_MAX_S = 30.0
"""A run does not wait for longer."""
SWEPT_S = 5.0
"""Within this, and a quarter of the retention, what is over has been removed."""
READ_S = 5.0


def kept_for_s(profile: Profile, long: bool) -> float:
    return _gone_after_s(profile) + 2 * READ_S if profile.declared.kept_s <= KEPT_MAX_S else 1.0


def _gone_after_s(profile: Profile) -> float:
    return profile.declared.kept_s * 1.25 + SWEPT_S


async def kept(lab: Lab) -> None:
    """Let a job end, and ask for it at half of the time that is declared, and beyond it."""
    kept_s = lab.profile.declared.kept_s
    if kept_s > KEPT_MAX_S:
        lab.facts["lacking"] = (
            f"finished jobs are kept for {kept_s:g} s, and a run waits for {KEPT_MAX_S:g}: deploy "
            "with a short retention and say so (declared.kept_s)"
        )
        return
    if not lab.shared.shaped:
        raise Unable("a job whose end is waited for has to be shaped")
    job = await lab.start("start", TINY)
    await lab.stream(job, "reader", bound_s=2 * READ_S).until(lab.ended, 2 * READ_S)
    ended = lab.now()
    await lab.pause(kept_s / 2, "half of the time for which a finished job is kept")
    lab.facts["kept_after_s"] = lab.now() - ended
    await _look(lab, job, "kept")
    await lab.pause(ended + _gone_after_s(lab.profile) - lab.now(), "a finished job to be removed")
    lab.facts["gone_after_s"] = lab.now() - ended
    await _look(lab, job, "gone")


async def _look(lab: Lab, job: Job, when: str) -> None:
    """Every view of the job."""
    await asyncio.gather(
        lab.snapshot(job, f"{when} snapshot"),
        lab.poll(job, f"{when} poll"),
        lab.read(job, f"{when} stream", bound_s=READ_S),
    )
