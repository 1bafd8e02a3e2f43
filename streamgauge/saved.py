"""Evidence that was saved: a run's own trace, a browser's `.har`, or what `curl -i -N` printed.

A trace is a whole run. The other two hold streams and nothing around them: no scenario was played
and no time was kept. They stand as the probe's recordings, which every check may look at; what a
check needs beside them makes it *not run*, and whatever depends on time *could not test*.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .client import is_secret
from .collect import PROBE_NAME, Evidence
from .dumps import Answer, DumpError, answers
from .har import har_streams
from .limits import LEFT_OUT
from .profile import Capabilities, Profile
from .recording import Bundle, End, Read, Recording, Request
from .secrets import REDACTED
from .trace import TraceError, load
from .untimed import NO_TIME

FILE_BYTES_MAX = 256 << 20
_GZIP = b"\x1f\x8b"
_SECRET_NAME = re.compile(r"token|secret|passw|key|auth|sig|session|credential|code|jwt", re.I)


def trace_meta(target: str, profile: str, evidence: Evidence) -> dict[str, Any]:
    """What a trace has to know beside its bundles, to be judged again."""
    return {
        "target": target,
        "profile": profile,
        "shaped": evidence.shaped,
        "found": evidence.found,
        "long": evidence.long,
        "stopped": evidence.stopped,
        "vanished_at": evidence.vanished_at,
        "loop_lag_s": evidence.loop_lag_s,
        "loop_lag_max_s": evidence.loop_lag_max_s,
        "starved": evidence.starved,
        "wall_at_zero": evidence.wall_at_zero,
        "left_out": evidence.left_out,
        "by_profile": evidence.by_profile,
    }


def evidence_from(path: Path, profile: Profile) -> Evidence:
    """The evidence in a file, whichever of the three kinds it is, read as the profile says.

    Raises:
        TraceError: it cannot be used; the message names the file and the place.
    """
    evidence = _evidence_in(path)
    if members := profile.members:
        evidence.bundles = {
            name: dataclasses.replace(
                bundle,
                recordings=tuple(
                    dataclasses.replace(recording, members=members)
                    for recording in bundle.recordings
                ),
            )
            for name, bundle in evidence.bundles.items()
        }
    return evidence


def _evidence_in(path: Path) -> Evidence:
    try:
        with path.open("rb") as file:
            start = file.read(64)
            if start.startswith(_GZIP):
                return _from_trace(path)
            data = start + file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > FILE_BYTES_MAX:
        raise TraceError(f"{path}: larger than the {FILE_BYTES_MAX >> 20} MiB that are read")
    try:
        if path.suffix.lower() == ".har" or start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
            return _lone_streams("a .har file", map(_of_har, har_streams(data)))
        if start.startswith(b"HTTP/"):
            return _lone_streams("a dump of curl", [_of_dump(a) for a in _streams(data)])
    except DumpError as error:
        raise TraceError(f"{path}: {error}") from error
    raise TraceError(
        f"{path}: not a trace, nor a .har file, nor what curl -i prints (it begins with "
        f"{start[:24]!r})"
    )


def _from_trace(path: Path) -> Evidence:
    meta, bundles = load(path)
    return Evidence(
        bundles={bundle.scenario: bundle for bundle in bundles},
        shaped=bool(meta["shaped"]),
        found=dict(meta["found"]),
        long=bool(meta["long"]),
        stopped=str(meta["stopped"]),
        vanished_at=meta["vanished_at"],
        loop_lag_s=float(meta["loop_lag_s"]),
        loop_lag_max_s=float(meta["loop_lag_max_s"]),
        starved=float(meta.get("starved", 0.0)),
        wall_at_zero=float(meta["wall_at_zero"]),
        left_out=str(meta.get("left_out", "")),
        by_profile=bool(meta.get("by_profile")),
    )


def _lone_streams(kind: str, recordings: Iterable[Recording]) -> Evidence:
    numbered = tuple(
        dataclasses.replace(recording, label=f"stream {number}")
        for number, recording in enumerate(recordings, start=1)
    )
    unknown = f"{LEFT_OUT}: {kind} does not tell"
    return Evidence(
        bundles={PROBE_NAME: Bundle(PROBE_NAME, numbered)},
        found={part.name: unknown for part in dataclasses.fields(Capabilities)},
        saved_as=kind,
    )


def _streams(data: bytes) -> list[Answer]:
    found = answers(data)
    streams = [a for a in found if a.status == 200 and _media_type(a) == "text/event-stream"]
    if not streams:
        told = ", ".join(f"{a.status} {_media_type(a) or 'without a type'}" for a in found[:5])
        raise DumpError(f"no event stream is in it (200 text/event-stream), only: {told}")
    return streams


def _media_type(answer: Answer) -> str:
    return answer.header("content-type").partition(";")[0].strip().lower()


def _of_dump(answer: Answer) -> Recording:
    return _recording(answer, Request("GET", ""), exact=True)


def _of_har(stream: tuple[Mapping[str, Any], Answer, bool]) -> Recording:
    request, answer, is_bytes = stream
    headers = tuple((str(h["name"]), str(h["value"])) for h in request["headers"])
    asked = Request(
        str(request["method"]),
        _without_secrets(str(request["url"])),
        tuple((n, REDACTED if is_secret(n) or _SECRET_NAME.search(n) else v) for n, v in headers),
    )
    return _recording(answer, asked, exact=is_bytes)


def _recording(answer: Answer, asked: Request, *, exact: bool) -> Recording:
    cursor = asked.header("last-event-id")
    return Recording(
        label="",
        request=asked,
        sent_at=NO_TIME,
        status=answer.status,
        http_version=answer.http_version,
        headers=tuple((n, REDACTED if is_secret(n) else v) for n, v in answer.headers),
        head_at=NO_TIME,
        reads=(Read(NO_TIME, answer.body),) if answer.body else (),
        # Whether the stream had ended, or was only left, is not in the file.
        end=End.LEFT,
        ended_at=NO_TIME,
        info={"untimed": True, "decoded": not exact, "after": cursor},
    )


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    query = [
        (name, REDACTED if _SECRET_NAME.search(name) else value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query, safe="[]"), ""))
