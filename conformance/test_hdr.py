"""HDR: do status and headers say what a stream needs and what has happened?"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator

from streamgauge.check import Run, check
from streamgauge.lab import outcome
from streamgauge.recording import End, Recording
from streamgauge.results import Exhibit
from streamgauge.sse import Parser
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .reading import all_streams, as_json, control, control_data, is_log, stream_log, streams

STREAMS = ("log", "live", "inputs", "starts")
PROXY_SERVERS = re.compile(
    r"nginx|openresty|cloudflare|varnish|envoy|haproxy|caddy|apache|google frontend|traefik|awselb",
    re.IGNORECASE,
)
CHARSETS = frozenset({"", "utf-8", "utf8"})


def _of(run: Run, count: int = 0) -> Iterator[Recording]:
    yield from all_streams(run)


def _exchanges(run: Run) -> Iterator[Recording]:
    yield from (r for r in run.recordings() if r.answered)


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
                    and recording.request.method == "GET"
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
    for recording in _of(run):
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
    for recording in _of(run):
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
    for recording in _of(run):
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
        if not excluded and not recording.is_stream:
            accept = recording.request.header("accept")
            raise Broken(
                f"Accept: {accept} allows event streams and is answered {recording.status}",
                recording,
                count=judged,
                what="requests",
            )
        judged += 1
    return Found(judged, "requests")


@check("HDR-07", "live")
def test_compression_does_not_hold_events(run: Run) -> Found:
    """If the client offers compression, then each event is decodable when it arrives."""
    bundle = run.bundle("live")
    recording = bundle.get("coded reader")
    if recording is None or not recording.is_stream:
        raise Unable(bundle.unable or "no stream was opened that offers compression")
    coding = (recording.header("content-encoding") or "identity").strip().lower()
    if coding == "identity":
        return Found(len(stream_log(recording, run.profile)), "events under identity coding")
    if coding not in ("gzip", "deflate"):
        raise Unable(f"the stream is coded as {coding}, which the suite cannot decode")
    arrivals = _decoded(recording, coding)
    plain = next(iter(streams(bundle, "reader 1", "reader 0")), None)
    if plain is None:
        raise Unable("no plain stream beside the coded one")
    times = {e.id: e.at for e in stream_log(plain, run.profile)}
    bound = run.profile.declared.lag_p95_s
    judged = 0
    for identifier, at in arrivals:
        behind = at - times.get(identifier, at)
        if behind > bound:
            raise Broken(
                f"coded as {coding}, event {identifier} is decodable {behind:.1f} s after it is "
                "readable without coding: the coder is not flushed",
                Exhibit(recording, f"coded as {coding}"),
                count=judged,
                what="events decoded on arrival",
            )
        judged += 1
    if not judged:
        raise Broken(
            f"nothing could be decoded from the {coding} stream while the plain one went on",
            Exhibit(recording, f"coded as {coding}"),
            what="events decoded on arrival",
        )
    return Found(judged, "events decoded on arrival")


def _decoded(recording: Recording, coding: str) -> list[tuple[str, float]]:
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS if coding == "gzip" else zlib.MAX_WBITS)
    parser, found = Parser(), []
    for read in recording.reads:
        try:
            data = decoder.decompress(read.data)
        except (zlib.error, gzip.BadGzipFile):
            break
        found += [(b.own_id, read.at) for b in parser.feed(data, read.at) if b.own_id]
    return found


@check("HDR-08", "starts", "probe")
def test_starts_answer_with_urls_that_work_at_once(run: Run) -> Found:
    """If a start is accepted, then it names the job and its URLs, and each answers at once."""
    judged = _accepted(run)
    bundle = run.evidence.bundles.get("starts")
    for prefix in ("stream", "snapshot"):
        for recording in bundle.all(prefix) if bundle else ():
            if recording.answered and recording.status != 200:
                raise Broken(
                    f"the {prefix} of a job that has just been accepted answers {recording.status}",
                    recording,
                    count=judged,
                    what="answers",
                )
            if not recording.answered and recording.end in (End.CUT, End.RESET, End.PROTOCOL_ERROR):
                raise Broken(
                    f"the {prefix} of a job that has just been accepted: {outcome(recording)}",
                    recording,
                    count=judged,
                    what="answers",
                )
            if prefix == "snapshot" and recording.end is End.TIMEOUT:
                raise Broken(
                    "the snapshot of a job that has just been accepted does not answer",
                    recording,
                    count=judged,
                    what="answers",
                )
            judged += recording.answered
    answer = next((r for r in _start_answers(run)), None)
    told = ""
    if answer is not None and (answer.status != 202 or not answer.header("location")):
        place = "with" if answer.header("location") else "without"
        told = f"answers {answer.status} {place} Location (should: 202 with Location)"
    return Found(judged, "answers", told)


def _start_answers(run: Run) -> Iterator[Recording]:
    for name, labels in (("probe", ("start shaped", "start plain")), ("starts", ("start",))):
        bundle = run.evidence.bundles.get(name)
        for label in labels if bundle else ():
            yield from bundle.all(label) if bundle else ()


def _accepted(run: Run) -> int:
    """Count the accepted starts; fail where the plain one was not accepted as it should be."""
    answers = list(_start_answers(run))
    plain = [r for r in answers if not (r.label == "start shaped" and not _accepts(r))]
    for recording in plain:
        if not recording.answered:
            raise Broken(f"start: {outcome(recording)}", recording, what="answers")
        if not _accepts(recording):
            where = recording.header("location")
            moved = (
                f" to {where}: give that address as base URL"
                if where and 300 <= (recording.status or 0) < 400
                else ""
            )
            raise Broken(f"a start answers {recording.status}{moved}", recording, what="answers")
        body = recording.json
        if not isinstance(body, dict):
            raise Broken(
                f"an accepted start answers no JSON object ({recording.media_type or 'no type'})",
                recording,
                what="answers",
            )
        missing = [m for m in ("job_id", "stream_url", "snapshot_url") if not body.get(m)]
        if missing:
            raise Broken(
                f"an accepted start does not tell {', '.join(missing)}", recording, what="answers"
            )
    if not plain:
        raise Unable("no start was answered")
    return len(plain)


def _accepts(recording: Recording) -> bool:
    return recording.status is not None and 200 <= recording.status < 300


@check("HDR-09", "inputs")
def test_methods_are_answered_properly(run: Run) -> Found:
    """If a method is wrong, then 405 with Allow; HEAD has GET's headers, no body, and no hang."""
    bundle = run.bundle("inputs")
    judged = 0
    for recording in bundle.all("method"):
        name = f"{recording.request.method} on {recording.label.split()[1]}"
        if recording.status != 405 and not (
            recording.label == "method stream unknown" and recording.status == 501
        ):
            raise Broken(
                f"{name}: {outcome(recording)}, not 405", recording, count=judged, what="requests"
            )
        if recording.status == 405 and recording.header("allow") is None:
            raise Broken(f"{name}: 405 without Allow", recording, count=judged, what="requests")
        judged += 1
    replay = run.need("inputs", "replay")
    for recording in bundle.all("head"):
        fault = _head_fault(recording, replay)
        if fault:
            raise Broken(
                f"HEAD on {recording.label.split()[1]}: {fault}",
                recording,
                count=judged,
                what="requests",
            )
        judged += 1
    return Found(judged, "requests")


