"""Asks a deployment a few harmless questions, or starts one job, and gathers what it answers.

Nothing but GET, HEAD and OPTIONS is sent unless the user allows one start. Every question has a
bound, so has the whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from ..client import Client
from ..clock import RunClock
from ..members import first_at
from ..profile import Profile
from ..profile_file import load_profile
from ..recording import End, Recording
from ..secrets import split_query
from .stream import Seen, look_at

ASK_S = 6.0
OPEN_S = 8.0
AFTER_S = 4.0
DIALECTS = ("resume-optimizer", "resume-agent", "quiz", "article-summarizer")
JOB_PATHS = ("job_id", "session_id", "jobId", "sessionId", "session.id", "id", "data.job_id")


class LookError(Exception):
    """There is nothing at this address to look at; the message is one line for the user."""


@dataclass(slots=True)
class Survey:
    """What was found at an address."""

    url: str
    base: str = "sse"
    """The bundled profile that fits best."""
    sure: str = ""
    """Why that one, in words."""
    stream: Seen | None = None
    job_path: str = ""
    start: Recording | None = None
    quota: int | None = None
    parts: dict[str, tuple[bool, str]] = field(default_factory=dict)
    """Capability -> whether it is there, and how that is known."""
    statuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Member of [declared] -> status code, and how it was seen."""
    notes: list[str] = field(default_factory=list)


async def survey(
    url: str,
    *,
    headers: tuple[tuple[str, str], ...] = (),
    query: tuple[tuple[str, str], ...] = (),
    start: bool = False,
    watch_s: float = 30.0,
    likely: Profile | None = None,
) -> Survey:
    """Look at a deployment.

    Args:
        url: its address, or that of a stream.
        headers: sent with every request.
        query: parameters that every URL gets.
        start: one job may be started.
        watch_s: how long a stream is watched at most.
        likely: what the user says it is; otherwise the bundled profiles are tried.

    Raises:
        LookError: nothing answers there.
    """
    address, told = split_query(url)
    reads_only = "" if start else "a probe without --start only reads"
    client = Client(address, RunClock(), headers, query=(*query, *told), reads_only=reads_only)
    found = Survey(client.secrets.shown(address))
    try:
        if await _is_stream_itself(client, found, address, watch_s):
            return found
        profile = likely or await _recognise(client, found)
        if likely is not None:
            found.base, found.sure = likely.name, "told with --profile"
        if profile is None:
            return found
        if start:
            await _one_job(client, found, profile, watch_s)
        else:
            found.notes.append("nothing was started: allow one job with --start to see its stream")
    finally:
        await client.aclose()
    return found


async def _is_stream_itself(client: Client, found: Survey, address: str, watch_s: float) -> bool:
    """Whether the address streams events; then the stream is all there is to see."""
    target = address if urlsplit(address).path else f"{address}/"
    live = client.open(
        target, label="the address", headers=[("Accept", "text/event-stream")], bound_s=watch_s
    )
    await live.until(lambda each: each.status is not None, OPEN_S)
    if live.status is None and live.end in (End.REFUSED, End.PROTOCOL_ERROR, End.RESET, End.CUT):
        raise LookError(f"{found.url}: no answer ({live.error or live.end.value})")
    if not live.recording().is_stream:
        answer = await live.leave()
        if answer.status is None:
            raise LookError(f"{found.url}: no answer within {OPEN_S:.0f} s")
        return False
    recording = await live.finish()
    found.base, found.sure = "sse", "seen: the address itself answers text/event-stream"
    found.stream = look_at(recording)
    if found.stream.order:
        await _resumes(client, found, target, recording)
    return True


async def _recognise(client: Client, found: Survey) -> Profile | None:
    """The bundled API whose addresses this deployment knows, by questions that change nothing."""
    nowhere = f"/streamgauge-{uuid.uuid4().hex}"
    lost = await client.ask("GET", nowhere, label="nowhere", bound_s=ASK_S)
    scores: list[tuple[int, str, str]] = []
    for name in DIALECTS:
        profile = load_profile(name)
        api = profile.api
        score, told = 0, []
        asked = [("GET", api.start), ("OPTIONS", api.start)]
        if api.stream:
            asked.append(("GET", api.stream.replace("{job_id}", str(uuid.uuid4()))))
        for method, path in asked:
            answer = await client.ask(
                method, path, label=f"{method} {name}", headers=[("Accept", "*/*")], bound_s=ASK_S
            )
            if _knows(answer, lost):
                score += 1
                told.append(f"{method} {path} answers {answer.status}")
        # A start that exists refuses GET; whoever answers 405 there has that address.
        scores.append((score, name, "; ".join(told)))
    best = max(scores, key=lambda each: each[0])
    if not best[0]:
        found.sure = "assumed: no address of a known API answered differently from a wrong one"
        found.notes.append(
            "this does not look like any API that streamgauge knows: give the URL of a stream, "
            "or write [api] by hand"
        )
        return None
    if [each[0] for each in scores].count(best[0]) > 1:
        found.notes.append("several known APIs fit equally well: check `extends`")
    found.base, found.sure = best[1], f"seen: {best[2]}"
    return load_profile(best[1])


