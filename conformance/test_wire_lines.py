"""WIRE: the bytes are lines of an event stream: UTF-8, known fields, ids and retry as they may be.

Clients do not complain of what they cannot read, they ignore it. So a wrong byte shows as an event
that never came, far from its cause.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .reading import all_blocks, all_streams

FIELD_NAMES = frozenset({b"event", b"data", b"id", b"retry"})
BOM = b"\xef\xbb\xbf"
PHYSICAL_LINE_MAX = 64 * 1024
EVERYWHERE = ("log", "live", "texts", "endings", "quiet")


@check("WIRE-01", *EVERYWHERE)
def test_every_byte_decodes_as_utf8(run: Run) -> Found:
    """If a stream carries bytes, then they are UTF-8 to the last one."""
    octets = 0
    for recording in all_streams(run):
        if recording.info.get("decoded"):
            raise Unable("the file holds text that a browser has decoded, not the bytes")
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


@check("WIRE-06", *EVERYWHERE)
def test_ids_hold_no_forbidden_characters(run: Run) -> Found:
    """If a block has an id, then it holds no NUL (a client would ignore the id)."""
    ids = 0
    for recording, block in all_blocks(run):
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
    lines = 0
    for recording, block in all_blocks(run):
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
        if block.event is not None and not run.profile.is_declared(block.event.type):
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
    for recording, block in all_blocks(run):
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
    for recording, block in all_blocks(run):
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
