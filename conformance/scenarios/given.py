"""A stream that the suite did not start a job for, or that is all there is of its job.

Some targets can only be read: a URL that streams, a job that the user named, or a request whose
answer is the stream itself. One stream then has to serve every check that can be served at all.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from streamgauge.client import LiveExchange
from streamgauge.collect import Unreachable
from streamgauge.job import Given, Job
from streamgauge.lab import Lab
from streamgauge.recording import End, Recording, Request, outcome
from streamgauge.verdict import Unable

READER = "reader 0"
GIVEN = "given"
HEAD_WITHIN_S = 15.0
FIRST_EVENT_WITHIN_S = 20.0
SECOND_WITHIN_S = 4.0
STREAM_BOUND_S = 3600.0
NO_STARTS = ("shape", "cancel", "wait_for_subscriber", "idempotency", "long_poll", "validators")


async def the_only_stream(lab: Lab) -> None:
    """Open the stream that everything is judged by, and look what it offers."""
    shared = lab.shared
    if lab.profile.api.start_streams:
        job, reader = started_stream(lab, READER, 1)
    else:
        job = given_job(lab, shared.given or Given())
        reader = lab.stream(job, READER, bound_s=STREAM_BOUND_S, own=False)
    shared.natural, shared.natural_reader = job, reader
    why = "not looked for: nothing is started"
    for part in NO_STARTS:
        if getattr(lab.profile.capabilities, part) is not False:
            shared.found.setdefault(part, why)
    await reader.until(lambda live: live.status is not None, HEAD_WITHIN_S)
    first = reader.recording()
    if reader.status is None and reader.end is End.REFUSED:
        raise Unreachable(f"{lab.client.base_url}: no connection ({reader.error})")
    if not first.is_stream:
        seen = outcome(first) + (f", {first.media_type}" if first.media_type else "")
        # Kept, so that the report shows what came instead of a stream.
        lab.adopt(reader, job.started)
        raise Unable(f"{lab.client.secrets.shown(job.stream)} is no event stream: {seen}")
    await reader.until(lab.seen(1), FIRST_EVENT_WITHIN_S)
    await look_for_reading(lab)


def started_stream(
    lab: Lab, label: str, number: int, headers: tuple[tuple[str, str], ...] = ()
) -> tuple[Job, LiveExchange]:
    """Send a start whose answer is the stream."""
    name = f"stream {number}"
    reader = lab.client.open(
        lab.profile.api.start,
        label=label,
        method="POST",
        headers=[
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream"),
            *lab.start_headers(lab.new_client())[2:],
            *headers,
        ],
        body=lab.start_body(None),
        bound_s=STREAM_BOUND_S,
        info={"job": name, "made": name, "after": None},
    )
    url = lab.client.url(lab.profile.api.start)
    return Job(name, url, "", "", "", "", _nothing(lab, url), None), reader


def given_job(lab: Lab, given: Given) -> Job:
    """The job that the user named, or the one that the address itself is the stream of."""
    if given.stream or not lab.profile.api.stream:
        url = given.stream or lab.client.base_url
        if not urlsplit(url).path:
            url += "/"
        started = _nothing(lab, url)
        if not given.job_id:
            return Job("given", url, "", "", "", "", started, None)
        return replace(lab.job_at(given.job_id, started, {}), stream=url)
    return lab.job_at(given.job_id, _nothing(lab, lab.client.base_url), {})


def _nothing(lab: Lab, url: str) -> Recording:
    """Stands where a start's answer would: there was none."""
    now = lab.now()
    return Recording(GIVEN, Request("GET", url), now, ended_at=now, end=End.LEFT)


async def look_for_reading(lab: Lab) -> None:
    """Whether events have ids, and whether a second reader gets the log from its beginning.

    A second reader may take events from the first: where jobs can be started, it gets its own.
    """
    shared, capabilities = lab.shared, lab.profile.capabilities
    reader, job = shared.natural_reader, shared.natural
    if reader is None or job is None or "auto" not in (capabilities.resume, capabilities.replay):
        return
    if capabilities.replay == "auto" and lab.profile.api.start and not shared.client.reads_only:
        job = await lab.start("look start")
        reader = lab.stream(job, "first reader", bound_s=FIRST_EVENT_WITHIN_S + 10.0)
        await reader.until(lab.seen(1), FIRST_EVENT_WITHIN_S)
    log = [block for block in reader.blocks if lab.is_log(block)]
    if not log:
        shared.found.setdefault("resume", "no event was seen in time")
        shared.found.setdefault("replay", "no event was seen in time")
        return
    shared.found["resume"] = "" if log[0].own_id else "no event carries an id"
    if capabilities.join is False or capabilities.replay != "auto":
        return
    second = lab.stream(job, "second reader", bound_s=SECOND_WITHIN_S + 1.0)
    await second.until(lab.seen(1), SECOND_WITHIN_S)
    shown = [block for block in second.blocks if lab.is_log(block)]
    same = bool(shown) and shown[0].event == log[0].event
    shared.found["replay"] = "" if same else _instead(bool(shown))
    await second.leave()


def _instead(came: bool) -> str:
    if came:
        return "a second reader does not begin with the log's first event"
    return f"a second reader got no event within {SECOND_WITHIN_S:.0f} s"
