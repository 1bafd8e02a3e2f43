"""A hundred jobs at once, each with a text of its own, and cursors carried from one to another."""

from __future__ import annotations

import asyncio

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.verdict import Unable

from .canaries import canary
from .shapes import script

JOBS = 100
AT_ONCE = 20
EVENTS = 10
"""A full round of types, so that the text is among them whichever comes first."""
PAUSE_MS = 2000
"""All of them are in mid-run at the same time."""
LONG_EVENTS = 40
READ_BOUND_S = 15.0


async def crowd(lab: Lab) -> None:
    """Start them, watch each from its first event to its last, then look at every other view."""
    if not lab.shared.shaped:
        raise Unable("a hundred jobs at once need jobs that can be shaped")
    limit = asyncio.Semaphore(AT_ONCE)
    foreign = await _job(lab, "long", LONG_EVENTS, 0)
    async with lab.shared.heavy:
        began = await asyncio.gather(*(_begin(lab, number, limit) for number in range(JOBS)))
    pairs = [pair for pair in began if pair is not None]
    await asyncio.gather(*(stream.finish() for _, stream in pairs))
    async with lab.shared.heavy:
        await asyncio.gather(*(_look(lab, n, job, limit) for n, (job, _) in enumerate(pairs)))
    known = [job for job, _ in pairs]
    await carry_cursors(lab, foreign, known[:2], "long replay")


async def _job(lab: Lab, name: str, events: int, pause_ms: int) -> Job:
    word = canary("crowd")
    lab.facts.setdefault("canaries", {})
    pauses = [[3, pause_ms]] if pause_ms else []
    job = await lab.start(f"{name} start", script(events, 0, payload=word, pauses=pauses))
    lab.facts["canaries"][job.job_id] = word
    return job


async def _begin(
    lab: Lab, number: int, limit: asyncio.Semaphore
) -> tuple[Job, LiveExchange] | None:
    """A job and its reader; it goes on by itself."""
    try:
        async with limit:
            job = await _job(lab, f"job {number}", EVENTS, PAUSE_MS)
            stream = lab.stream(job, f"reader {number}", bound_s=READ_BOUND_S, bulk=True)
            await stream.until(lab.opened, READ_BOUND_S)
            if number % 3 == 0:
                await lab.snapshot(job, f"early snapshot {number}")
            elif number % 3 == 1:
                await lab.poll(job, f"early poll {number}")
    except Unable as reason:
        lab.facts.setdefault("refused", str(reason))
        return None
    return job, stream


async def _look(lab: Lab, number: int, job: Job, limit: asyncio.Semaphore) -> None:
    """The other views of a job that is over: each of a third of them."""
    async with limit:
        if number % 3 == 0:
            await lab.snapshot(job, f"snapshot {number}")
        elif number % 3 == 1:
            await lab.poll(job, f"poll {number}")
        else:
            await lab.read(job, f"replay {number}", bound_s=READ_BOUND_S, bulk=True)


async def carry_cursors(lab: Lab, foreign: Job, jobs: list[Job], label: str) -> None:
    """Ask jobs for what follows an event of another job, and an event that nobody has."""
    replay = await lab.read(foreign, label, bound_s=READ_BOUND_S)
    ids = [block.own_id for block in replay.blocks if lab.is_log(block) and block.own_id]
    if len(ids) < 4:
        raise Unable("no stream of the foreign job showed ids that could be carried over")
    lab.facts["foreign"] = foreign.job_id
    cases = {"middle": ids[len(ids) // 2], "late": ids[-2], "nobody": _unused(ids[-2])}
    for number, job in enumerate(jobs):
        for name, cursor in cases.items():
            query = f"{lab.profile.api.cursor_query}={cursor}"
            await asyncio.gather(
                lab.read(job, f"carried header {number} {name}", cursor=cursor, bound_s=5.0),
                lab.read(job, f"carried query {number} {name}", query=query, bound_s=5.0),
                lab.poll(job, f"carried poll {number} {name}", after=cursor),
            )


def _unused(cursor: str) -> str:
    """An id of the same form that was given to no event."""
    if cursor.isdigit():
        return str(int(cursor) + 1_000_000)
    turned = "".join(_turned(character) for character in reversed(cursor[-8:]))
    return cursor[:-8] + turned


def _turned(character: str) -> str:
    if character.isdigit():
        return str(9 - int(character))
    if character.lower() in "abcdef":
        return chr(ord("a") + ord("f") - ord(character.lower()))
    return character
