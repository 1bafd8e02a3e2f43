"""Two opt-in searches: the smallest frame that passes a path at once, the longest silence it bears.

Both shape jobs of the target and read them as any client would; nothing is sent that a user could
not send. They measure what can be measured from outside, and say where that ends: frames cannot be
made smaller than the target pads them, and silences not longer than its heartbeats leave them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..client import ANSWER_S, Client
from ..clock import RunClock
from ..lab import Lab
from ..profile import Profile
from ..raw import idle_until_closed
from ..recording import Recording
from ..shared import Shared
from .buffering import Buffering, Kind, find_buffering
from .cuts import Cuts, Life, find_cuts, life_of
from .flow import Flow, clock_bounds, flow_of

INTERVALS_MS = (700, 1100, 500, 900, 1300, 600, 1000, 800)
"""Each job has a pace of its own: at one pace, a size and a timer let go at the same moments."""
EVENTS = 12
"""So that every type of event comes: only one of them has a size that can be chosen."""
LADDER = (0, 2_000, 6_000, 14_000, 30_000, 62_000, 126_000, 254_000)
"""Text sizes of the first round. A frame is larger than its text by what goes around it."""
ROUNDS_MAX = 4
JOBS_MAX = 20
CLOSE_ENOUGH_BYTES = 256
MARGIN_S = 20.0
SILENCE_STEPS = (0.25, 0.5, 1.0)
STAGGER_S = 0.8
"""Streams that were opened together and end together would prove no limit of age."""


@dataclass(frozen=True, slots=True)
class BufferFound:
    """What the search for the smallest frame found."""

    buffering: Buffering | None
    """None: every frame came at once."""
    smallest_frame: int
    """The smallest frame that was sent, in bytes."""
    jobs: int


@dataclass(frozen=True, slots=True)
class SilenceFound:
    """What the search for the longest silence found."""

    cuts: Cuts | None
    cut: int
    """Streams that were ended in a silence."""
    survived_s: float
    """The longest silence that a stream outlived."""
    wanted_s: float
    held_poll_s: float | None
    """How long an answer without a byte was waited for in vain and still came; None: not tried."""
    idle_connection_s: float | None
    """When a connection without a request was closed; None: not within the time."""


def lab_for(client: Client, profile: Profile, seconds: float) -> Lab:
    """A lab whose jobs may take so many seconds from now."""
    return Lab("find", Shared(client, profile, long=False, deadline=client.clock.now() + seconds))


async def find_buffer(client: Client, profile: Profile) -> BufferFound:
    """Search for the smallest frame that gets an event through at once.

    Raises:
        Unable: no job could be started.
    """
    lasts_s = EVENTS * max(INTERVALS_MS) / 1000 + MARGIN_S
    lab = lab_for(client, profile, ROUNDS_MAX * lasts_s)
    recordings: list[Recording] = []
    sizes: Sequence[int] = LADDER
    found: Buffering | None = None
    jobs = 0
    for _ in range(ROUNDS_MAX):
        sizes = sizes[: JOBS_MAX - jobs]
        if not sizes:
            break
        jobs += len(sizes)
        recordings += await asyncio.gather(
            *(_one_size(lab, n, size, lasts_s) for n, size in enumerate(sizes))
        )
        before, found = found, find_buffering(_flows(recordings, client.clock))
        if found is None or found.high is None or found.kind is Kind.FULL_BLOCKS:
            break
        low, high = found.low or 0, found.high
        no_closer = before is not None and (before.low, before.high) == (found.low, found.high)
        if high - low <= CLOSE_ENOUGH_BYTES or no_closer:
            break
        sizes = [round(low + (high - low) * share) for share in (0.25, 0.5, 0.75)]
    flows = _flows(recordings, client.clock)
    smallest = min((p.end - p.start for flow in flows for p in flow.live), default=0)
    return BufferFound(found, smallest, jobs)


async def _one_size(lab: Lab, number: int, size: int, lasts_s: float) -> Recording:
    pace = INTERVALS_MS[number % len(INTERVALS_MS)]
    shape = {"events": EVENTS, "interval_ms": pace, "payload_bytes": size}
    job = await lab.start(f"start {size}", {**shape, "pauses": [[0, pace]]})
    return await lab.read(job, f"reader {size}", bound_s=lasts_s)


def _flows(recordings: Sequence[Recording], clock: RunClock) -> list[Flow]:
    offset = clock_bounds(recordings, clock.wall)
    flows = (flow_of(recording, offset, clock.wall) for recording in recordings)
    return [flow for flow in flows if flow is not None]


async def find_silence(client: Client, profile: Profile, longest_s: float) -> SilenceFound:
    """Search for the longest silence that a stream outlives, up to `longest_s`.

    Raises:
        Unable: no job could be started.
    """
    lab = lab_for(client, profile, longest_s + 2 * MARGIN_S)
    streams, poll, idle = await asyncio.gather(
        asyncio.gather(*(_one_silence(lab, n, longest_s) for n in range(len(SILENCE_STEPS)))),
        _held_poll(lab, longest_s),
        idle_until_closed(client, longest_s),
    )
    lives = [life for pair in streams if (life := pair) is not None]
    cut = [life for life in lives if life.cut]
    return SilenceFound(
        cuts=find_cuts(lives),
        cut=len(cut),
        survived_s=max((life.longest_silence for life in lives), default=0.0),
        wanted_s=longest_s,
        held_poll_s=poll,
        idle_connection_s=idle,
    )


async def _one_silence(lab: Lab, number: int, longest_s: float) -> Life | None:
    """A job that says nothing for a while, with something before and behind it."""
    await asyncio.sleep(number * STAGGER_S)
    quiet_s = longest_s * SILENCE_STEPS[number]
    # The early part differs, so that an age and a silence can be told apart.
    early = round(4 * (1 - quiet_s / longest_s) * 1000) + 200
    shape = {"events": 8, "interval_ms": early // 3, "pauses": [[4, round(quiet_s * 1000)]]}
    job = await lab.start(f"start {quiet_s:g}", shape)
    live = lab.stream(job, f"quiet for {quiet_s:g} s", bound_s=quiet_s + MARGIN_S)
    ended = await live.until(lab.ended, quiet_s + MARGIN_S)
    if ended:
        await live.until(lambda each: each.end is not None, lab.profile.declared.close_s)
        return life_of(await live.leave(), over=True)
    return life_of(await live.finish(), over=False)


async def _held_poll(lab: Lab, longest_s: float) -> float | None:
    """An answer that the target itself holds back, without a heartbeat: at most 30 s of silence."""
    wait = min(30.0, longest_s)
    shape = {"events": 6, "interval_ms": 0, "pauses": [[3, round((wait + 5) * 1000)]]}
    job = await lab.start("start held poll", shape)
    reader = lab.stream(job, "held poll reader", bound_s=ANSWER_S)
    await reader.until(lab.seen(3), ANSWER_S)
    await reader.leave()
    page = await lab.poll(job, "held poll", after="3", wait=int(wait))
    held = page.ended_at - page.sent_at
    return held if page.status == 200 and held > 0.8 * wait else None
