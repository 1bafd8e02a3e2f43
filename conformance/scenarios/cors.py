"""What pages of other origins ask: preflights, streams, errors; and what foreign pages try."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import Recording
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .shapes import TINY, script

BOUND_S = 5.0
LARGE_BODY_BYTES = 1_200_000
"""Over the protocol's bound of 1 MiB; blanks and an empty object, so that no job can come of it."""
WHOLE = 2
"""So many foreign pages try everything, the others only two answers."""
IDENTIFIED = 2
"""Preflights with a client id: no browser sends one, but a careless counter would count it."""


async def cors(lab: Lab) -> None:
    """A page of the allowed origin goes its whole way, then foreign pages try the same."""
    origin = lab.profile.api.origin
    if not origin:
        raise Unable("the profile names no origin that the target allows (api.origin)")
    client = lab.new_client()
    lab.facts["client"] = client
    await _start_preflights(lab, origin, client)
    shape = TINY if lab.shared.shaped else None
    own = lab.job_of(await _start(lab, "start 1", origin, client))
    if shape is not None:
        for number in range(2, lab.profile.declared.quota_runs + 1):
            await lab.post_start(f"start {number}", shape, client_id=client)
        job = own
    else:
        job, _ = lab.natural()
        if own is not None and lab.shared.has("cancel"):
            await lab.cancel(own, "cancel")
    if job is None:
        await _errors_without_job(lab, origin)
        raise Unable("no job was accepted, so a page of the allowed origin has no stream to read")
    await together(
        _reading(lab, job, origin),
        _errors_without_job(lab, origin),
        _errors_of(lab, job, origin),
        _foreign(lab, job, origin),
    )


def asks(origin: str, method: str, *names: str) -> list[tuple[str, str]]:
    """The headers of a preflight as browsers write them: names in lower case, sorted."""
    headers = [("Origin", origin), ("Access-Control-Request-Method", method)]
    if names:
        wanted = ",".join(sorted(name.lower() for name in names))
        headers.append(("Access-Control-Request-Headers", wanted))
    return headers


async def _start_preflights(lab: Lab, origin: str, client: str) -> None:
    """More preflights than a client has starts, some of them with the id of the one who starts."""
    name = lab.profile.api.client_id_header
    wanted = asks(origin, "POST", "Content-Type", name)
    count = max(3, lab.profile.declared.quota_runs + 1)
    start = lab.profile.api.start
    named = [*wanted, (name, client)]
    await together(
        *(_options(lab, start, f"preflight start {n}", wanted) for n in range(count)),
        *(_options(lab, start, f"identified preflight {n}", named) for n in range(IDENTIFIED)),
    )


async def _options(lab: Lab, url: str, label: str, headers: list[tuple[str, str]]) -> Recording:
    headers = [*headers, ("Accept", "*/*")]
    return await lab.ask("OPTIONS", url, label=label, headers=headers, bound_s=BOUND_S)


async def _start(lab: Lab, label: str, origin: str, client: str) -> Recording:
    shape = script(6) if lab.shared.shaped else None
    return await lab.ask(
        "POST",
        lab.profile.api.start,
        label=label,
        headers=[*lab.start_headers(client), ("Origin", origin)],
        body=lab.start_body(shape),
        info={"shape": shape, "client": client},
    )


async def _reading(lab: Lab, job: Job, origin: str) -> None:
    """The page reads the stream and the other views, with preflights where it needs them."""
    sent = [("Origin", origin)]
    stream = lab.stream(job, "stream", headers=sent, bound_s=BOUND_S)
    await _options(
        lab, job.stream, "preflight stream resumed", asks(origin, "GET", "Last-Event-ID")
    )
    await lab.snapshot(job, "snapshot", headers=sent)
    await _get(lab, job.events, "events", sent)
    await lab.ask("GET", job.snapshot, label="without origin snapshot", bound_s=BOUND_S)
    await stream.until(lab.ended if lab.shared.shaped else lab.opened, BOUND_S)
    newest = lab.newest(stream)
    over = lab.ended(stream)
    await stream.leave()
    plain = lab.stream(job, "without origin stream", bound_s=BOUND_S)
    await plain.until(lab.opened, BOUND_S)
    await plain.leave()
    if over and newest:
        await lab.read(job, "terminal resume", cursor=newest, headers=sent, bound_s=BOUND_S)


