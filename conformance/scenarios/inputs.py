"""Requests that are wrong, odd or unusual: cursors, methods, negotiation, unknown jobs."""

from __future__ import annotations

import asyncio
import uuid
from urllib.parse import quote

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .ending import natural_s
from .over import until_over
from .shapes import script

#: name -> a cursor that no grammar of decimal integers allows.
MALFORMED = {
    "leading zero": "01",
    "plus": "+1",
    "minus": "-1",
    "exponent": "1e3",
    "fraction": "1.0",
    "words": "abc",
    "too big": str(2**63),
    "8 KiB": "9" * 8192,
}
#: Only a query can carry these.
MALFORMED_QUERY = {"nul": "%00", "blank inside": "1%202", "hex": "0x10", "wide digit": "%EF%BC%91"}
STREAM_BOUND_S = 5.0
SMALL = 12


async def inputs(lab: Lab) -> None:
    """One finished job and one foreign job; everything odd is asked of the finished one."""
    if reason := lab.shared.one_reader():
        raise Unable(reason)
    if lab.shared.shaped:
        job = await lab.start("start", script(SMALL))
        other = await lab.start("start other", script(40))
        for name, each in (("reader", job), ("other reader", other)):
            live = lab.stream(each, name, bound_s=15.0)
            await live.until(lab.ended, 10.0)
            if not lab.ended(live) and live.end is not None:
                await until_over(lab, each, 5.0)
    else:
        job, reader = lab.natural()
        other = None
        await reader.until(lab.ended, natural_s(lab))
        if not lab.ended(reader):
            raise Unable("the target's own job did not end in time for this")
    lab.facts["job"] = job.job_id
    await lab.read(job, "replay", bound_s=10.0)
    await together(
        _cursors(lab, job),
        _precedence(lab, job, other),
        _negotiation(lab, job),
        _methods(lab, job),
        _unknown(lab),
        _no_body(lab, job),
    )


async def _cursors(lab: Lab, job: Job) -> None:
    """Cursors that are none; where nothing is promised about them, each may cost a whole wait."""
    if lab.profile.capabilities.strict_cursors is False:
        return
    for name, value in MALFORMED.items():
        await lab.read(job, f"malformed header {name}", cursor=value, bound_s=STREAM_BOUND_S)
        query = f"{lab.profile.api.cursor_query}={quote(value, safe='')}"
        await lab.read(job, f"malformed query {name}", query=query, bound_s=STREAM_BOUND_S)
        await lab.poll(job, f"malformed poll {name}", after=value)
    for name, escaped in MALFORMED_QUERY.items():
        query = f"{lab.profile.api.cursor_query}={escaped}"
        await lab.read(job, f"malformed query {name}", query=query, bound_s=STREAM_BOUND_S)
        await _get(lab, job, f"malformed poll {name}", f"after={escaped}")
    await _get(lab, job, "malformed poll repeated", "after=1&after=2")
    await _get(lab, job, "poll empty after", "after=")
    await _get(lab, job, "poll empty limit", "limit=")
    await _get(lab, job, "poll empty wait", "wait=")
    await _get(lab, job, "poll unknown parameter", "after=1&streamgauge=1")
    for name, ahead in (("just", 1), ("far", 1000)):
        last = _last(lab)
        if last is not None:
            cursor = str(last + ahead)
            await lab.read(job, f"ahead {name}", cursor=cursor, bound_s=STREAM_BOUND_S)
            await lab.poll(job, f"ahead poll {name}", after=cursor)


async def _get(lab: Lab, job: Job, label: str, query: str) -> None:
    await lab.ask("GET", f"{job.events}?{query}", label=label, info={"job": job.job_id})


def _last(lab: Lab) -> int | None:
    """The finished job's last id as a number, where ids are numbers."""
    blocks = lab.recorded("replay").blocks
    ids = [b.own_id for b in blocks if lab.is_log(b) and b.own_id]
    return int(ids[-1]) if ids and ids[-1].isdigit() else None


