"""H2: over HTTP/2 it is the same stream, and streams of one connection do not harm each other.

Browsers use HTTP/2 wherever it is offered, and put all tabs of a site on one connection. What goes
wrong there (a stream that never ends, a slot that is never freed) cannot be seen on HTTP/1.1.
"""

from __future__ import annotations

from typing import Any

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End, Recording, outcome
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, NotRun, Unable

from .breaking import broken_part, hooked
from .comparing import difference
from .reading import exhibit, has_terminal, recycled, stream_log
from .test_pad import frames

CONNECTION_FIELDS = frozenset(
    {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}
)
CLEAN_REFUSALS = ("REFUSED_STREAM", "PROTOCOL_ERROR", "ENHANCE_YOUR_CALM")
"""Stream errors; the first two are what RFC 9113 §5.1.2 asks for."""
SILENT_S = 5.0


def _connection(bundle: Bundle, name: str) -> dict[str, Any]:
    """What is known of a connection of the scenario.

    Raises:
        Unable: it was not made.
    """
    facts = bundle.facts.get("connections", {}).get(name)
    if not isinstance(facts, dict):
        raise Unable(bundle.unable or f"the HTTP/2 connection {name!r} was not made")
    return facts


def _ended_by_target(facts: dict[str, Any]) -> str:
    """How the target ended a connection, "" where it did not."""
    if facts["fault"]:
        return str(facts["fault"])
    if facts["goaway"]:
        return f"GOAWAY({facts['goaway']})"
    return "the connection was closed" if facts["closed"] else ""


def _over_h2(bundle: Bundle) -> list[Recording]:
    """All answers that came over HTTP/2."""
    return [r for r in bundle.recordings if r.http_version == "HTTP/2" and r.head_at is not None]


@check("H2-01", "http2", part="http2")
def test_the_log_is_the_same_over_http2(run: Run) -> Found:
    """If HTTP/2 is offered, then a job's log and its padding are the same over it."""
    bundle = run.bundle("http2")
    facts = _connection(bundle, "first")
    if bundle.facts.get("offered") and bundle.unable.startswith("HTTP/2 was not spoken"):
        raise Broken(f"the target chose h2 by ALPN, but {bundle.unable} (RFC 9113 §3.4)")
    if facts["fault"]:
        raise Broken(f"the HTTP/2 connection failed: {facts['fault']}", bundle.get("h2 reader"))
    plain = run.need("http2", "h1 replay")
    log = stream_log(plain, run.profile)
    if not has_terminal(log, run.profile):
        raise Unable("the log could not be read whole over HTTP/1.1")
    compared = 0
    for label in ("h2 replay", "h2 reader"):
        recording = run.need("http2", label)
        if not recording.is_stream:
            raise Broken(
                f"{label}: status {recording.status or 'none'} {recording.media_type} "
                f"({recording.end.value}) over HTTP/2, where HTTP/1.1 gives the stream",
                recording,
                plain,
                count=compared,
                what="events compared",
            )
        got = stream_log(recording, run.profile)
        # What a reader of a natural job had missed, and what it got before it was recycled, is
        # judged elsewhere.
        partly = recycled(recording, run.profile) or not run.shaped
        said, shown = difference(log[: len(got)] if partly else log, got)
        if said and not (label == "h2 reader" and not run.shaped):
            raise Broken(
                f"{label}: {said}", exhibit(recording, shown), plain, count=compared, what="events"
            )
        compared += len(got)
    _same_padding(run, plain, run.need("http2", "h2 replay"), compared)
    how = "by ALPN" if bundle.facts.get("offered") else "with prior knowledge"
    return Found(compared, "events compared", f"HTTP/2 {how}", shown=bundle.get("h2 replay"))


def _same_padding(run: Run, plain: Recording, other: Recording, count: int) -> None:
    """No frame may be short over HTTP/2 that is long enough over HTTP/1.1."""
    least = run.profile.declared.frame_bytes
    wanted = {frame.block.own_id: frame.octets for frame in frames(plain) if frame.block.own_id}
    for frame in frames(other):
        octets = wanted.get(frame.block.own_id) if frame.block.own_id else None
        if octets is not None and frame.octets < min(octets, least):
            raise Broken(
                f"the frame of event {frame.block.own_id!r} has {frame.octets:,} octets over "
                f"HTTP/2 and {octets:,} over HTTP/1.1",
                frame.shown,
                plain,
                count=count,
                what="events compared",
            )