def _knows(answer: Recording, lost: Recording) -> bool:
    """Whether an address exists: it answers otherwise than one that cannot."""
    if answer.status is None or answer.status >= 500:
        return False
    allowed = answer.header("allow") or answer.header("access-control-allow-methods") or ""
    if "POST" in allowed.upper() and answer.header("allow") != lost.header("allow"):
        return True
    if answer.status == 405:
        return lost.status != 405
    if answer.status == 404:
        detail, other = answer.json, lost.json
        if isinstance(detail, dict) and isinstance(other, dict):
            return detail.get("detail") != other.get("detail")
        return False
    return answer.request.method == "GET" and answer.status != lost.status


async def _one_job(client: Client, found: Survey, profile: Profile, watch_s: float) -> None:
    """Start one job, watch it, and look at its other views."""
    import json  # noqa: PLC0415  # only a probe that starts something needs it

    api = profile.api
    headers = [("Content-Type", "application/json")]
    if api.client_id_header:
        headers.append((api.client_id_header, str(uuid.uuid4())))
    body = json.dumps(dict(api.start_body)).encode()
    if api.start_streams:
        headers.append(("Accept", "text/event-stream"))
        live = client.open(
            api.start, label="start", method="POST", headers=headers, body=body, bound_s=watch_s
        )
        recording = await live.finish()
        _note_stream(found, recording, "the start")
        return
    headers.append(("Accept", "application/json"))
    answer = await client.ask("POST", api.start, label="start", headers=headers, body=body)
    found.start = answer
    told = answer.json
    job = first_at(told, (*api.job_id, *JOB_PATHS))
    if not 200 <= (answer.status or 0) < 300 or not isinstance(job, str | int):
        found.notes.append(f"the start answered {answer.status}: no job, and no stream to look at")
        return
    found.job_path = next(p for p in (*api.job_id, *JOB_PATHS) if first_at(told, (p,)) is not None)
    limit = first_at(told, ("quota.limit",))
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        found.quota = limit
    await _views(client, found, profile, str(job), told, watch_s)


async def _views(
    client: Client, found: Survey, profile: Profile, job: str, told: Any, watch_s: float
) -> None:
    api = profile.api

    def place(member: str, path: str) -> str:
        named = told.get(member) if isinstance(told, Mapping) else None
        if isinstance(named, str) and named:
            return client.resolve(named)
        return client.url(path.replace("{job_id}", quote(job, safe=""))) if path else ""

    url = place("stream_url", api.stream)
    live = client.open(
        url, label="stream", headers=[("Accept", "text/event-stream")], bound_s=watch_s
    )
    for part, where in (
        ("snapshot", place("snapshot_url", api.snapshot)),
        ("polling", place("events_url", api.events)),
    ):
        if not where:
            continue
        view = await client.ask("GET", where, label=part, headers=[("Accept", "application/json")])
        there = view.status == 200 and isinstance(view.json, dict) and "events" in view.json
        found.parts[part] = (there, f"GET answered {view.status}")
        if part == "snapshot" and there:
            found.parts["validators"] = (view.header("etag") is not None, "the snapshot's ETag")
    recording = await live.finish()
    _note_stream(found, recording, "the job's stream")
    if found.stream is not None and found.stream.order:
        await _resumes(client, found, url, recording)


def _note_stream(found: Survey, recording: Recording, what: str) -> None:
    if not recording.is_stream:
        found.notes.append(f"{what} answered {recording.status} {recording.media_type}: no stream")
        return
    found.stream = look_at(recording)


async def _resumes(client: Client, found: Survey, url: str, recording: Recording) -> None:
    """Whether a cursor is honoured, and what a spent or malformed one gets."""
    ids = [b.own_id for b in recording.blocks if b.own_id]
    if len(ids) < 3:
        return
    accept = ("Accept", "text/event-stream")

    async def ask(cursor: str) -> Recording:
        return await client.ask(
            "GET",
            url,
            label=f"after {cursor}",
            headers=[accept, ("Last-Event-ID", cursor)],
            bound_s=AFTER_S,
        )

    again = await ask(ids[0])
    got = [b.own_id for b in again.blocks if b.own_id] if again.is_stream else []
    if got:
        told = f"after {ids[0]!r} came {got[0]!r}, {ids[1]!r} was due"
        found.parts["resume"] = (got[0] == ids[1], told)
    if recording.ended_cleanly:
        spent = await ask(ids[-1])
        if spent.status is not None:
            found.statuses["terminal_resume_status"] = (spent.status, "after the last event")
        odd = await ask("01x")
        if odd.status is not None:
            found.statuses["malformed_cursor_status"] = (odd.status, "Last-Event-ID: 01x")
