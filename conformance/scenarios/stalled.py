"""Readers that stop reading: what becomes of the others, of the job, and of themselves.

The job's log is larger than all buffers on the way to a reader that takes nothing, so that the
target's writes to it have to wait. The reader reads on later, or is cut and resumes.
"""

from __future__ import annotations

import asyncio

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import End, Recording
from streamgauge.scenario import together
from streamgauge.stalled import StalledReader
from streamgauge.timing import moment, percentile
from streamgauge.verdict import Unable

from .over import FINAL, until_over
from .shapes import script

EVENTS = 480
"""Fewer than the smallest history that a target of this protocol keeps."""
INTERVAL_MS = 8
LASTS_S = EVENTS * INTERVAL_MS / 1000
STALLING = script(EVENTS, INTERVAL_MS, payload_bytes=112 * 1024)
"""A log of 8 MiB at least: more than two kernels and a server that writes in large pieces hold."""
ENDING_S = 15.0
"""How much longer than its script such a job may take."""
BRIEF_S = 1.0
HELD_MAX_S = 10.0
"""A stall that is longer than this belongs into a long run."""
CATCH_UP_S = 12.0
SILENT_S = 5.0
"""A reader that reads on and is silent for longer has been forgotten."""
NATURAL_WATCH_S = 60.0
BIG_TEXT_BYTES = 1024 * 1024
SHORT_LOGS = (6, 9)
"""Events of a job: few, so that one has the text; more, where the types come in another order."""
SLOW_BYTES_PER_S = 64 * 1024
SLOW_BOUND_S = 29.0


async def stalled(lab: Lab) -> None:
    """A job with one stalled reader among others, and one whose readers stall all."""
    if lab.shared.shaped:
        lab.expect("jobs whose readers stall", LASTS_S)
        await together(_beside(lab), _unread(lab))
    else:
        await _natural(lab)


def full_stall_s(lab: Lab) -> float:
    """After so long, a reader that is dropped as declared has been dropped for sure."""
    return lab.profile.declared.stalled_reader_s * 1.1 + 2.0


async def _beside(lab: Lab) -> None:
    """One reader stalls, another goes on."""
    job = await lab.start("beside start", STALLING)
    reader = await stall(lab, job, "stalled 0")
    beside = lab.stream(job, "beside", bound_s=LASTS_S + ENDING_S)
    await beside.until(lab.ended, LASTS_S + ENDING_S - 1.0)
    if _seems_late(lab, beside):
        # Is it the stalled reader's doing? The same job without one tells.
        alone_job = await lab.start("alone start", STALLING)
        alone = lab.stream(alone_job, "alone", bound_s=LASTS_S + ENDING_S)
        await alone.until(lab.ended, LASTS_S + ENDING_S - 1.0)
    await _until_over(lab, job, "beside", 3.0)
    async with lab.shared.heavy:
        await _read_on(reader)
        await _resume(lab, job, reader, "resumed stalled 0")
        if not lab.ended(beside):
            await lab.read(job, "beside replay", bulk=True, bound_s=15.0)


def _seems_late(lab: Lab, beside: LiveExchange) -> bool:
    """Whether the events came later and later; only decides whether to look closer."""
    bound_s = lab.profile.declared.lag_p95_s
    late = [
        block.at - stamp
        for block in beside.blocks
        if lab.is_log(block) and (stamp := _stamp_of(block.event.data if block.event else ""))
    ]
    return not lab.ended(beside) or percentile(late, 0.95) - min(late, default=0.0) > bound_s / 2


def _stamp_of(data: str) -> float | None:
    """The envelope's timestamp, found without parsing the whole text."""
    _, _, rest = data[:400].partition('"timestamp":')
    return moment(rest.strip(' "').partition('"')[0])


async def _unread(lab: Lab) -> None:
    """All readers stall: one from its first byte, one after it has read a little."""
    job = await lab.start("unread start", STALLING)
    first = await stall(lab, job, "unread 0")
    second = await stall(lab, job, "unread 1")
    await second.read_slowly(256 * 1024, 1.0)
    lab.facts["over while unread"] = await _until_over(lab, job, "unread", LASTS_S + ENDING_S)
    if not lab.facts["over while unread"]:
        lab.facts["stood still"] = await _stands_still(lab, job)
    await second.leave()
    full_s = full_stall_s(lab)
    held_s = full_s if lab.shared.long or full_s <= HELD_MAX_S else BRIEF_S
    lab.facts["full"] = held_s == full_s
    lab.facts["held_s"] = held_s
    await lab.pause(held_s, "a stalled reader to be dropped, or to read on")
    async with lab.shared.heavy:
        await _read_on(first)
    if not lab.facts["over while unread"]:
        lab.facts["over once read"] = await _until_over(lab, job, "unread again", ENDING_S)
    async with lab.shared.heavy:
        await _resume(lab, job, first, "resumed unread 0")
        await _resume(lab, job, second, "resumed unread 1")
        await lab.read(job, "unread replay", bulk=True, bound_s=15.0)