async def _precedence(lab: Lab, job: Job, other: Job | None) -> None:
    name = lab.profile.api.cursor_query
    blocks = lab.recorded("replay").blocks
    ids = [b.own_id for b in blocks if lab.is_log(b) and b.own_id]
    if len(ids) < 4:
        return
    early, late = ids[0], ids[2]
    twice = [("Last-Event-ID", early), ("Last-Event-ID", late)]
    await asyncio.gather(
        lab.read(job, "header over query", cursor=late, query=f"{name}={early}"),
        lab.read(job, "header over bad query", cursor=late, query=f"{name}=x"),
        lab.read(job, "empty header, query", cursor="", query=f"{name}={late}"),
        lab.read(job, "repeated header", headers=twice, bound_s=STREAM_BOUND_S),
        lab.read(job, "repeated query", query=f"{name}={early}&{name}={late}"),
    )
    if other is not None:
        foreign = [
            b.own_id for b in lab.recorded("other reader").blocks if lab.is_log(b) and b.own_id
        ]
        # None where that job's reader was sent away before the first event.
        for n, cursor in enumerate((*foreign[2:3], *foreign[-1:])):
            await lab.read(job, f"foreign cursor {n}", cursor=cursor, bound_s=STREAM_BOUND_S)


async def _negotiation(lab: Lab, job: Job) -> None:
    for name, accept in (
        ("json", "application/json"),
        ("html", "text/html"),
        ("excluded", "text/event-stream;q=0, text/html"),
    ):
        await lab.read(job, f"accept {name}", headers=[("Accept", accept)], bound_s=STREAM_BOUND_S)
    for name, accept in (
        ("any", "*/*"),
        ("text", "text/*"),
        ("listed", "text/html, text/event-stream"),
    ):
        await lab.read(job, f"accept {name}", headers=[("Accept", accept)], bound_s=STREAM_BOUND_S)
    origin = lab.profile.api.origin
    await lab.read(job, "with origin", headers=[("Origin", origin)], bound_s=STREAM_BOUND_S)


async def _methods(lab: Lab, job: Job) -> None:
    api = lab.profile.api
    for name, url in (("stream", job.stream), ("snapshot", job.snapshot), ("events", job.events)):
        await lab.raw("HEAD", url, label=f"head {name}", headers=(("Accept", "*/*"),))
    for name, method, url in (
        ("stream delete", "DELETE", job.stream),
        ("stream post", "POST", job.stream),
        ("snapshot post", "POST", job.snapshot),
        ("events put", "PUT", job.events),
        ("start get", "GET", api.start),
        ("stream unknown", "STREAMGAUGE", job.stream),
    ):
        await lab.ask(method, url, label=f"method {name}", bound_s=STREAM_BOUND_S)


async def _unknown(lab: Lab) -> None:
    api = lab.profile.api
    nobody = str(uuid.uuid4())
    known = lab.shared.has
    for name, path in (
        ("stream", api.stream),
        ("snapshot", api.snapshot if known("snapshot") else ""),
        ("events", api.events if known("polling") else ""),
    ):
        await lab.ask(
            "GET",
            path.replace("{job_id}", nobody),
            label=f"unknown job {name}",
            headers=[("Accept", "*/*")],
            bound_s=STREAM_BOUND_S,
        )
    headers = lab.start_headers(lab.new_client())
    plain = [(n, "text/plain" if n == "Content-Type" else v) for n, v in headers]
    for name, sent, body in (
        ("not json", headers, b"{"),
        ("not an object", headers, b"[]"),
        ("no fields", headers, b"{}"),
        ("not declared json", plain, b"{}"),
    ):
        if lab.shared.jobs.limited and lab.shared.jobs.left < 1:
            return  # a target that accepted one of these would start more jobs than allowed
        await lab.ask("POST", api.start, label=f"bad start {name}", headers=sent, body=body)


async def _no_body(lab: Lab, job: Job) -> None:
    """What stands behind answers that must have no body."""
    last = next(
        (b.own_id for b in reversed(lab.recorded("replay").blocks) if lab.is_log(b) and b.own_id),
        None,
    )
    if last is not None:
        headers = (("Accept", "text/event-stream"), ("Last-Event-ID", last))
        await lab.raw("GET", job.stream, label="bare terminal", headers=headers)
    etag = (await lab.snapshot(job, "snapshot")).header("etag")
    if etag:
        headers = (("Accept", "application/json"), ("If-None-Match", etag))
        await lab.raw("GET", job.snapshot, label="bare 304", headers=headers)
