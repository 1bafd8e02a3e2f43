"""WIRE: are the bytes an event stream, and does it mean what was emitted?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from streamgauge.check import Run, check
from streamgauge.recording import PackedReads, Recording
from streamgauge.results import Exhibit
from streamgauge.sse import Block, parse
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .payloads import schema_fault
from .reading import all_streams, exhibit, is_log, listed, stream_log, streams
from .scenarios.shapes import EMPTY_TEXT, INJECTION_TEXT, SPACES_TEXT

FIELD_NAMES = frozenset({b"event", b"data", b"id", b"retry"})
BOM = b"\xef\xbb\xbf"
RFC3339_UTC = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]00:00)", re.ASCII
)
PHYSICAL_LINE_MAX = 64 * 1024
REPARSED_MAX = 40
REPARSED_OCTETS_MAX = 3_000_000
EVERYWHERE = ("log", "live", "texts", "endings", "quiet")


def _blocks(run: Run) -> Iterator[tuple[Recording, Block]]:
    for recording in all_streams(run):
        for block in recording.blocks:
            yield recording, block


@check("WIRE-01", *EVERYWHERE)
def test_every_byte_decodes_as_utf8(run: Run) -> Found:
    """If a stream carries bytes, then they are UTF-8 to the last one."""
    octets = 0
    for recording in all_streams(run):
        body = recording.body
        try:
            body.decode("utf-8")
        except UnicodeDecodeError as error:
            cut_off = not recording.ended_cleanly and error.reason == "unexpected end of data"
            if not cut_off:
                start, end = error.start, error.end
                raise Broken(
                    f"byte 0x{body[start]:02X} at offset {start} is not UTF-8 ({error.reason})",
                    Exhibit(recording, "bytes that are not UTF-8", (start, end)),
                    count=octets,
                    what="octets decoded",
                ) from None
        octets += len(body)
    return Found(octets, "octets decoded")


@check("WIRE-02", *EVERYWHERE)
def test_each_event_ends_with_an_empty_line(run: Run) -> Found:
    """If a stream ends cleanly, then no field line is left pending."""
    ended = 0
    for recording in all_streams(run):
        if not recording.ended_cleanly:
            continue
        ended += 1
        pending = [b for b in recording.blocks if not b.complete and b.fields]
        if pending:
            block = pending[0]
            raise Broken(
                f"the stream ended with {len(block.fields)} field lines pending: an event without "
                "its empty line is never dispatched",
                Exhibit(recording, "pending at the end", (block.start, block.end)),
                count=ended,
                what="streams that ended cleanly",
            )
    return Found(ended, "streams that ended cleanly")


def _text_survives(run: Run, name: str, text: str) -> Found:
    """The chosen text comes back whole in every view of its job."""
    bundle = run.bundle("texts")
    if not run.profile.events.json_data:
        # Data lines cannot tell line ends apart: all of them reach the reader as LF.
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    kind, member = run.profile.events.text_type, run.profile.events.text_member
    compared = 0
    for recording in bundle.all(name):
        seen = stream_log(recording, run.profile) if recording.is_stream else listed(recording)
        of_kind = [event for event in seen if event.type == kind]
        for event in of_kind:
            got = event.data.get(member) if isinstance(event.data, dict) else event.data
            if got != text:
                raise Broken(
                    f"{recording.label}: the text of event {event.id!r} came back as "
                    f"{_shown(got)} instead of {_shown(text)}",
                    exhibit(recording, event, "the altered text"),
                    count=compared,
                    what="texts compared",
                )
            compared += 1
        if recording.is_stream and seen and not of_kind:
            stray = [e for e in seen if e.type not in run.profile.events.names]
            raise Broken(
                f"{recording.label}: no {kind} event was dispatched though the job emitted some"
                + (f"; instead there is {stray[0].type!r}" if stray else ""),
                exhibit(recording, stray[0] if stray else seen[-1]),
                count=compared,
                what="texts compared",
            )
        if recording.is_stream and (fault := _forged(run, recording)):
            raise Broken(fault[0], fault[1], count=compared, what="texts compared")
    if not compared:
        raise Unable(bundle.unable or f"no {kind} event of the job {name!r} was seen")
    return Found(compared, "texts compared", shown=bundle.get(f"{name} replay"))


def _forged(run: Run, recording: Recording) -> tuple[str, Exhibit] | None:
    """Events, ids or fields that only a text taken for lines can have made."""
    known = {*run.profile.events.names, *run.profile.control_events}
    numbers = []
    for block in recording.blocks:
        span = Exhibit(
            recording, "a line of the text was taken for a field", (block.start, block.end)
        )
        if block.event is not None and block.event.type not in known:
            return f"an event {block.event.type!r} was dispatched that nobody emitted", span
        if block.event is not None and is_log(block, run.profile) and block.own_id is None:
            return "an event without an id was dispatched out of the text", span
        if block.own_id is not None and block.own_id.isdigit():
            numbers.append(int(block.own_id))
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        return f"the ids are {numbers[:12]}: one of them stood in the text", Exhibit(recording)
    return None


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 120 else text[:117] + "..."


@check("WIRE-03", "texts", "live")
def test_line_ends_in_text_survive(run: Run) -> Found:
    """If a text holds LF, CRLF or CR, then it reaches the reader as one event, unchanged."""
    if not run.shaped:
        return _natural_texts(run, re.compile(r"[\r\n]"), "a line end")
    return _text_survives(run, "injection", INJECTION_TEXT)


@check("WIRE-04", "texts", "live")
def test_blanks_and_odd_characters_survive(run: Run) -> Found:
    """If a text holds leading blanks, tabs, U+0085, U+2028 or NUL, then all are still there."""
    if not run.shaped:
        return _natural_texts(
            run, re.compile("^[ \\t]|[\\t\u0085\u2028\u2029\0]"), "such characters"
        )
    return _text_survives(run, "spaces", SPACES_TEXT)


@check("WIRE-05", "texts", "live")
def test_an_empty_text_is_still_dispatched(run: Run) -> Found:
    """If an event's text is empty, then it has a data line all the same and is dispatched."""
    if not run.shaped:
        return _natural_texts(run, re.compile(r"\A\Z"), "no character at all")
    return _text_survives(run, "empty", EMPTY_TEXT)


