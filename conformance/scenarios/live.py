"""A job while it runs: readers from the start, joiners, leavers, snapshots and polls."""

from __future__ import annotations

import asyncio

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.scenario import together

from .ending import natural_s
from .given import started_stream
from .over import until_over
from .shapes import UNICODE_TEXT, script

INTERVAL_MS = 80
LONG_S = 305.0
LONG_INTERVAL_MS = 250
READERS = 5
VIEWS = 40
"""How many snapshots are taken while the job runs; polls are five times as frequent."""
NATURAL_WATCH_S = 60.0
JOIN_SHARES = (0.2, 0.5, 0.8)
"""When joiners come, as shares of the job's length."""
ENDED_S = 30.0
OPEN_S = 3.0
"""So much longer than the job itself its readers stay; the latter where it may have no end."""
NATURAL_JOIN_SHARES = (0.03, 0.1, 0.2)
"""The same where nobody knows how long the job will take: early enough for a short one."""
CODED_EVENTS = 6
CODED_S = 12.0
ENDING_S = 20.0
"""How much longer than its script a job is waited for when no stream tells of its end."""


async def live(lab: Lab) -> None:
    """Watch one running job from many sides."""
    lasts_s = lab.profile.declared.heartbeat_s + lab.profile.declared.heartbeat_margin_s + 1.0
    interval_ms = INTERVAL_MS
    if lab.shared.long:
        lasts_s, interval_ms = LONG_S, LONG_INTERVAL_MS
    if lab.shared.shaped:
        events = int(lasts_s * 1000 / interval_ms)
        job = await lab.start("start", script(events, interval_ms, payload=UNICODE_TEXT))
        first = lab.stream(job, "reader 0", bound_s=lasts_s + 30.0)
    else:
        job, first = lab.natural()
        lab.adopt(first, job.started)
        lasts_s = natural_s(lab, NATURAL_WATCH_S, 30.0)
    lab.facts["job"] = job.job_id
    lab.expect("a running job, watched from many sides", lasts_s)
    ends = lab.shared.shaped or lab.profile.events.terminal
    bound_s = min(lasts_s + (ENDED_S if ends else OPEN_S), lab.left_s())
    if lab.shared.one_reader():
        await together(_until_end(lab, [first], lasts_s), _coded(lab))
        return
    readers = [lab.stream(job, f"reader {n}", bound_s=bound_s) for n in range(1, READERS)]
    coded = lab.stream(
        job,
        "coded reader",
        headers=[("Accept-Encoding", "gzip, br, zstd")],
        bound_s=bound_s,
    )
    watchers = [
        _snapshots(lab, job, first, max(1.0, lasts_s / VIEWS)),
        _polls(lab, job, first, max(0.25, lasts_s / VIEWS / 5)),
        _joiners(lab, job, lasts_s, bound_s),
        _leavers(lab, job, first),
        _tails(lab, job, first, bound_s),
        _ahead(lab, job, first, bound_s),
    ]
    await together(*watchers)
    await _until_end(lab, [first, *readers, coded], bound_s)
    if not any(map(lab.ended, [first, *readers, coded])):
        await until_over(lab, job, job.started.ended_at + lasts_s + ENDING_S - lab.now())
    await asyncio.gather(
        lab.read(job, "final replay", bound_s=10.0),
        lab.poll(job, "final poll", limit=1000),
        lab.snapshot(job, "final snapshot"),
    )


async def _coded(lab: Lab) -> None:
    """A stream of its own job that offers compression, where one may be started."""
    if lab.shared.client.reads_only:
        return
    offer = ("Accept-Encoding", "gzip, br, zstd")
    if lab.profile.api.start_streams:
        _, coded = started_stream(lab, "coded reader", 2, (offer,))
        lab.watch(coded)
    else:
        job = await lab.start("coded start")
        coded = lab.stream(job, "coded reader", headers=[offer], bound_s=NATURAL_WATCH_S)
    # Some events tell; such a job may well wait at a gate that nobody opens.
    await coded.until(lab.seen(CODED_EVENTS), CODED_S)


async def _until_end(lab: Lab, readers: list[LiveExchange], within_s: float) -> None:
    """Until every reader has seen the terminal event and its connection has ended."""
    close_s = lab.profile.declared.close_s
    await asyncio.gather(*(reader.until(lab.ended, within_s) for reader in readers))
    await asyncio.gather(
        *(r.until(lambda each: each.end is not None, close_s + 1.0) for r in readers)
    )


async def _snapshots(lab: Lab, job: Job, first: LiveExchange, every_s: float) -> None:
    for number in range(2 * VIEWS):
        await lab.snapshot(job, f"snapshot {number}")
        if lab.ended(first) or await first.until(lab.ended, every_s):
            break
    await lab.snapshot(job, "snapshot after the end")


async def _polls(lab: Lab, job: Job, first: LiveExchange, every_s: float) -> None:
    """Follow the log by polling, as a client without streams does."""
    after: str | None = None
    for number in range(10 * VIEWS):
        page = await lab.poll(job, f"poll {number}", after=after, limit=500)
        body = page.json
        if not isinstance(body, dict) or body.get("done"):
            break
        if body.get("cursor") is not None:
            after = str(body["cursor"])
        if first.end is not None and number > 1 and lab.ended(first):
            continue
        await first.until(lab.ended, every_s)


async def _joiners(lab: Lab, job: Job, lasts_s: float, bound_s: float) -> None:
    """Join without a cursor at three moments of the run and stay to the end."""
    began = lab.now()
    joined = []
    shares = JOIN_SHARES if lab.shared.shaped else NATURAL_JOIN_SHARES
    for number, share in enumerate(shares):
        await asyncio.sleep(max(0.0, began + lasts_s * share - lab.now()))
        joined.append(lab.stream(job, f"joiner {number}", bound_s=bound_s))
    await _until_end(lab, joined, bound_s)


async def _leavers(lab: Lab, job: Job, first: LiveExchange) -> None:
    """Come, read a little and go, while the others stay."""
    for number in range(3):
        leaver = lab.stream(job, f"leaver {number}", bound_s=30.0)
        await leaver.until(lab.seen(3), 5.0)
        await leaver.leave()
        if await first.until(lab.ended, 2.0):
            return


async def _tails(lab: Lab, job: Job, first: LiveExchange, bound_s: float) -> None:
    """Resume from the newest event that another reader has just shown."""
    tails = []
    for number in range(3):
        if await first.until(lab.ended, 2.0):
            break
        newest = lab.newest(first)
        if newest:
            tails.append(lab.stream(job, f"tail {number}", cursor=newest, bound_s=bound_s))
    await _until_end(lab, tails, bound_s)


async def _ahead(lab: Lab, job: Job, first: LiveExchange, bound_s: float) -> None:
    """Ask for what comes after an event that does not exist yet, and let the log catch up."""
    await first.until(lab.seen(5), 10.0)
    newest = lab.newest(first)
    if lab.profile.ids.order == "opaque" or not newest.isdigit() or lab.ended(first):
        return
    ahead = lab.stream(job, "ahead", cursor=str(int(newest) + 20), bound_s=bound_s)
    await _until_end(lab, [ahead], bound_s)
