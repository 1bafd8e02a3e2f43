"""HDR: a stream's head says what it is, that nobody may keep it, and on what it depends.

Caches, proxies and browsers decide by the head alone whether they buffer, store or refuse a stream;
the events themselves may be right and still never arrive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from streamgauge.check import Run, check
from streamgauge.recording import Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .reading import all_streams

STREAMS = ("log", "live", "inputs", "starts")
PROXY_SERVERS = re.compile(
    r"nginx|openresty|cloudflare|varnish|envoy|haproxy|caddy|apache|google frontend|traefik|awselb",
    re.IGNORECASE,
)
CHARSETS = frozenset({"", "utf-8", "utf8"})


@check("HDR-01", *STREAMS)
def test_streams_are_event_streams(run: Run) -> Found:
    """If a stream is opened, then the answer is 200 text/event-stream, in UTF-8."""
    judged = 0
    for recording in _plain_streams(run):
        if recording.status != 200 or recording.media_type != "text/event-stream":
            raise Broken(
                f"a stream answers {recording.status} {recording.media_type or 'without a type'}",
                recording,
                count=judged,
                what="streams",
            )
        charset = _parameter(recording.header("content-type") or "", "charset")
        if charset not in CHARSETS:
            raise Broken(
                f"the stream's charset is {charset!r}: clients decode UTF-8 whatever it says",
                recording,
                count=judged,
                what="streams",
            )
        judged += 1
    return Found(judged, "streams")


def _plain_streams(run: Run) -> Iterator[Recording]:
    """Answers to requests for a job's stream from its beginning, whatever they were."""
    for scenario, labels in (
        ("log", ("replay 1", "replay 2", "reader")),
        ("live", ("reader", "joiner")),
        ("starts", ("join",)),
        ("probe", ("reader",)),
    ):
        bundle = run.evidence.bundles.get(scenario)
        for label in labels if bundle else ():
            for recording in bundle.all(label) if bundle else ():
                if (
                    recording.answered
                    and (recording.request.method == "GET" or run.profile.api.start_streams)
                    and "text/event-stream" in (recording.request.header("accept") or "")
                ):
                    yield recording


def _parameter(content_type: str, name: str) -> str:
    for part in content_type.split(";")[1:]:
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"').lower()
    return ""


@check("HDR-02", *STREAMS)
def test_live_streams_are_framed_one_way(run: Run) -> Found:
    """If a stream is live, then it has no Content-Length and one way of telling its end."""
    judged = 0
    for recording in all_streams(run):
        length, coding = recording.header("content-length"), recording.header("transfer-encoding")
        if length is not None:
            also = " beside Transfer-Encoding" if coding else ""
            raise Broken(
                f"Content-Length: {length}{also} on a stream: its length cannot be known",
                recording,
                count=judged,
                what="streams",
            )
        if coding is not None and [c.strip().lower() for c in coding.split(",")] != ["chunked"]:
            raise Broken(f"Transfer-Encoding: {coding}", recording, count=judged, what="streams")
        judged += 1
    return Found(judged, "streams")


@check("HDR-03", *STREAMS)
def test_streams_are_not_cached(run: Run) -> Found:
    """If a stream is answered, then Cache-Control has no-cache or no-store."""
    judged = 0
    for recording in all_streams(run):
        value = (recording.header("cache-control") or "").lower()
        directives = {part.partition("=")[0].strip() for part in value.split(",")}
        if not directives & {"no-cache", "no-store"}:
            raise Broken(
                f"Cache-Control is {value!r}: a cache may keep and repeat the stream",
                recording,
                count=judged,
                what="streams",
            )
        judged += 1
    return Found(judged, "streams")


@check("HDR-04", *STREAMS)
def test_streams_ask_proxies_not_to_buffer(run: Run) -> Found:
    """If a stream leaves its origin, then X-Accel-Buffering: no goes with it."""
    judged = 0
    for recording in all_streams(run):
        value = recording.header("x-accel-buffering")
        if value is None:
            proxy = recording.header("via") or recording.header("server") or ""
            if recording.header("via") or PROXY_SERVERS.search(proxy):
                raise Unable(
                    f"there is a proxy in between ({proxy}) that may have consumed the header: ask "
                    "the origin itself"
                )
            raise Broken(
                "no X-Accel-Buffering: nginx buffers the stream",
                recording,
                count=judged,
                what="streams",
            )
        if value.strip().lower() != "no":
            raise Broken(f"X-Accel-Buffering is {value!r}", recording, count=judged, what="streams")
        judged += 1
    return Found(judged, "streams")


@check("HDR-05", "inputs", "log")
def test_streams_say_nosniff_and_vary(run: Run) -> Found:
    """If the answer depends on Origin or Accept, then Vary names them; and nothing is sniffed."""
    bundle = run.bundle("inputs")
    plain = run.need("inputs", "replay")
    if not plain.is_stream:
        raise Unable("no stream was answered")
    if (plain.header("x-content-type-options") or "").strip().lower() != "nosniff":
        raise Broken("no X-Content-Type-Options: nosniff", plain, count=1, what="streams")
    vary = {part.strip().lower() for part in (plain.header("vary") or "").split(",")}
    looked = 1
    with_origin = bundle.get("with origin")
    allowed = with_origin.header("access-control-allow-origin") if with_origin else None
    without = plain.header("access-control-allow-origin")
    if allowed != without and not vary & {"origin", "*"}:
        raise Broken(
            "the answer depends on Origin, and Vary does not name it",
            with_origin,
            count=looked,
            what="streams",
        )
    looked += with_origin is not None
    refused = bundle.get("accept json")
    if (
        refused is not None
        and refused.answered
        and (refused.status, refused.media_type) != (200, "text/event-stream")
        and not vary & {"accept", "*"}
    ):
        raise Broken(
            "the answer depends on Accept, and Vary does not name it",
            plain,
            count=looked,
            what="streams",
        )
    return Found(looked + (refused is not None), "answers compared", f"Vary: {', '.join(vary)}")


@check("HDR-06", "inputs")
def test_accept_is_honoured(run: Run) -> Found:
    """If Accept excludes event streams, then the answer is the declared refusal, not a stream."""
    bundle = run.bundle("inputs")
    declared = run.profile.declared.not_acceptable_status
    judged = 0
    for recording in bundle.all("accept"):
        excluded = recording.label in ("accept json", "accept html", "accept excluded")
        if not recording.answered:
            raise Broken(
                f"{recording.label}: {outcome(recording)}", recording, count=judged, what="requests"
            )
        if excluded and (recording.is_stream or recording.status != declared):
            accept = recording.request.header("accept")
            raise Broken(
                f"Accept: {accept} is answered {recording.status} {recording.media_type}, declared "
                f"is {declared}",
                recording,
                count=judged,
                what="requests",
            )
        if not excluded and recording.status != 200:
            accept = recording.request.header("accept")
            raise Broken(
                f"Accept: {accept} allows event streams and is answered {recording.status}",
                recording,
                count=judged,
                what="requests",
            )
        judged += 1
    return Found(judged, "requests")
