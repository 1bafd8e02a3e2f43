"""A proxy that has a path prefix of its own, lower-cases field names, and caches what it may."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import Recording
from streamgauge.relay import Passage, Powers
from streamgauge.verdict import Unable

from .ending import natural_end
from .shapes import script

EVENTS = 24
INTERVAL_MS = 80
PREFIX = "/behind/a-proxy"
LATER_EVENTS = 6
LOWERED = Powers(lower_case=True)
CACHING = Powers(cache=True)
BOUND_S = 20.0


async def caching(lab: Lab) -> None:
    """Use all views of one job through it, while it runs and afterwards."""
    passage = await lab.passage()
    job = await _job(lab, passage)
    lab.facts["job"] = job.job_id
    reader = lab.stream(job, "reader", bound_s=max(BOUND_S, lab.left_s() - 20.0))
    await reader.until(lab.seen(2), 5.0)
    await _views(lab, passage, job, "early")
    await reader.until(lab.seen(2 + LATER_EVENTS), 10.0)
    await lab.poll(job, "direct poll")
    await _views(lab, passage, job, "late")
    await asyncio.gather(
        _stream(
            lab, passage, job, "cached while running", bound_s=max(BOUND_S, lab.left_s() - 20.0)
        ),
        reader.until(lab.ended, BOUND_S) if lab.shared.shaped else natural_end(lab),
    )
    await lab.read(job, "final replay", bound_s=10.0)
    ids = [b.own_id for b in lab.recorded("final replay").blocks if lab.is_log(b) and b.own_id]
    if not ids:
        raise Unable("a replay of the finished job shows no event with an id")
    middle = ids[len(ids) // 2]
    await _stream(lab, passage, job, "cached whole")
    await _stream(lab, passage, job, f"cached after {middle}", cursor=middle)
    await _behind_a_prefix(lab, passage, job, middle)


async def _job(lab: Lab, passage: Passage) -> Job:
    """A job that was started through the proxy, so that its client id has come through as well."""
    if not lab.shared.shaped:
        return lab.shared_job()
    client, shape = lab.new_client(), script(EVENTS, INTERVAL_MS)
    answer = await lab.ask(
        "POST",
        lab.profile.api.start,
        label="start",
        headers=lab.start_headers(client),
        body=lab.start_body(shape),
        info={"shape": shape, "client": client, "wait": False},
        via=passage.via(LOWERED, prefix=PREFIX),
    )
    lab.facts["started_through"] = True
    return lab.job_of(answer) or await lab.start("start again", shape)


async def _views(lab: Lab, passage: Passage, job: Job, when: str) -> None:
    """A page and a snapshot through the cache, asked for as a script without a cache would."""
    for name, url in (("poll", job.events), ("snapshot", job.snapshot)):
        await lab.ask(
            "GET",
            url,
            label=f"cached {name} {when}",
            headers=[("Accept", "application/json")],
            info={"job": job.job_id, **({"after": None} if name == "poll" else {})},
            via=passage.via(CACHING),
        )


async def _stream(
    lab: Lab,
    passage: Passage,
    job: Job,
    label: str,
    cursor: str | None = None,
    bound_s: float = BOUND_S,
) -> Recording:
    return await lab.ask(
        "GET",
        job.stream,
        label=label,
        headers=_stream_headers(cursor),
        bound_s=bound_s,
        info={"job": job.job_id, "after": cursor},
        via=passage.via(CACHING),
    )


def _stream_headers(cursor: str | None) -> Iterable[tuple[str, str]]:
    return [("Accept", "text/event-stream"), *([("Last-Event-ID", cursor)] if cursor else [])]


async def _behind_a_prefix(lab: Lab, passage: Passage, job: Job, middle: str) -> None:
    """Header and query cursors, in lower case and below a prefix."""

    async def read(label: str, **how: Any) -> None:
        via = passage.via(LOWERED, prefix=PREFIX)
        await lab.read(job, f"prefixed {label}", bound_s=10.0, via=via, **how)

    query = f"{lab.profile.api.cursor_query}={quote(middle, safe='')}"
    asked: dict[str, Any] = {"query": query, "info": {"query": middle}}
    await asyncio.gather(
        lab.read(job, "direct resume", cursor=middle, bound_s=10.0),
        lab.read(job, "direct query", bound_s=10.0, **asked),
        read("whole"),
        read("header", cursor=middle),
        read("query", **asked),
    )