@check("H2-02", "http2", part="http2")
def test_header_fields_are_those_of_http2(run: Run) -> Found:
    """If an answer comes over HTTP/2, then its field names are lower case, none about HTTP/1.1."""
    answers = _over_h2(run.bundle("http2"))
    for number, recording in enumerate(answers):
        said = ""
        if recording.status is None:
            said = "no valid :status (RFC 9113 §8.3.2)"
        for name, value in recording.headers:
            if name != name.lower():
                said = f"the field name {name!r} is not in lower case (RFC 9113 §8.2.1)"
            elif name.startswith(":"):
                said = f"the pseudo-header field {name!r} (RFC 9113 §8.3.2)"
            elif name in CONNECTION_FIELDS or (name == "te" and value.strip() != "trailers"):
                said = f"the connection-specific field {name}: {value} (RFC 9113 §8.2.2)"
            if said:
                break
        if said:
            where = Exhibit(recording, said)
            raise Broken(f"{recording.label}: {said}", where, count=number, what="answers")
    if not answers:
        _connection(run.bundle("http2"), "first")
    return Found(len(answers), "answers")


@check("H2-03", "http2", part="http2")
def test_a_hundred_streams_at_once(run: Run) -> Found:
    """If 100 streams are opened on a connection, or as many as it states, then all of them work."""
    bundle = run.bundle("http2")
    connection = _connection(bundle, "slots")
    if "slots" not in bundle.facts:
        raise Unable(bundle.unable or "the streams were not opened")
    facts = bundle.facts
    count, answered, fed = facts["slots"], facts["slots_answered"], facts.get("slots_fed", 0)
    limit = connection["max_streams"]
    stated = f"a limit of {limit} is stated" if limit is not None else "no limit is stated"
    ended = _ended_by_target(connection)
    surplus = list(facts.get("surplus", ()))
    slots = bundle.all("slot")
    if ended:
        beyond = f" and {len(surplus)} beyond the limit" if surplus else ""
        raise Broken(
            f"{count} streams{beyond} were opened on one connection, and it ended for all of them: "
            f"{ended} ({stated}; RFC 9113 §5.1.2)",
            *slots[:1],
            count=answered,
            what="streams at once",
        )
    if answered < count or fed < count:
        bad = next((r for r in slots if r.status != 200 or not r.reads), None)
        raise Broken(
            f"of {count} streams at once, {answered} were answered, {fed} showed data ({stated})",
            bad,
            count=answered,
            what="streams at once",
        )
    unclean = [said for said in surplus if not _is_clean(said)]
    hurt = [r for r in slots if surplus and not r.info.get("open_at_once")]
    if unclean or hurt:
        told = f"a surplus stream ended with {unclean[0]}" if unclean else "streams within it ended"
        raise Broken(
            f"{told} when more were opened than the stated {limit} (RFC 9113 §5.1.2)",
            *(hurt[:1] or bundle.all("surplus")[:1]),
            count=answered,
            what="streams at once",
        )
    beyond = f"; beyond it: {surplus[0]}" if surplus else "; it was not exceeded"
    return Found(fed, "streams at once", stated + (beyond if limit is not None else ""))


def _is_clean(said: str) -> bool:
    """Whether a surplus stream was served, left waiting, or refused by a stream error."""
    refused = any(said == f"RST_STREAM({code})" for code in CLEAN_REFUSALS)
    return refused or said == "no answer" or said.startswith("status ")


@check("H2-04", "http2", part="http2")
def test_a_stream_without_window_blocks_nobody(run: Run) -> Found:
    """If a stream has no window left, then the other streams of its connection go on."""
    bundle = run.bundle("http2")
    connection = _connection(bundle, "windows")
    starved = bundle.all("starved")
    if connection["fault"]:
        raise Broken(
            f"the connection of streams without window failed: {connection['fault']}", *starved[:1]
        )
    held = [
        r
        for r in starved
        if r.is_stream and r.info.get("held_open") and r.info.get("held") == r.info.get("window")
    ]
    if not held:
        raise Unable(bundle.unable or "no stream could be kept waiting for a window")
    judged = 0
    for recording in (*bundle.all("sibling 0"), *bundle.all("sibling 1")):
        if has_terminal(stream_log(recording, run.profile), run.profile):
            judged += 1
        elif not recording.ended_cleanly:  # an early end without a block is judged by LIFE-05
            _blocked(recording, held, judged)
    if not judged:
        raise Unable("the streams beside those without window ended before the log did")
    question = bundle.get("sibling question")
    if question is not None and question.status is None:
        _blocked(question, held, judged)
    for recording in held:
        size = sum(len(read.data) for read in recording.reads)
        if size == recording.info.get("held") and recording.end is End.TIMEOUT:
            raise Broken(
                f"{recording.label}: its window was opened again, and nothing more came "
                "(RFC 9113 §6.9)",
                recording,
                count=judged,
                what="streams beside one without window",
            )
    if connection["closed"]:
        raise Broken(
            f"the connection ended: {_ended_by_target(connection)}",
            *held[:1],
            count=judged,
            what="streams beside one without window",
        )
    return Found(judged, "streams beside one without window")