async def _get(
    lab: Lab, url: str, label: str, headers: list[tuple[str, str]], accept: str = "*/*"
) -> None:
    headers = [*headers, ("Accept", accept)]
    await lab.ask("GET", url, label=label, headers=headers, bound_s=BOUND_S)


async def _errors_without_job(lab: Lab, origin: str) -> None:
    """Every kind of error that a page can meet before it has a job."""
    api, sent = lab.profile.api, [("Origin", origin)]
    nobody = str(uuid.uuid4())
    views = (("stream", api.stream), ("snapshot", api.snapshot), ("events", api.events))
    headers = [*lab.start_headers(lab.new_client()), *sent]
    plain = [(n, "text/plain" if n == "Content-Type" else v) for n, v in headers]
    nameless = [*lab.start_headers(None), *sent]
    starts = (
        ("not json", headers, b"{"),
        ("no fields", headers, b"{}"),
        ("media type", plain, b"{}"),
        ("no client id", nameless, b"{}"),
        ("large body", headers, b" " * LARGE_BODY_BYTES + b"{}"),
    )
    await together(
        *(
            _get(lab, path.replace("{job_id}", nobody), f"error unknown job {name}", sent)
            for name, path in views
        ),
        _get(lab, f"/streamgauge-{nobody}", "error unknown path", sent),
        _get(lab, api.start, "error start method", sent),
        *(
            lab.ask(
                "POST",
                api.start,
                label=f"error start {name}",
                headers=heads,
                body=body,
                bound_s=BOUND_S,
            )
            for name, heads, body in starts
        ),
    )


async def _errors_of(lab: Lab, job: Job, origin: str) -> None:
    """The errors of a job's own views."""
    sent = [("Origin", origin)]
    await lab.ask("DELETE", job.stream, label="error stream method", headers=sent, bound_s=BOUND_S)
    await lab.read(
        job, "error stream accept", headers=[*sent, ("Accept", "text/html")], bound_s=BOUND_S
    )
    cursor = lab.stream(job, "error stream cursor", cursor="1e3", headers=sent, bound_s=BOUND_S)
    await cursor.until(lab.opened, BOUND_S)
    await cursor.leave()
    await _get(lab, f"{job.events}?after=-1", "error events cursor", sent)
    await _get(lab, f"{job.events}?limit=0", "error events limit", sent)


async def _foreign(lab: Lab, job: Job, origin: str) -> None:
    """Pages that the target does not know, some of them with names like the one it knows."""
    await together(
        *(
            _foreign_page(lab, job, f"foreign {kind}", foreign, whole=number < WHOLE)
            for number, (kind, foreign) in enumerate(foreign_origins(origin))
        )
    )


async def _foreign_page(lab: Lab, job: Job, label: str, foreign: str, *, whole: bool) -> None:
    api, sent = lab.profile.api, [("Origin", foreign)]
    await _get(lab, job.snapshot, f"{label}/snapshot", sent)
    await _options(lab, api.start, f"{label}/preflight", asks(foreign, "POST", "Content-Type"))
    if whole:
        unknown = api.snapshot.replace("{job_id}", str(uuid.uuid4()))
        await _get(lab, unknown, f"{label}/unknown job", sent)
        stream = lab.stream(job, f"{label}/stream", headers=sent, bound_s=BOUND_S)
        await stream.until(lab.opened, BOUND_S)
        await stream.leave()


def foreign_origins(origin: str) -> Iterator[tuple[str, str]]:
    """Origins that no list with `origin` on it allows, each with the mistake that would let it in.

    None of them is a subdomain, another port or another scheme of the allowed one: a deployment may
    allow these on purpose.
    """
    yield "stranger", "https://streamgauge-foreign.example"
    yield "null", "null"
    yield "prefix", f"{origin}.streamgauge-foreign.example"
    parts = urlsplit(origin)
    host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        place = max(0, len(labels) - 2)
        labels[place] = f"foreign{labels[place]}"
        yield "suffix", f"{parts.scheme}://{'.'.join(labels)}{port}"
        yield "within", f"{parts.scheme}://{host}.streamgauge-foreign.example{port}"
        if "." in host:
            yield "dot", f"{parts.scheme}://{host.replace('.', 'x', 1)}{port}"
