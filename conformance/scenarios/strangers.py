"""Jobs that do not exist, ids that cannot be ids, and texts that try to get into headers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Final

from streamgauge.blunt import Wording
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.scenario import together

from .canaries import canary
from .mistakes import start_head, tell, valid_body
from .shapes import script

AT_ONCE = 8

#: Ids that a path can carry without any trouble, and that no job can have.
MALFORMED: Final = (
    "no-such-job",
    "-1",
    "null",
    "00000000-0000-0000-0000-000000000000",
    "zzzzzzzz-zzzz-4zzz-8zzz-zzzzzzzzzzzz",
)
#: The application sees these as an id, whatever stands in front of it: 404.
ODD: Final = {
    "quote": "%27%20OR%20%271%27=%271",
    "unicode": "%E6%BC%A2%E5%AD%97-%F0%9F%9A%80",
    "blank": "%20",
    "not UTF-8": "%E9%FF",
    "star": "*",
    "braces": "%7Bjob_id%7D",
    "template": "%24%7B7*7%7D%7B%7B7*7%7D%7D",
    "format": "%25s%25n%25d",
    "wide digits": "%EF%BC%91%EF%BC%92",
    "bidi": "%E2%80%AE%E2%80%8B",
    "long": "a" * 300,
}
#: HTTP's own layers may refuse these before any application sees an id: 400, 414 or 431 as well.
RISKY: Final = {
    "NUL": "%00",
    "NUL behind": "00000000-0000-4000-8000-000000000000%00",
    "slash": "a%2Fb",
    "backslash": "..%5C..%5Cetc",
    "line end": "%0D%0A",
    "traversal": "..%2F..%2F..%2Fetc%2Fpasswd",
    "traversal twice escaped": "..%252F..%252Fetc%252Fpasswd",
    "no hexadecimal": "%zz",
    "percent": "%",
    "raw bytes": "caf\xe9\xff",
    "8 KiB": "a" * 8192,
}
#: Clients and proxies may tidy such paths up, so a redirect to the tidy one is an answer, too.
UNTIDY: Final = {"dots": "..", "many dots": "../../../../etc/passwd", "nothing": ""}


def resources(lab: Lab) -> Iterator[tuple[str, str, str]]:
    """(name, method, path) of every resource of a job."""
    api = lab.profile.api
    yield "stream", "GET", api.stream
    if api.snapshot:
        yield "snapshot", "GET", api.snapshot
    if api.events:
        yield "events", "GET", api.events
    if lab.shared.has("cancel"):
        yield "cancel", "POST", api.cancel


async def strangers(lab: Lab) -> None:
    """One job that exists, beside many that do not."""
    job = await lab.start("start", script(6)) if lab.shared.shaped else lab.natural()[0]
    if lab.shared.shaped:
        await lab.read(job, "reader", bound_s=10.0)
    limit = asyncio.Semaphore(AT_ONCE)
    await together(_unknown(lab, job, limit), _odd(lab, limit), _injections(lab, job, limit))


async def _ask(
    lab: Lab, limit: asyncio.Semaphore, label: str, method: str, path: str, **info: str
) -> None:
    framing = (("Content-Length", "0"),) if method == "POST" else ()
    headers = (("Accept", "*/*"), ("Connection", "close"), *framing)
    async with limit:
        await tell(lab, Wording(method, path, headers), label, bound_s=5.0, info=info)


async def _unknown(lab: Lab, job: Job, limit: asyncio.Semaphore) -> None:
    ids = [("unknown", str(uuid.uuid4())) for _ in range(2)]
    ids += [("malformed", each) for each in MALFORMED]
    await asyncio.gather(
        *(
            _ask(
                lab,
                limit,
                f"{kind} {name} {number}",
                method,
                path.replace("{job_id}", each),
                asked=each,
                resource=name,
            )
            for number, (kind, each) in enumerate(ids)
            for name, method, path in resources(lab)
        )
    )
    if not lab.profile.api.snapshot:
        return
    # Whoever knows an id may read; where a target forbids it, that must look like a missing job.
    stranger = [(lab.profile.api.client_id_header, lab.new_client())]
    await lab.ask("GET", job.snapshot, label="foreign snapshot", headers=stranger)
    missing = lab.profile.api.snapshot.replace("{job_id}", str(uuid.uuid4()))
    await lab.ask("GET", missing, label="missing snapshot", headers=stranger)


async def _odd(lab: Lab, limit: asyncio.Semaphore) -> None:
    await asyncio.gather(
        *(
            _ask(
                lab,
                limit,
                f"{kind} {name}: {resource}",
                method,
                path.replace("{job_id}", each),
                asked=each[:64],
            )
            for kind, ids in (("odd", ODD), ("risky", RISKY), ("untidy", UNTIDY))
            for name, each in ids.items()
            for resource, method, path in resources(lab)
        )
    )


def injections(name: str) -> dict[str, str]:
    """Values that become a header of this name where somebody decodes them on the way out."""
    return {
        "CRLF": f"x%0d%0a{name}: 1%0d%0aSet-Cookie: {name}=1",
        "LF": f"x%0a{name}: 1",
        "CR": f"x%0d{name}: 1",
        "wide": f"x%E5%98%8D%E5%98%8A{name}: 1",
        "backslashes": f"x\\r\\n{name}: 1",
        "CR itself": f"x\r{name}: 1",
    }


async def _injections(lab: Lab, job: Job, limit: asyncio.Semaphore) -> None:
    api = lab.profile.api
    name = canary("inject")
    lab.facts["name"] = name
    body = valid_body(lab)
    fields = (api.client_id_header, "Idempotency-Key", "X-Request-Id", "Origin", "Last-Event-ID")

    async def one(label: str, wording: Wording) -> None:
        async with limit:
            await tell(lab, wording, label, bound_s=5.0, head_only=False)

    def start(*more: tuple[str, str], target: str = api.start) -> Wording:
        own = {n.lower() for n, _ in more}
        kept = tuple(pair for pair in start_head(lab) if pair[0].lower() not in own)
        framing = (("Content-Length", str(len(body))), ("Connection", "close"))
        return Wording("POST", target, (*kept, *framing, *more), (body,))

    def get(target: str, *more: tuple[str, str]) -> Wording:
        return Wording("GET", target, (("Accept", "*/*"), ("Connection", "close"), *more))

    asks: list[tuple[str, Wording]] = []
    view = api.snapshot or api.stream
    values = injections(name)
    if not lab.shared.shaped:
        values = {"CRLF": values["CRLF"]}  # each may start a job that costs something
    for kind, value in values.items():
        sendable = value.replace(" ", "%20").replace("\r", "%0d")
        asks += [(f"inject {field} {kind}", start((field, value))) for field in fields]
        asks += [
            (f"inject query {kind}", start(target=f"{api.start}?type={sendable}&id={sendable}")),
            (f"inject path {kind}", get(f"{api.start}/{sendable}")),
            (f"inject id {kind}", get(view.replace("{job_id}", sendable))),
            (
                f"inject cursor {kind}",
                get(view.replace("{job_id}", job.job_id) + f"?{api.cursor_query}={sendable}"),
            ),
            (f"inject slash {kind}", get(f"/{sendable}/..//")),
        ]
    await asyncio.gather(*(one(label, wording) for label, wording in asks))
    await _own_names(lab, job, name)


async def _own_names(lab: Lab, job: Job, name: str) -> None:
    """Names of events that a client asks for in a query, where a target takes such a thing."""
    forged = f"{name}%0a%0aevent:%20{name}%0adata:%20x%0aid:%20{name}"
    queries = [f"{member}={forged}" for member in ("type", "event", "id", "name", "retry")]
    streams = [
        lab.stream(job, f"named stream {n}", query=query, bound_s=5.0)
        for n, query in enumerate((*queries, f"{lab.profile.api.cursor_query}={forged}"))
    ]
    headers = [("Last-Event-ID", f"{name}%0a%0aevent:%20{name}")]
    streams.append(lab.stream(job, "named stream header", headers=headers, bound_s=5.0))
    await asyncio.gather(*(stream.until(lab.ended, 4.0) for stream in streams))
    for stream in streams:
        await stream.leave()
