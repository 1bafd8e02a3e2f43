"""A running job through a bad network, through spells of 503 and through redirects."""

from __future__ import annotations

import asyncio

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.relay import Passage, Powers, Via
from streamgauge.scenario import together

from .ending import KEPT_BACK_S, natural_end
from .reconnecting import Way, follow
from .shapes import UNICODE_TEXT, script

EVENTS = 60
INTERVAL_MS = 60
BOUND_S = 20.0
SPELLS = 2
"""Answers of 503 in a row, a second apart."""
FIRST_CUT_EVENTS = 6
LIMIT_BYTES = 5_000
RESET_BYTES = 3_000
"""Of the first connection; each may last twice as long as the one before it."""
BYTES_PER_S = 60_000.0
"""Slower than the job at 4 KiB a frame, so that the target feels it."""

NETWORKS = {
    "slices": Powers(slice_bytes=97),
    "coalescing": Powers(coalesce_s=0.4),
    "latency and jitter": Powers(latency_s=0.15, jitter_s=0.25, seed=1),
    "little bandwidth": Powers(bytes_per_s=BYTES_PER_S, slice_bytes=4096),
    "slow closes": Powers(slow_close_s=0.5),
}
"""Those that end nothing."""


async def rough(lab: Lab) -> None:
    """One correct client for each of them."""
    passage = await lab.passage()
    if lab.shared.shaped:
        job = await lab.start("start", script(EVENTS, INTERVAL_MS, payload=UNICODE_TEXT))
        lab.facts["job"] = job.job_id
        await _clients(lab, passage, job, BOUND_S)
    else:
        job = lab.shared_job()
        lab.facts["job"] = job.job_id
        await together(_clients(lab, passage, job, lab.left_s() - KEPT_BACK_S), natural_end(lab))
    final = await lab.read(job, "final replay", bound_s=10.0)
    ids = [b.own_id for b in final.blocks if lab.is_log(b) and b.own_id]
    if ids:
        await lab.read(job, "direct resume", cursor=ids[len(ids) // 2], bound_s=10.0)


async def _clients(lab: Lab, passage: Passage, job: Job, bound_s: float) -> None:
    ways: dict[str, Way] = {
        f"net {name}": _always(passage, powers) for name, powers in NETWORKS.items()
    }
    ways["net byte limits"] = _limits(passage, LIMIT_BYTES, reset=False)
    ways["net resets"] = _limits(passage, RESET_BYTES, reset=True)
    ways["spell of 503"] = _spell(passage)
    ways["redirect"] = ways["redirect by query"] = _redirects(passage)
    await asyncio.gather(
        *(
            follow(lab, job, name, way, bound_s=bound_s, by_query=name.endswith("by query"))
            for name, way in ways.items()
        )
    )


def _always(passage: Passage, powers: Powers) -> Way:
    return lambda _number, _moved: passage.via(powers)


def _limits(passage: Passage, size: int, *, reset: bool) -> Way:
    """Connections end after a number of bytes that grows, so that large events get through."""

    def way(number: int, _moved: bool) -> Via:
        return passage.via(Powers(cut_after=size * 2**number, reset=reset))

    return way


def _spell(passage: Passage) -> Way:
    """A cut, then 503 for a while, then the target again."""

    def way(number: int, _moved: bool) -> Via:
        if number == 0:
            return passage.via(Powers(cut_events=FIRST_CUT_EVENTS))
        if number <= SPELLS:
            return passage.via(Powers(answer=503, retry_after="1"))
        return passage.via()

    return way


def _redirects(passage: Passage) -> Way:
    """A cut, and a resume that is redirected."""

    def way(number: int, moved: bool) -> Via:
        if number == 0:
            return passage.via(Powers(cut_events=FIRST_CUT_EVENTS))
        return passage.via(Powers(redirect=307) if number == 1 else None, moved=moved)

    return way
