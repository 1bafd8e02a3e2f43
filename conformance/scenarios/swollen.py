"""How much memory an instance takes for readers that read nothing of a large log."""

from __future__ import annotations

import asyncio

from streamgauge.hooks import call
from streamgauge.lab import Lab
from streamgauge.profile import Profile
from streamgauge.verdict import Unable

from .moving import may
from .over import until_over
from .stalled import ENDING_S, LASTS_S, STALLING, stall

READERS = 40
AT_ONCE = 10


def swollen_s(profile: Profile, long: bool) -> float:
    return 2 * (LASTS_S + ENDING_S)


async def swollen(lab: Lab) -> None:
    """Measure, let readers stall while a job emits some megabytes, and measure again."""
    if not may(lab, "memory"):
        return
    # A first job of this kind fills what is kept whoever reads.
    warm = await lab.start("warm start", STALLING)
    if not await until_over(lab, warm, LASTS_S + ENDING_S):
        raise Unable("the first job did not end in time")
    lab.facts["before"] = await _memory(lab)
    job = await lab.start("start", STALLING)
    for first in range(0, READERS, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        await asyncio.gather(*(stall(lab, job, f"stalled {number}") for number in numbers))
    lab.facts["over"] = await until_over(lab, job, LASTS_S + ENDING_S)
    lab.facts["after"] = await _memory(lab)


async def _memory(lab: Lab) -> int:
    """What the first instance holds, in octets."""
    said = (await call(lab, "memory", 0)).split()
    if not said or not said[-1].isdecimal():
        raise Unable("the hook 'memory' has to print a number of octets")
    return int(said[-1])