def _head_fault(recording: Recording, replay: Recording) -> str:
    if recording.end is End.TIMEOUT or recording.status is None:
        return f"no answer ({recording.end.value})"
    if recording.status != 200:
        return f"status {recording.status} where GET answers 200"
    if recording.surplus:
        return f"{len(recording.surplus):,} octets of body"
    if recording.label == "head stream" and replay.is_stream:
        for name in ("content-type", "cache-control", "x-accel-buffering"):
            if recording.header(name) != replay.header(name):
                return f"{name} is {recording.header(name)!r}, GET says {replay.header(name)!r}"
    return ""


@check("HDR-10", "inputs", "quota", "starts")
def test_errors_are_problem_documents(run: Run) -> Found:
    """If a request fails, then the answer is problem+json whose status is the real one."""
    judged = 0
    for recording in _expected_errors(run):
        status = recording.status or 0
        if status < 400:
            raise Broken(
                f"{recording.label}: answered {status} where an error is due",
                recording,
                count=judged,
                what="error answers",
            )
        if recording.request.method == "HEAD":
            continue
        if recording.media_type != "application/problem+json":
            raise Broken(
                f"{recording.label}: {status} as {recording.media_type or 'no type'}, not "
                "application/problem+json",
                recording,
                count=judged,
                what="error answers",
            )
        body = as_json(recording.body.decode("utf-8", "replace"))
        if not isinstance(body, dict) or body.get("status") != status:
            told = body.get("status") if isinstance(body, dict) else None
            raise Broken(
                f"{recording.label}: answered {status}, the document says status {told!r}",
                recording,
                count=judged,
                what="error answers",
            )
        judged += 1
    return Found(judged, "error answers")


