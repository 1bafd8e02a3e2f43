"""What a reader is shown, as text: every string of every event, and what errors let slip.

The patterns below are those of tracebacks, file systems and product names as they stand in the
default error pages of common servers. What the request itself said is nobody's secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from streamgauge.profile import Profile
from streamgauge.recording import Recording

from .reading import as_json, events_of

_DEPTH_MAX: Final = 40

TRACES: Final = (
    re.compile(r"Traceback \(most recent call last\)"),
    re.compile(r"File \"[^\"\n]+\", line \d+"),
    re.compile(r"^\s+at [\w$.<>\[\]/ ]+\([^()\n]*:\d+(?::\d+)?\)", re.MULTILINE),
    re.compile(r"\bat [\w$.<>]+\([\w$]+\.(?:java|kt|scala|cs):\d+\)"),
    re.compile(r"goroutine \d+ \[|\.go:\d+ \+0x|\bpanic: "),
    re.compile(r"\b[\w/]+\.(?:py|js|ts|mjs|rb|php|go|rs|java|cs|ex):\d+\b"),
    re.compile(r"\bon line <?b?>?\d+", re.IGNORECASE),
    re.compile(r"\b(?:[a-z_]\w*\.)+[A-Z]\w*(?:Error|Exception)\b"),
    re.compile(
        r"\b(?:Type|Value|Key|Index|Attribute|Name|Runtime|Assertion|OS|Unicode\w+|"
        r"Operational|Integrity|Programming|Recursion|LookUp)Error\b"
    ),
    re.compile(r"\b(?:NullPointer|IllegalArgument|NumberFormat|Runtime)Exception\b"),
    re.compile(
        r"SQLSTATE|ORA-\d{5}|sqlite3?[._]\w*error|psycopg|asyncpg\.|SELECT .+ FROM ", re.IGNORECASE
    ),
    re.compile(r"\broot:x?:0:0:"),
)
PATHS: Final = (
    re.compile(
        r"(?<![\w.:/])/(?:home|usr|var|etc|opt|srv|app|root|tmp|Users|workspace|mnt|proc|code|"
        r"site-packages|node_modules)/[\w.@+-]+(?:/[\w.@+-]+)*"
    ),
    re.compile(r"\b[A-Za-z]:\\(?:[\w .-]+\\)*[\w.-]+"),
    re.compile(r"\b(?:site-packages|node_modules|dist-packages)\b"),
    re.compile(r"\bfile:///?\w"),
)
VERSIONS: Final = (
    re.compile(
        r"\b(?:nginx|openresty|apache|httpd|tomcat|jetty|iis|asp\.net|php|python|cpython|werkzeug|"
        r"flask|quart|django|fastapi|starlette|uvicorn|hypercorn|gunicorn|daphne|aiohttp|tornado|"
        r"express|node(?:\.js)?|deno|bun|rails|puma|ruby|spring(?: boot)?|netty|undertow|kestrel|"
        r"caddy|envoy|haproxy|varnish|traefik|go|rust|actix|axum|openssl|sqlite|postgres(?:ql)?|"
        r"redis|hyper|h11|phoenix|erlang|elixir|java|kotlin)[ /_-]?v?\d+\.\d+(?:\.\d+)*",
        re.IGNORECASE,
    ),
    re.compile(r"\b[A-Za-z][\w.-]*/\d+\.\d+\.\d+"),
    re.compile(r"\bversion[\"']?\s*[:=]?\s*[\"']?v?\d+\.\d+(?:\.\d+)*", re.IGNORECASE),
)
#: Headers that exist to tell what a server is made of. `Server` is not among them: what stands in
#: front of the target puts it there as well.
TELLING_HEADERS: Final = (
    "x-powered-by",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-generator",
    "x-debug-token",
    "x-debug-exception",
    "x-debug-exception-file",
)


def shown_text(recording: Recording, profile: Profile) -> str:
    """All strings of the events that a view shows, and behind them those that belong together.

    What the same member of the same type says in one event after the other is read as one text:
    so are chunks.
    """
    runs: dict[tuple[str, str], list[str]] = {}
    for kind, data in _bodies(recording, profile):
        for place, text in _strings(data, "", 0):
            runs.setdefault((kind, place), []).append(text)
    apart = (text for texts in runs.values() for text in texts)
    return "\n".join((*apart, *("".join(texts) for texts in runs.values())))


def _bodies(recording: Recording, profile: Profile) -> Iterator[tuple[str, Any]]:
    """Type and data of every event of a view, control events too."""
    for event in events_of(recording, profile):
        yield event.type, {event.type: event.data, "id": event.id}
    if recording.is_stream:
        for block in recording.blocks:
            if block.event is not None and block.event.type in profile.control_events:
                body = as_json(block.event.data)
                yield block.event.type, block.event.data if body is None else body


def _strings(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every string in a JSON value with its place, names of members too."""
    if isinstance(value, str):
        yield place, value
    elif depth >= _DEPTH_MAX:
        yield place, json.dumps(value, ensure_ascii=False)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{place} name", str(name)
            yield from _strings(inner, f"{place}.{name}", depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, f"{place}[]", depth + 1)


def told_by(recording: Recording) -> str:
    """What an error answer reveals about the server, "" where nothing is found."""
    text = recording.body[:200_000].decode("utf-8", "replace")
    body = as_json(text)
    texts = [_unescaped(text)]
    if isinstance(body, dict | list):
        texts = [each for _, each in _strings(body, "", 0)]
    asked = _asked(recording)
    for kind, patterns in (
        ("a stack trace or an exception", TRACES),
        ("a path", PATHS),
        ("a version", VERSIONS),
    ):
        for each in texts:
            for pattern in patterns:
                for found in pattern.finditer(each):
                    if found.group().strip().casefold() not in asked:
                        return f"{kind}: {found.group().strip()[:120]!r}"
    for name in TELLING_HEADERS:
        value = recording.header(name)
        if value is not None and (re.search(r"\d", value) or "debug" in name):
            return f"a version or a debugger in its header {name}: {value[:80]!r}"
    return ""


def _unescaped(text: str) -> str:
    return text.replace("&#34;", '"').replace("&quot;", '"').replace("&#39;", "'")


def _asked(recording: Recording) -> str:
    """All that the request said, once and twice unescaped: echoing it reveals nothing."""
    request = recording.request
    said = [request.method, request.url, request.body.decode("utf-8", "replace")]
    said += [f"{name}: {value}" for name, value in request.headers]
    once = unquote(" ".join(said))
    return " ".join((*said, once, unquote(once), "http/1.0 http/1.1 http/2.0")).casefold()