def _natural_texts(run: Run, pattern: re.Pattern[str], what: str) -> Found:
    """Where texts can't be chosen: those of the target's own job, compared between its views."""
    log = {
        event.id: event
        for recording in streams(run.bundle("live"), "final replay", "reader")
        for event in stream_log(recording, run.profile)
    }
    compared = 0
    for page in run.bundle("live").all("final poll"):
        for event in listed(page):
            if not any(pattern.search(text) for text in _strings(event.data)):
                continue
            twin = log.get(event.id)
            if twin is not None and twin.data != event.data:
                raise Broken(
                    f"event {event.id!r} holds {what} and differs between the stream and polling",
                    page,
                    count=compared,
                    what="texts compared",
                )
            compared += twin is not None
    if not compared:
        raise Unable(f"no event of the target's own job holds {what}, and texts cannot be chosen")
    return Found(compared, "texts compared")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@check("WIRE-06", *EVERYWHERE)
def test_ids_hold_no_forbidden_characters(run: Run) -> Found:
    """If a block has an id, then it holds no NUL (a client would ignore the id)."""
    ids = 0
    for recording, block in _blocks(run):
        for line in block.fields:
            if line.name != b"id":
                continue
            ids += 1
            if b"\0" in line.value or b"\r" in line.value:
                raise Broken(
                    f"the id {line.value!r} holds a character that makes clients ignore it",
                    Exhibit(recording, "the id", (line.offset, line.offset + len(line.raw))),
                    count=ids,
                    what="ids looked at",
                )
    return Found(ids, "ids looked at")


@check("WIRE-07", *EVERYWHERE)
def test_only_known_fields_and_event_names(run: Run) -> Found:
    """If a line is no comment, then it is event, data, id or retry, spelled exactly so."""
    known = {*run.profile.events.names, *run.profile.control_events}
    lines = 0
    for recording, block in _blocks(run):
        if not block.complete and not recording.ended_cleanly:
            continue
        for line in block.fields:
            lines += 1
            if line.name not in FIELD_NAMES:
                raise Broken(
                    f"the line {line.raw[:60]!r} is no field that a client knows",
                    Exhibit(recording, "the line", (line.offset, line.offset + len(line.raw))),
                    count=lines,
                    what="field lines",
                )
        if block.event is not None and block.event.type not in known:
            raise Broken(
                f"the event name {block.event.type!r} is none of the declared ones",
                Exhibit(recording, "the event", (block.start, block.end)),
                count=lines,
                what="field lines",
            )
    return Found(lines, "field lines")


@check("WIRE-08", *EVERYWHERE)
def test_retry_is_digits(run: Run) -> Found:
    """If a stream sets `retry`, then its value is ASCII digits only."""
    seen = 0
    for recording, block in _blocks(run):
        for line in block.fields:
            if line.name != b"retry":
                continue
            seen += 1
            if not line.value.isdigit():
                raise Broken(
                    f"`retry` is {line.value[:40]!r}: clients ignore everything but digits",
                    Exhibit(recording, "the retry", (line.offset, line.offset + len(line.raw))),
                    count=seen,
                    what="retry lines",
                )
    if not seen:
        raise Inapplicable("no stream of the target sets `retry`")
    return Found(seen, "retry lines")