def _expected_errors(run: Run) -> Iterator[Recording]:
    """Answers that have to be errors by rules which other checks judge only in part."""
    inputs = run.bundle("inputs")
    for recording in (*inputs.all("unknown job"), *inputs.all("bad start")):
        if recording.answered:
            yield recording
    for recording in (*inputs.all("method"), *inputs.all("malformed poll")):
        if recording.status is not None and 400 <= recording.status < 500:
            yield recording
    quota = run.evidence.bundles.get("quota")
    for recording in quota.all("turn refused 0") if quota else ():
        if recording.status == run.profile.declared.quota_status:
            yield recording


@check("HDR-11", "endings")
def test_failures_after_200_are_events(run: Run) -> Found:
    """If a job fails while it streams, then the stream says so in events, never in raw text."""
    bundle = run.bundle("endings")
    known = (b"event", b"data", b"id", b"retry")
    judged = 0
    for recording in streams(bundle, "failed", "crashed"):
        for block in recording.blocks:
            for line in block.fields:
                if line.name not in known:
                    raise Broken(
                        f"after 200 had been sent, the stream carries {line.raw[:60]!r}",
                        Exhibit(recording, "raw text", (line.offset, line.offset + len(line.raw))),
                        count=judged,
                        what="blocks of failing jobs",
                    )
            judged += 1
    if not judged:
        raise Unable(bundle.unable or "no job could be made to fail")
    return Found(judged, "blocks of failing jobs")


@check("HDR-12", "log", "live", "quiet")
def test_the_opening_event_tells_the_truth(run: Run) -> Found:
    """If an opening event is declared, then it comes first, has no id, and its numbers are true."""
    name = run.profile.events.opening
    if not name:
        raise Inapplicable(f"the profile {run.profile.name!r} declares no opening event")
    judged = 0
    for recording in all_streams(run):
        events = [b for b in recording.blocks if b.event is not None]
        if not events:
            continue
        first = events[0]
        span = Exhibit(recording, "the first event", (first.start, first.end))
        assert first.event is not None
        if first.event.type != name:
            raise Broken(
                f"the first event is {first.event.type!r}, not {name!r}",
                span,
                count=judged,
                what="openings",
            )
        if first.own_id is not None:
            raise Broken(
                f"the {name} event has an id ({first.own_id})", span, count=judged, what="openings"
            )
        if len(control(recording, name)) > 1:
            raise Broken(f"{name} comes more than once", span, count=judged, what="openings")
        if fault := _opening_fault(run, recording, control_data(first)):
            raise Broken(f"the {name} event {fault}", span, count=judged, what="openings")
        judged += 1
    return Found(judged, "openings")


def _opening_fault(run: Run, recording: Recording, told: dict[str, object]) -> str:
    job, asked = recording.info.get("job"), recording.info.get("after")
    if job and str(told.get("job_id")) != str(job):
        return f"names the job {told.get('job_id')!r}, asked was {job!r}"
    missing = [member for member in ("after", "latest") if member not in told]
    if missing:
        return f"does not tell {', '.join(missing)}"
    repeated = "repeated" in recording.label or "query" in recording.label
    gap = bool(control(recording, run.profile.events.gap))
    cursor = str(asked) if asked else "0"
    if not repeated and not gap and str(told["after"]) != cursor:
        return f"says after={told['after']!r}, the cursor was {cursor}"
    latest = str(told["latest"])
    ids = [b.own_id for b in recording.blocks if is_log(b, run.profile) and b.own_id]
    if not latest.isdigit() or not all(i.isdigit() for i in ids):
        return ""
    finished = any(
        b.event is not None and b.event.type in run.profile.events.terminal
        for b in recording.blocks
    )
    if finished and ids and int(latest) > int(ids[-1]):
        return f"says latest={latest}, the log ends at {ids[-1]}"
    afterwards = recording.label.startswith(("replay", "suffix", "final replay"))
    if afterwards and finished and ids and int(latest) != int(ids[-1]):
        return f"says latest={latest} of a finished job whose log ends at {ids[-1]}"
    return ""