async def stall(lab: Lab, job: Job, label: str) -> StalledReader:
    """A reader that has its head and reads nothing more."""
    reader = StalledReader(
        lab.client,
        job.stream,
        label=label,
        headers=[("Accept", "text/event-stream"), ("Cache-Control", "no-store")],
        info={"job": job.job_id, "after": None},
    )
    lab.follow(reader)
    if not await reader.open(10.0):
        raise Unable(f"{label}: no stream was opened ({reader.status or reader.end})")
    return reader


async def _read_on(reader: StalledReader) -> None:
    """Read until all has come, or until not even TCP explains the silence.

    What the stalled reader's kernel had no room for is sent again after pauses that double (RFC
    6298 §5.5): after a stall nothing may come for as long as the stall lasted.
    """
    await reader.read_on(max(CATCH_UP_S, reader.stalled_s + SILENT_S + 1.0))


async def _resume(lab: Lab, job: Job, reader: StalledReader, label: str) -> None:
    """Come back with the cursor, as a reader that was cut before its end does."""
    if reader.end is End.TIMEOUT:
        return  # it hangs: nothing more came although it was read
    own = [b for b in reader.recording().blocks if lab.is_log(b) and b.event is not None]
    if any(b.event.type in lab.profile.events.terminal for b in own if b.event is not None):
        return
    cursor = next((b.own_id for b in reversed(own) if b.own_id), None)
    await lab.read(job, label, cursor=cursor, bulk=True, bound_s=15.0)


async def _until_over(lab: Lab, job: Job, name: str, within_s: float) -> bool:
    """Ask a page near the log's end, which costs little, until it tells that the job is over."""
    deadline = lab.now() + within_s
    number = 0
    while lab.now() < deadline:
        page = await lab.poll(job, f"{name} look {number}", after=str(EVENTS - 1), limit=1)
        body = page.json
        if page.status != 200 or not isinstance(body, dict):
            return await until_over(lab, job, deadline - lab.now())
        if body.get("status") in FINAL:
            return True
        number += 1
        await asyncio.sleep(0.25)
    return False


async def _stands_still(lab: Lab, job: Job) -> bool:
    """Whether the job's log does not grow any more."""
    before = await lab.snapshot(job, "unread still 0")
    await asyncio.sleep(2.0)
    after = await lab.snapshot(job, "unread still 1")
    cursors = [each.json.get("cursor") for each in (before, after) if _shows_running(each)]
    return len(cursors) == 2 and cursors[0] == cursors[1]


def _shows_running(snapshot: Recording) -> bool:
    """Neither a snapshot that could not be had nor a job that is over tells of a standstill."""
    body = snapshot.json
    return (
        snapshot.status == 200
        and isinstance(body, dict)
        and body.get("cursor") is not None
        and body.get("status") not in FINAL
    )


async def _natural(lab: Lab) -> None:
    """The target's own job may happen to be large enough."""
    job, first = lab.natural()
    lab.adopt(first, job.started)
    reader = await stall(lab, job, "stalled 0")
    await first.until(lab.ended, max(1.0, min(NATURAL_WATCH_S, lab.left_s() - 40.0)))
    lab.facts.update(full=False, held_s=0.0)
    async with lab.shared.heavy:
        await _read_on(reader)
    await _resume(lab, job, reader, "resumed stalled 0")


async def slow(lab: Lab) -> None:
    """A large event, read at the pace of a bad mobile network."""
    if not lab.shared.shaped:
        raise Unable("an event of 1 MiB needs a job whose texts can be chosen")
    for events in SHORT_LOGS:
        shape = script(events, 0, payload_bytes=BIG_TEXT_BYTES)
        job = await lab.start(f"start {events}", shape)
        if not await _until_over(lab, job, f"waiting {events}", ENDING_S):
            raise Unable(f"a job with a text of 1 MiB was not over within {ENDING_S:.0f} s")
        replay = await lab.read(job, f"replay {events}", bound_s=10.0)
        if sum(len(read.data) for read in replay.reads) > BIG_TEXT_BYTES:
            break
    reader = await stall(lab, job, "slow reader")
    lab.expect("an event of 1 MiB to be read at 64 KiB/s", BIG_TEXT_BYTES / SLOW_BYTES_PER_S)
    await reader.read_slowly(SLOW_BYTES_PER_S, SLOW_BOUND_S)
    await reader.leave()
