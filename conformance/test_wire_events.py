"""WIRE: an event's data is one JSON text of its type, however the bytes are cut into chunks.

A network cuts and joins chunks as it likes, so nothing may depend on them; and what is parsed has
to be what the type promises, or every client needs guards of its own.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

from streamgauge.check import Run, check
from streamgauge.recording import PackedReads
from streamgauge.results import Exhibit
from streamgauge.sse import Block, parse
from streamgauge.verdict import Broken, Found, Inapplicable

from .payloads import schema_fault
from .reading import all_blocks, all_streams, event_names

RFC3339_UTC = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]00:00)", re.ASCII
)
REPARSED_MAX = 40
REPARSED_OCTETS_MAX = 3_000_000
JSON_FROM = ("log", "live", "texts", "endings", "quiet")


@check("WIRE-10", *JSON_FROM)
def test_data_is_one_json_text_of_its_type(run: Run) -> Found:
    """If an event is dispatched, then its data is one JSON text that fits its type's schema."""
    if not run.profile.events.json_data:
        raise Inapplicable(run.profile.says("events.json_data"))
    judged = 0
    known: set[tuple[str, str]] = set()
    for recording, block in all_blocks(run):
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
    if not run.profile.events.envelope:
        return ""  # what the JSON holds beside the type is the target's own matter
    stamp = body.get("timestamp")
    if stamp is not None and not _is_utc(stamp):
        return f"timestamp {stamp!r} is not RFC 3339 in UTC"
    if block.event.type in run.profile.control_events:
        return ""
    # An event without an id line is REPLAY-01's matter.
    if block.own_id and str(body.get("id", "")) != block.own_id:
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
        again = recording.members.translated(parse(recording.body))
        if as_read != [b.event for b in again if b.event is not None]:
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
    names = event_names(block)
    ids = [line.value for line in block.fields if line.name == b"id"]
    if heartbeat and heartbeat in names:
        return ""
    if len(ids) > 1:
        return f"{len(ids)} id lines"
    return f"{len(names)} event lines" if len(names) > 1 else ""
