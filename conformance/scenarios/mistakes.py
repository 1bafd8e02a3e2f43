"""Requests that no server may take as they are: bad bodies, too much, ambiguous framing.

All of them ask for a start, with a client id of their own each. Where a target takes one all the
same, the job is cancelled again if it can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from streamgauge.blunt import Wording, say
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import Recording
from streamgauge.scenario import together

from .shapes import TINY, script

LINGER_S = 5.0
"""So long a connection may stay open behind an answer that has to end it."""
PIECE_BYTES = 65_536
BEYOND_BYTES = 65_536
HUGE_LENGTH = 1_073_741_824
HEAD_BYTES = 1_572_864
"""More than any server's default: Go takes 1 MiB of headers, most others 8 to 64 KiB."""
FIELD_BYTES = 8_000
AT_ONCE = 8

#: Bodies that are no JSON object. The place of a valid body is taken by VALID.
VALID: Final = b"<valid>"
BODIES: Final[Mapping[str, bytes]] = {
    "empty": b"",
    "blank": b" \r\n\t ",
    "cut off": b'{"resume_text": "',
    "single quotes": b"{'resume_text': 'x'}",
    "form": b"resume_text=x&job_text=y",
    "garbage behind": VALID + b" }",
    "NaN": VALID[:-1] + b', "streamgauge": NaN}',
    "infinity": VALID[:-1] + b', "streamgauge": -Infinity}',
    "comma at the end": VALID[:-1] + b",}",
    "not UTF-8": VALID[:-1] + b', "streamgauge": "caf\xe9 \xff"}',
    "half a character": VALID[:-1] + b', "streamgauge": "\xe2\x82"}',
    "array": b"[" + VALID + b"]",
    "string": b'"resume_text"',
    "number": b"7",
    "null": b"null",
    "true": b"true",
}
MEDIA_TYPES: Final = {
    "text": "text/plain",
    "form": "application/x-www-form-urlencoded",
    "xml": "application/xml",
    "binary": "application/octet-stream",
}


async def mistakes(lab: Lab) -> None:
    """One kind after the other kind's begin; nothing of it needs more than some megabytes."""
    job = await lab.start("start", script(6)) if lab.shared.shaped else lab.natural()[0]
    if lab.shared.shaped:
        await lab.read(job, "reader", bound_s=10.0)
    await together(
        _bodies(lab), _framings(lab), _expectations(lab), _old_clients(lab, job), _sizes(lab, job)
    )


def valid_body(lab: Lab) -> bytes:
    """The body of a start as it should be."""
    return lab.start_body(TINY if lab.shared.shaped else None)


def start_head(lab: Lab, *more: tuple[str, str], media_type: str = "") -> tuple[Any, ...]:
    """The headers of a start by a client of its own, framing apart."""
    headers = lab.start_headers(lab.new_client())
    if media_type:
        headers = [(n, media_type if n == "Content-Type" else v) for n, v in headers]
    return (*headers, *more)


async def tell(lab: Lab, wording: Wording, label: str, **how: Any) -> Recording:
    """Say it, keep the recording, and end what it should not have begun."""
    how["bound_s"] = min(how.get("bound_s", 8.0), max(0.1, lab.left_s()))
    starts = lab.is_start(wording.method, wording.target)
    if starts:
        lab.shared.jobs.take()
    recording = await say(lab.client, wording, label=label, **how)
    if starts:
        lab.shared.jobs.settle(recording)
    lab.keep(recording)
    job = lab.job_of(recording) if wording.method == "POST" else None
    if job is not None and not lab.shared.shaped and lab.shared.has("cancel"):
        await lab.cancel(job, f"tidy {label}")
    return recording


def with_length(lab: Lab, body: bytes, *more: tuple[str, str], media_type: str = "") -> Wording:
    """A start with this body, framed as it should be."""
    headers = start_head(
        lab,
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        *more,
        media_type=media_type,
    )
    return Wording("POST", lab.profile.api.start, headers, (body,))


async def _bodies(lab: Lab) -> None:
    limit = asyncio.Semaphore(AT_ONCE)
    valid = valid_body(lab)

    async def one(label: str, body: bytes, media_type: str = "") -> None:
        async with limit:
            await tell(lab, with_length(lab, body, media_type=media_type), label)

    await asyncio.gather(
        *(
            one(f"body {name}", body.replace(VALID, valid).replace(VALID[:-1], valid[:-1]))
            for name, body in BODIES.items()
        ),
        *(one(f"media {name}", valid, media_type) for name, media_type in MEDIA_TYPES.items()),
    )


