"""A finished job's log, read in every way there is: whole, from every cursor, by pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import End
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .ending import natural_s
from .over import until_over
from .shapes import LONG_LOG

AT_ONCE = 12
"""Streams of the every-cursor sweep that are open together."""
CURSORS_MAX = 400
STUCK_MAX = 6
"""After so many streams that never end, the others would only use up the run's time."""
PAGE_LIMITS = (1, 7, 100, 1000)
PAGES_MAX = 60
OPEN_EVENTS = 6
OPEN_CURSORS = 4
OPEN_READ_S = 18.0
OPEN_SUFFIX_S = 4.0
UNTOLD_END_S = 10.0
"""For the end of a shaped job whose reader was sent away before it."""


async def log(lab: Lab) -> None:
    """Finish a job, then read it back from everywhere."""
    if reason := lab.shared.one_reader():
        raise Unable(reason)
    job = await _finished_job(lab)
    if not lab.profile.events.terminal:
        # Whether this log is over shows only when it is read twice, some time apart.
        await lab.read(job, "replay 0")
    await asyncio.gather(
        lab.read(job, "replay 1"),
        lab.read(job, "replay 2"),
        lab.read(job, "replay empty header", cursor=""),
        lab.snapshot(job, "snapshot 1"),
    )
    ids = _ids(lab, "replay 1")
    if not ids:
        raise Unable("a replay of the finished job shows no event with an id")
    lab.facts["job"] = job.job_id
    if not lab.profile.events.terminal and ids != _ids(lab, "replay 0"):
        lab.facts["goes_on"] = True
        raise Unable("the log goes on: two readings of it, one after the other, end differently")
    await together(
        _every_cursor(lab, job, ids),
        _pages(lab, job),
        _edges(lab, job, ids),
        *(
            lab.read(lab.at_instance(job, n), f"instance {n + 1}")
            for n in range(1, len(lab.instances))
        ),
    )


async def _finished_job(lab: Lab) -> Job:
    if lab.shared.shaped:
        job = await lab.start("start", LONG_LOG)
        reader = lab.stream(job, "reader", bound_s=40.0)
        await reader.until(lab.ended, 35.0)
        if not lab.ended(reader) and reader.end is not None:
            await until_over(lab, job, UNTOLD_END_S)
        return job
    job, reader = lab.natural()
    within_s = natural_s(lab)
    lab.expect("the natural end of the target's own job", within_s)
    await asyncio.gather(reader.until(lab.ended, within_s), _while_it_goes_on(lab, job))
    if not lab.ended(reader) and lab.shared.has("cancel"):
        await lab.cancel(job, "cancel to end it")
        await reader.until(lab.ended, 10.0)
    if not lab.ended(reader):
        raise Unable(f"the target's own job did not end within {within_s:.0f} s")
    return job


async def _while_it_goes_on(lab: Lab, job: Job) -> None:
    """Resume after the newest events of a log that nobody says will end, while it is read on."""
    if lab.profile.events.terminal or not lab.shared.has("resume"):
        return
    reader = lab.stream(job, "open reader", bound_s=OPEN_READ_S)
    await reader.until(lab.seen(OPEN_EVENTS), OPEN_READ_S - 2 * OPEN_SUFFIX_S)
    ids = [b.own_id for b in reader.blocks if lab.is_log(b) and b.own_id]
    known = len(ids)
    suffixes = {
        place: lab.stream(
            job, f"open suffix {ids[place]}", cursor=ids[place], bound_s=OPEN_SUFFIX_S
        )
        for place in range(max(0, known - 1 - OPEN_CURSORS), known - 1)
    }
    await asyncio.gather(
        *(live.until(lab.seen(known - 1 - k), OPEN_SUFFIX_S) for k, live in suffixes.items())
    )
    for live in (*suffixes.values(), reader):
        await live.leave()


def _ids(lab: Lab, label: str) -> list[str]:
    recording = lab.recorded(label)
    return [b.own_id for b in recording.blocks if lab.is_log(b) and b.own_id]


async def _every_cursor(lab: Lab, job: Job, ids: Sequence[str]) -> None:
    """Resume after every event, on the stream and by polling."""
    some = ids if len(ids) <= CURSORS_MAX else ids[:: len(ids) // CURSORS_MAX + 1]
    limit = asyncio.Semaphore(AT_ONCE)

    stuck = 0

    async def resume(k: str) -> None:
        nonlocal stuck
        async with limit:
            if stuck < STUCK_MAX:
                suffix = await lab.read(job, f"suffix {k}", cursor=k, bulk=True, bound_s=20.0)
                stuck += suffix.end is End.TIMEOUT

    async def poll(k: str) -> None:
        async with limit:
            await lab.poll(job, f"after {k}", after=k, limit=1000)

    async with lab.shared.heavy:
        await asyncio.gather(*map(resume, some[:-1]), *map(poll, some))


async def _pages(lab: Lab, job: Job) -> None:
    """The whole log by polling, in pages of several sizes."""
    for limit in PAGE_LIMITS:
        after: str | None = None
        for number in range(PAGES_MAX):
            page = await lab.poll(job, f"page {limit}/{number}", after=after, limit=limit)
            body = page.json
            if page.status != 200 or not isinstance(body, dict):
                break
            after = str(body.get("cursor"))
            if not body.get("has_more"):
                break


async def _edges(lab: Lab, job: Job, ids: Sequence[str]) -> None:
    """The terminal cursor, the query cursor, limits out of bounds, revalidation."""
    last, middle = ids[-1], ids[len(ids) // 2]
    escaped = "".join(f"%{octet:02X}" for octet in middle.encode())
    name = lab.profile.api.cursor_query
    known = lab.shared.has("snapshot") and job.snapshot
    first = lab.recorded("snapshot 1") if known else None
    etag = first.header("etag") if first is not None else None
    await asyncio.gather(
        lab.read(job, "terminal cursor", cursor=last, bound_s=8.0),
        lab.read(job, "terminal cursor again", cursor=last, bound_s=8.0),
        lab.read(job, "query cursor", query=f"{name}={middle}", info={"query": middle}),
        lab.read(job, "query escaped", query=f"{name}={escaped}", info={"query": middle}),
        lab.poll(job, "poll whole"),
        lab.poll(job, "poll at the end", after=last),
        lab.poll(job, "poll at the end again", after=last),
        lab.snapshot(job, "snapshot 2"),
        *(
            lab.ask(
                "GET",
                f"{job.events}?limit={value}",
                label=f"limit {value}",
                info={"job": job.job_id},
            )
            for value in ("0", "1001", "-1", "x", "1.5")
        ),
        *(
            [lab.snapshot(job, "snapshot 304", headers=[("If-None-Match", etag)])]
            if etag and first is not None and first.status == 200
            else []
        ),
    )
