"""A few hundred requests by dice: each is readable HTTP, and hardly any of them makes sense.

The dice are seeded, so that every run asks the same questions. What is chosen stays small: no job
that would be long or large if a target accepted it, no address but the target's own.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from streamgauge.blunt import Wording
from streamgauge.job import Job
from streamgauge.lab import Lab

from .mistakes import start_head, tell
from .shapes import TINY, script

SEED = 20260131
THROWN = 170
AT_ONCE = 6
ANSWER_S = 8.0

NUMBERS: Final = (
    *("-1", "0", "01", "+1", "1.5", "1e3", "1e999", "NaN", "Infinity", "0x10", "1_000", "²"),
    *("9223372036854775807", "9223372036854775808", "9" * 40, "9" * 5000, "١٢", "１", "--1"),
)
TEXTS: Final = (
    *("", " ", "\t", "a", "null", "undefined", "true", "[]", "{}", "%", "%s%n", "../..", "'\";--"),
    *("\u0000", "a\u0000b", "\u2028", "\ufeff", "\ud83d\ude80", "é" * 100, "x" * 3000, "\r\n\r\n"),
    *("<script>", "${7*7}", "\x1b[31m", "\u202e", "ﷺ", "🏳️‍🌈"),
)
FIELD_TEXTS: Final = (
    *(
        "",
        "*",
        "*/*;q=",
        "q=1",
        ",",
        ";",
        "a/b;c",
        '"',
        '"\\"',
        "text/event-stream;q=2",
        "\xff\xfe",
    ),
    *("application/json; charset=klingon", "application/json; charset=", "application/json;;;"),
    *(
        "gzip",
        "identity;q=0",
        "W/",
        'W/"',
        "bytes=-1",
        "bytes=9-1,0-",
        "Thu, 99 Foo 9999",
        "=?utf-8",
    ),
    *("Basic %%%", "Bearer ", "Digest x=", "0", "x" * 4000, "http://[", "null", "\t\t", "é"),
)
FIELDS: Final = (
    *("Accept", "Content-Type", "Content-Encoding", "Last-Event-ID", "Idempotency-Key", "Origin"),
    *("If-None-Match", "If-Modified-Since", "Range", "Authorization", "Cookie", "Accept-Encoding"),
    *("Accept-Language", "X-Forwarded-For", "X-Forwarded-Proto", "Cache-Control", "Referer"),
    *("User-Agent", "Access-Control-Request-Method", "Access-Control-Request-Headers"),
)
#: What each field's own parser may stumble over: these are all asked for once, before the dice.
SWEPT: Final = {
    "Content-Type": (
        *("application/json; charset=klingon", "application/json; charset=utf-16", "json", ";", ""),
        *("application/json; charset", "application/json;=", "multipart/form-data", "a/b, c/d"),
        *("multipart/form-data; boundary=", "application/x-www-form-urlencoded; charset=klingon"),
    ),
    "Content-Encoding": ("gzip", "br", "klingon", "identity, gzip", ""),
    "Accept": ("", "*", "/", "a/b;q=x", "*/*;q=1e9", "*/*;q=-1", ",,,", "text/event-stream;v=\xe9"),
    "Accept-Encoding": ("klingon", "gzip;q=x", "", "*;q=0"),
    "Last-Event-ID": ("abc", "1e3", "-1", "9" * 40, "\xff", "0x10", " ", "1,2", "NaN", "\xb2"),
    "Idempotency-Key": ("", " ", "\xe9\xff", "a" * 4000, '"', "a b"),
    "Origin": ("null", "http://[", "http://:99999", "\xff", "file://", "http://localhost:port"),
    "If-None-Match": ("*", '"', "W/", 'W/"\xff"', ",", "abc"),
    "If-Modified-Since": ("yesterday", "0", "Thu, 99 Foo 9999 99:99:99 GMT", "-1"),
    "Range": ("bytes=-", "bytes=9-1", "bytes=a-b", "lines=1-2", "bytes=0-" + "9" * 30),
    "Authorization": ("Basic %%%", "Basic \xff", "Bearer", "Digest", ""),
    "Cookie": ("=", ";;", "a=\xff", "a=" + "b" * 3000, '"'),
    "X-Forwarded-For": ("999.1.1.1", "[::1", "unknown", ",,"),
    "X-Forwarded-Proto": ("klingon", "", "http, https"),
}
SWEPT_QUERY: Final = ("abc", "", "-1", "1e3", "NaN", "9" * 40, "%", "%ff", "\u00b2", "1;2", "[]")

QUERY: Final = ("after", "limit", "wait", "last_event_id", "cursor", "status", "format", "")
METHODS: Final = ("GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE")
#: Encodings that cannot be told from JSON text: half of a surrogate pair, depth, digits, repeats.
BODIES: Final = (
    b'{"resume_text": "\\ud800"}',
    b'{"\\udfff": 1, "resume_text": "x"}',
    b"[" * 20_000,
    b'{"resume_text":' * 3000,
    b'{"resume_text": ' + b"9" * 9000 + b"}",
    b'{"resume_text": 1e400}',
    b'{"resume_text": "x", "resume_text": 7}',
    b'\xef\xbb\xbf{"resume_text": "x"}',
    '{"resume_text": "x"}'.encode("utf-16"),
    b"\x00" * 100,
    b'{"resume_text": "\\u0000"}',
    b"{}",
)


async def fuzz(lab: Lab) -> None:
    """Throw the dice."""
    shaped = lab.shared.shaped
    job = await lab.start("start", script(6)) if shaped else lab.natural()[0]
    dice = random.Random(SEED)
    asks = [*_sweep(lab, job, dice), *(_ask(lab, job, dice) for _ in range(THROWN))]
    lab.facts.update(seed=SEED, requests=len(asks))
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, wording: Wording) -> None:
        async with limit:
            seen = await tell(lab, wording, f"dice {number}", bound_s=ANSWER_S, head_only=True)
            if not seen.answered:
                await tell(lab, wording, f"dice {number} again", bound_s=ANSWER_S, head_only=True)

    await asyncio.gather(*(one(number, wording) for number, wording in enumerate(asks)))


def _sweep(lab: Lab, job: Job, dice: random.Random) -> Iterator[Wording]:
    """Each field with each value that is made for it; each parameter with each of the others."""
    start = lab.profile.api.start
    for name, values in SWEPT.items():
        for value in values:
            headers: list[tuple[str, str]] = [("Accept", "*/*"), ("Connection", "close")]
            body = _body(lab, dice)
            framed = [*start_head(lab), ("Content-Length", str(len(body))), ("Connection", "close")]
            view = dice.choice((job.events, job.snapshot, job.stream))
            yield Wording("POST", start, tuple(_with(framed, name, value)), (body,))
            if name not in ("Content-Type", "Content-Encoding", "Idempotency-Key"):
                yield Wording("GET", lab.client.below(view), tuple(_with(headers, name, value)))
    for place, names in (
        (job.events, ("after", "limit", "wait")),
        (job.stream, (lab.profile.api.cursor_query,)),
    ):
        path = lab.client.below(place)
        for name in names:
            for value in SWEPT_QUERY:
                escaped = value if value.startswith("%") else _escaped(value)
                target = f"{path}{'&' if '?' in path else '?'}{name}={escaped}"
                yield Wording("GET", target, (("Accept", "*/*"), ("Connection", "close")))


def _ask(lab: Lab, job: Job, dice: random.Random) -> Wording:
    kind = dice.choice(("start", "start", "events", "stream", "snapshot", "cancel", "header"))
    if kind == "start":
        return _start(lab, dice)
    if kind == "header":
        kind = dice.choice(("events", "stream", "snapshot"))
        return _get(lab, job, kind, dice, fields=3)
    return _get(lab, job, kind, dice, fields=dice.randrange(2))


def _start(lab: Lab, dice: random.Random) -> Wording:
    body = _body(lab, dice)
    headers = [
        *start_head(lab),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    if dice.random() < 0.4:
        headers = _with(headers, dice.choice(FIELDS), dice.choice(FIELD_TEXTS))
    if dice.random() < 0.2:
        headers = _with(headers, lab.profile.api.client_id_header, dice.choice(FIELD_TEXTS))
    return Wording("POST", lab.profile.api.start, tuple(headers), (body,))


def _body(lab: Lab, dice: random.Random) -> bytes:
    if dice.random() < 0.25:
        return dice.choice(BODIES)
    body: dict[str, Any] = json.loads(lab.start_body(TINY if lab.shared.shaped else None))
    if not lab.shared.shaped:
        # What such a target accepts costs something: its main members are never right.
        body = dict.fromkeys(body, 7)
    member = dice.choice([*body, "job_url", "wait_for_subscriber", "streamgauge", ""])
    body[member] = _value(dice, 2)
    if lab.shared.shaped and dice.random() < 0.4:
        pipeline = {
            **TINY,
            dice.choice(("events", "interval_ms", "outcome", "payload", "pauses")): (
                _value(dice, 1)
            ),
        }
        body["pipeline"] = pipeline if dice.random() < 0.8 else _value(dice, 1)
    return json.dumps(body).encode()


def _value(dice: random.Random, depth: int) -> Any:
    """Any JSON value, none of which asks for much."""
    if depth and dice.random() < 0.3:
        size = dice.randrange(3)
        if dice.random() < 0.5:
            return [_value(dice, depth - 1) for _ in range(size)]
        return {dice.choice(TEXTS): _value(dice, depth - 1) for _ in range(size)}
    simple: list[Any] = [None, True, False, -1, 0, 1.5, -(2**63), 2**64, 10**30]
    return dice.choice([*simple, dice.choice(TEXTS), dice.choice(NUMBERS)])


def _get(lab: Lab, job: Job, kind: str, dice: random.Random, *, fields: int) -> Wording:
    api = lab.profile.api
    url = {
        "events": job.events,
        "stream": job.stream,
        "snapshot": job.snapshot,
        "cancel": api.cancel,
    }[kind]
    path = lab.client.below(url)
    if kind == "cancel":
        path = path.replace("{job_id}", _escaped(dice.choice(TEXTS)) or "x")
    names = [dice.choice((*QUERY, api.cursor_query)) for _ in range(dice.randrange(3))]
    query = "&".join(f"{name}={_escaped(dice.choice((*NUMBERS, *TEXTS)))}" for name in names)
    method = "POST" if kind == "cancel" else dice.choice(METHODS)
    headers: list[tuple[str, str]] = [("Accept", "*/*"), ("Connection", "close")]
    if method in ("POST", "PUT"):
        headers.append(("Content-Length", "0"))
    for _ in range(fields):
        headers = _with(headers, dice.choice(FIELDS), dice.choice(FIELD_TEXTS))
    target = path + (("&" if "?" in path else "?") + query if query else "")
    return Wording(method, target, tuple(headers))


def _escaped(text: str) -> str:
    return quote(text.encode("utf-8", "replace"), safe="")


def _with(headers: list[tuple[str, str]], name: str, value: str) -> list[tuple[str, str]]:
    """The headers with another value for one of them."""
    return [pair for pair in headers if pair[0].lower() != name.lower()] + [(name, value)]