def chunked(*chunks: bytes) -> bytes:
    """A body in chunked coding."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


async def _framings(lab: Lab) -> None:
    """Bodies whose length can be read in two ways, or in none (RFC 9112 §6.3, §7.1)."""
    body = valid_body(lab)
    coded, size = chunked(body), str(len(body))
    both = (("Content-Length", str(len(coded))), ("Transfer-Encoding", "chunked"))
    smuggled = f"GET {lab.client.url('/streamgauge')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    te = (("Transfer-Encoding", "chunked"),)
    half = body[: len(body) // 2]
    cases: dict[str, tuple[tuple[tuple[str, str], ...], bytes]] = {
        "both": (both, coded),
        "both, length first": ((("Content-Length", "4"), *te), coded),
        "both, more behind": ((*te, ("Content-Length", size)), coded + smuggled),
        "lengths differ": ((("Content-Length", size), ("Content-Length", "3")), body),
        "lengths in a list": ((("Content-Length", f"{size}, 3"),), body),
        "length is no number": ((("Content-Length", f"{size}x"),), body),
        "length is negative": ((("Content-Length", f"-{size}"),), body),
        "length has a plus": ((("Content-Length", f"+{size}"),), body),
        "length is hexadecimal": ((("Content-Length", hex(len(body))),), body),
        "chunk size is no number": (te, b"zz\r\n" + body + b"\r\n0\r\n\r\n"),
        "chunk size is negative": (te, b"-1\r\n" + body + b"\r\n0\r\n\r\n"),
        "chunk size has a prefix": (te, b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)),
        "chunk size is empty": (te, b"\r\n" + body + b"\r\n0\r\n\r\n"),
        "chunk size is too small": (te, b"%x\r\n%s\r\n0\r\n\r\n" % (len(half), body)),
        "chunk size overflows": (te, b"f" * 24 + b"\r\n" + body + b"\r\n0\r\n\r\n"),
        "coding unknown": ((("Transfer-Encoding", "streamgauge"),), coded),
        "coding behind chunked": ((("Transfer-Encoding", "chunked, identity"),), coded),
    }
    await asyncio.gather(
        *(
            tell(
                lab,
                Wording("POST", lab.profile.api.start, start_head(lab, *framing), (sent,)),
                f"framing {name}",
                linger_s=LINGER_S,
            )
            for name, (framing, sent) in cases.items()
        )
    )


async def _expectations(lab: Lab) -> None:
    """A client that asks before it sends its body."""
    body = valid_body(lab)
    wording = with_length(lab, body, ("Expect", "100-continue"))
    patient = Wording(wording.method, wording.target, wording.headers, (body,), expects=True)
    await tell(lab, patient, "expect continue")


async def _old_clients(lab: Lab, job: Job) -> None:
    """HTTP/1.0: no chunks, and the body ends with the connection."""
    body = valid_body(lab)
    start = with_length(lab, body)
    await tell(
        lab,
        Wording("POST", lab.profile.api.start, start.headers, (body,), version="HTTP/1.0"),
        "old start",
    )
    for name, url in (("snapshot", job.snapshot), ("events", job.events), ("stream", job.stream)):
        accept = "text/event-stream" if name == "stream" else "application/json"
        wording = Wording("GET", lab.client.below(url), (("Accept", accept),), version="HTTP/1.0")
        await tell(lab, wording, f"old {name}", bound_s=5.0, info={"job": job.job_id})


async def _sizes(lab: Lab, job: Job) -> None:
    """Too large in every way; after each of them somebody else asks for something ordinary."""
    limit = lab.profile.declared.body_bytes_max
    valid = valid_body(lab)
    whole = valid + b" " * (limit + BEYOND_BYTES - len(valid))
    pieces = [whole[n : n + PIECE_BYTES] for n in range(0, len(whole), PIECE_BYTES)]
    start = lab.profile.api.start
    close = ("Connection", "close")
    many = tuple(
        (f"X-Streamgauge-{n}", "a" * FIELD_BYTES) for n in range(HEAD_BYTES // FIELD_BYTES)
    )
    framed = ("Content-Length", str(len(whole)))
    cases = {
        "size body": Wording("POST", start, start_head(lab, framed, close), pieces),
        "size chunked body": Wording(
            "POST",
            start,
            start_head(lab, ("Transfer-Encoding", "chunked"), close),
            [*(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n"],
        ),
        "size announced body": Wording(
            "POST", start, start_head(lab, ("Content-Length", str(HUGE_LENGTH)), close), pieces
        ),
        "size head": Wording(
            "GET", lab.client.below(job.snapshot), (("Accept", "application/json"), close, *many)
        ),
    }
    async with lab.shared.heavy:
        for label, wording in cases.items():
            first = await tell(lab, wording, label, linger_s=0.0)
            if not first.answered:
                # A reset may overtake the refusal that it follows.
                await tell(lab, wording, f"{label} again")
            await lab.snapshot(job, f"after {label}")