def _blocked(recording: Recording, held: list[Recording], count: int) -> None:
    last = recording.reads[-1].at if recording.reads else recording.sent_at
    if recording.end is End.TIMEOUT and recording.ended_at - last < SILENT_S:
        raise Unable(f"{recording.label} was slow, but not blocked: it still went on at the end")
    size = sum(len(read.data) for read in recording.reads)
    raise Broken(
        f"{recording.label} stopped after {size:,} octets ({recording.end.value}) while "
        f"{len(held)} other streams of its connection had no window (RFC 9113 §5.2)",
        Exhibit(recording, "beside streams without window"),
        *held[:1],
        count=count,
        what="streams beside one without window",
    )


@check("H2-05", "http2", part="http2")
def test_a_reset_frees_its_slot(run: Run) -> Found:
    """If streams are cancelled, then others can be opened in their place, and siblings go on."""
    bundle = run.bundle("http2")
    connection = _connection(bundle, "cancels")
    facts = bundle.facts
    made, total, limit = facts.get("cancelled"), facts.get("cancel_total"), facts["cancel_limit"]
    if made is None:
        raise Unable(bundle.unable or "the streams were not opened")
    if connection["goaway"] == "ENHANCE_YOUR_CALM":
        raise Unable("the target protects itself against many resets: it sent ENHANCE_YOUR_CALM")
    if connection["goaway"] == "NO_ERROR" and made < total:
        raise Unable(f"the target retires a connection after {made} requests (GOAWAY, NO_ERROR)")
    if connection["closed"] or connection["fault"]:
        raise Broken(
            f"after {made} streams had been cancelled, the connection ended: "
            f"{_ended_by_target(connection)} (RFC 9113 §5.4)",
            bundle.get("sibling of cancels"),
            count=made,
            what="streams cancelled",
        )
    if facts["cancel_stuck"]:
        raise Broken(
            f"after {made} streams had been opened and cancelled, the next one got: "
            f"{facts['cancel_stuck'][0]} (at once at most {limit or 'without stated limit'})",
            *bundle.all("cancel"),
            count=made,
            what="streams cancelled",
        )
    for label in ("sibling of cancels", "after cancels"):
        recording = run.need("http2", label)
        seen = stream_log(recording, run.profile)
        if not has_terminal(seen, run.profile):
            if recording.ended_cleanly:
                raise Unable(f"{label}: the target ended it before its log did: see LIFE-05")
            raise Broken(
                f"{label}: {len(seen)} events, then {recording.end.value} {recording.error}, while "
                f"{made} other streams were cancelled",
                recording,
                count=made,
                what="streams cancelled",
            )
    used = limit is not None and made > limit
    told = f"a stated limit of {limit} was passed" if used else "no stated limit was passed"
    return Found(made, "streams cancelled", told)


@check("H2-06", "http2", "drained", part="http2")
def test_the_terminal_event_is_followed_by_end_stream(run: Run) -> Found:
    """If a stream has shown the terminal event, then END_STREAM follows within declared time."""
    within_s = run.profile.declared.close_s
    ended = 0
    for recording in _over_h2(run.bundle("http2")):
        seen = stream_log(recording, run.profile) if recording.is_stream else ()
        if not has_terminal(seen, run.profile):
            continue
        waited_s = recording.ended_at - seen[-1].at
        if recording.end is End.LEFT or (recording.end is End.TIMEOUT and waited_s < within_s):
            continue  # not watched for long enough
        if recording.end is not End.COMPLETE or waited_s > within_s:
            how = {
                End.COMPLETE: f"END_STREAM came only after {waited_s:.1f} s",
                End.TIMEOUT: f"the stream was still open after {waited_s:.1f} s",
            }.get(recording.end, f"{recording.error or recording.end.value} instead of END_STREAM")
            raise Broken(
                f"{recording.label}: {how} (RFC 9113 §8.1)",
                exhibit(recording, seen[-1], "the terminal event"),
                count=ended,
                what="streams ended",
            )
        ended += 1
    if not ended:
        raise Unable(run.bundle("http2").unable or "no stream over HTTP/2 came to its end")
    return Found(ended, "streams ended", _drained(run, ended))


def _drained(run: Run, count: int) -> str:
    """What a drain did to a stream over HTTP/2, or why that is not known.

    Raises:
        Broken: the stream was reset, or the connection ended without GOAWAY.
    """
    try:
        bundle = broken_part(run, "drained")
        at, _ = hooked(bundle, "terminate")
    except (NotRun, Unable) as reason:
        return f"what a drain does was not judged: {reason}"
    stream, connection = bundle.get("h2 drained"), bundle.facts.get("h2")
    if stream is None or not stream.is_stream or not connection or stream.ended_at < at:
        return "no stream over HTTP/2 was open when an instance drained"
    if stream.end is not End.COMPLETE:
        raise Broken(
            f"{stream.label}: {outcome(stream)} instead of END_STREAM when the instance was told "
            "to end",
            stream,
            count=count,
            what="streams ended",
        )
    if connection.get("goaway") is None:
        raise Broken(
            "the connection of an instance that was told to end was closed without GOAWAY (RFC "
            "9113 §6.8)",
            stream,
            count=count,
            what="streams ended",
        )
    return "a drain ended its stream with END_STREAM, and said GOAWAY"