@check("WIRE-09", *EVERYWHERE)
def test_no_bom_inside_the_stream(run: Run) -> Found:
    """If a byte order mark stands anywhere but at byte 0, then it spoils the field behind it."""
    looked = 0
    for recording, block in _blocks(run):
        for line in block.lines:
            looked += 1
            if line.raw.startswith(BOM):
                raise Broken(
                    f"a byte order mark stands at offset {line.offset}",
                    Exhibit(recording, "the mark", (line.offset, line.offset + 3)),
                    count=looked,
                    what="lines looked at",
                )
    return Found(looked, "lines looked at")


@check("WIRE-10", *EVERYWHERE)
def test_data_is_one_json_text_of_its_type(run: Run) -> Found:
    """If an event is dispatched, then its data is one JSON text that fits its type's schema."""
    if not run.profile.events.json_data:
        raise Inapplicable(f"the profile {run.profile.name!r} says events.json_data = false")
    judged = 0
    known: set[tuple[str, str]] = set()
    for recording, block in _blocks(run):
        if block.event is None or (block.event.type, block.event.data) in known:
            continue
        known.add((block.event.type, block.event.data))
        fault = _json_fault(run, block)
        if fault:
            raise Broken(
                f"the data of {block.event.type} {block.own_id or ''}: {fault}",
                Exhibit(recording, "the event", (block.start, block.end)),
                count=judged,
                what="different events",
            )
        judged += 1
    return Found(judged, "different events")


def _json_fault(run: Run, block: Block) -> str:
    assert block.event is not None
    try:
        body = json.loads(
            block.event.data, object_pairs_hook=_no_twins, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        return f"not one JSON text ({error})"
    if not isinstance(body, dict):
        return "not a JSON object"
    stamp = body.get("timestamp")
    if stamp is not None and not _is_utc(stamp):
        return f"timestamp {stamp!r} is not RFC 3339 in UTC"
    if block.event.type in run.profile.control_events:
        return ""
    if str(body.get("id", "")) != (block.own_id or ""):
        return f"its member id is {body.get('id')!r}, its id line {block.own_id!r}"
    if body.get("type") != block.event.type:
        return f"its member type is {body.get('type')!r}, its event line {block.event.type!r}"
    if stamp is None:
        return "there is no timestamp"
    return schema_fault(block.event.type, body.get("data"))


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_utc(stamp: Any) -> bool:
    if not isinstance(stamp, str) or not RFC3339_UTC.fullmatch(stamp):
        return False
    try:
        moment = datetime.fromisoformat(stamp.upper().replace("Z", "+00:00"))
    except ValueError:
        return False
    return moment.utcoffset() == timedelta(0)


@check("WIRE-11", "log", "texts", "live")
def test_parsing_does_not_depend_on_chunks(run: Run) -> Found:
    """If the bytes are fed one by one or as one block, then the same events come out."""
    judged = 0
    for recording in all_streams(run):
        for block in recording.blocks:
            if merged := _merged(block, run.profile.events.heartbeat):
                raise Broken(
                    f"two events have run into one ({merged}): only chunk boundaries part "
                    "them, and those do not survive the network",
                    Exhibit(recording, "the merged events", (block.start, block.end)),
                    count=judged,
                    what="events parsed again",
                )
    for recording in all_streams(run)[:REPARSED_MAX]:
        if isinstance(recording.reads, PackedReads) or len(recording.body) > REPARSED_OCTETS_MAX:
            continue
        as_read = [b.event for b in recording.blocks if b.event is not None]
        if as_read != [b.event for b in parse(recording.body) if b.event is not None]:
            raise Broken(
                "the stream means something else when it is cut differently",
                Exhibit(recording),
                count=judged,
                what="events parsed again",
            )
        judged += len(as_read)
    return Found(judged, "events parsed again")


def _merged(block: Block, heartbeat: str) -> str:
    """Signs of two events in one block; a heartbeat in the midst of an event is HB-03's matter."""
    names = [
        line.value.decode("utf-8", "replace") for line in block.fields if line.name == b"event"
    ]
    ids = [line.value for line in block.fields if line.name == b"id"]
    if heartbeat and heartbeat in names:
        return ""
    if len(ids) > 1:
        return f"{len(ids)} id lines"
    return f"{len(names)} event lines" if len(names) > 1 else ""


@check("WIRE-12", "texts")
def test_no_physical_line_beyond_64_kib_of_plain_text(run: Run) -> Found:
    """If the payload is plain text, then no physical line is longer than 64 KiB."""
    if run.profile.events.json_data:
        raise Inapplicable(
            f"the profile {run.profile.name!r} says events.json_data = true: JSON is one line"
        )
    looked = 0
    for recording in all_streams(run):
        for block in recording.blocks:
            for line in block.fields:
                looked += 1
                if len(line.raw) > PHYSICAL_LINE_MAX:
                    raise Broken(
                        f"a line of {len(line.raw):,} octets: Go and Java clients stop at 65,536",
                        Exhibit(recording, "the line", (line.offset, line.offset + 200)),
                        count=looked,
                        what="lines measured",
                    )
    return Found(looked, "lines measured")
