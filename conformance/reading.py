"""The log as each view shows it: streams, snapshots and pages in one shape for comparing.

What several sections have to know of a recording is asked here: which events it shows, which of
them came when, whether it was recycled, has a gap or was refused. One answer serves all checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from streamgauge.check import Run
from streamgauge.members import at_path, first_at
from streamgauge.profile import Profile
from streamgauge.recording import Bundle, PackedReads, Recording
from streamgauge.results import Exhibit
from streamgauge.sse import Block, SseEvent

PACKED_SHARE = 20
"""Of hundreds of replays of one log, so many are looked at by checks that look at everything."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One event of a job's log, as one view showed it."""

    id: str
    """"" where the view gave none."""
    type: str
    timestamp: str
    data: Any
    at: float
    text: str
    """The SSE data as it came, "" in the JSON views."""
    block: Block | None = None
    ends: bool = False
    """The last event of a stream that ended cleanly, where no names or no ends are declared."""

    def same(self, other: Seen) -> bool:
        """The same event with the same content."""
        if self.id != other.id or self.type != other.type:
            return False
        if self.text and self.text == other.text:
            return True
        return self.timestamp == other.timestamp and self.data == other.data

    @property
    def span(self) -> tuple[int, int] | None:
        return (self.block.start, self.block.end) if self.block else None


@lru_cache(maxsize=8192)
def stream_log(recording: Recording, profile: Profile) -> tuple[Seen, ...]:
    """The log events of a stream in the order of arrival; control events left out.

    Of packed recordings (hundreds of replays) the places in the body are not kept.
    """
    if isinstance(recording.reads, PackedReads):
        seen = [
            _seen(each.event, each.own_id, each.at, None, profile)
            for each in recording.dispatches
            if each.event.type not in profile.control_events
        ]
    else:
        seen = [
            _seen(block.event, block.own_id, block.at, block, profile)
            for block in recording.blocks
            if block.event is not None and block.event.type not in profile.control_events
        ]
    open_ended = not profile.events.terminal or not profile.events.names
    if seen and open_ended and recording.ended_cleanly and not recycled(recording, profile):
        seen[-1] = replace(seen[-1], ends=True)
    return tuple(seen)


def is_log(block: Block, profile: Profile) -> bool:
    return block.event is not None and block.event.type not in profile.control_events


def _seen(
    event: SseEvent, own_id: str | None, at: float, block: Block | None, profile: Profile
) -> Seen:
    body = as_json(event.data)
    stamp = first_at(body, profile.events.timestamp_members)
    member = profile.events.data_member
    inner = at_path(body, member) if member else None
    return Seen(
        id=own_id or "",
        type=event.type,
        timestamp="" if stamp is None else str(stamp),
        # What is no JSON is plain text, and then the text itself is what the event says.
        data=inner if inner is not None else event.data if body is None else body,
        at=at,
        text=event.data,
        block=block,
    )


@lru_cache(maxsize=16384)
def as_json(text: str) -> Any:
    """A JSON text's value, None where it is none. Shared: nobody may change it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@lru_cache(maxsize=4096)
def listed(recording: Recording) -> tuple[Seen, ...]:
    """The events that a snapshot or a page lists."""
    body = recording.json
    events = body.get("events") if isinstance(body, dict) else None
    if recording.status != 200 or not isinstance(events, list):
        return ()
    return tuple(
        Seen(
            id=str(event.get("id", "")),
            type=str(event.get("type", "")),
            timestamp=str(event.get("timestamp", "")),
            data=event.get("data"),
            at=recording.ended_at,
            text="",
        )
        for event in events
        if isinstance(event, dict)
    )


def events_of(recording: Recording, profile: Profile) -> tuple[Seen, ...]:
    """The events of the log that a recording shows, whichever view it is of."""
    return stream_log(recording, profile) if recording.is_stream else listed(recording)


def ids_of(seen: Iterable[Seen]) -> list[str]:
    return [event.id for event in seen]


def last_event(recording: Recording, profile: Profile) -> Seen | None:
    """The last event that a stream showed, None where it showed none."""
    seen = stream_log(recording, profile)
    return seen[-1] if seen else None


def first_sights(recordings: Iterable[Recording], profile: Profile) -> dict[str, float]:
    """When each event was first seen, in any of these recordings."""
    sights: dict[str, float] = {}
    for recording in recordings:
        for event in events_of(recording, profile):
            sights[event.id] = min(event.at, sights.get(event.id, event.at))
    return sights


def succeeded(answer: Recording) -> bool:
    """Whether the answer's status is 2xx."""
    return answer.status is not None and 200 <= answer.status < 300


def unread(answer: Recording) -> bool:
    """Whether this is the bare refusal of a server's HTTP parser, which gave the request up before
    the header section was read: such an answer may be empty, and nobody can add fields to it."""
    closing = "close" in (answer.header("connection") or "").lower()
    return answer.status in (400, 414, 431, 501, 505) and not answer.body and closing


def body_of(recording: Recording) -> dict[str, Any]:
    """The JSON object of a snapshot or a page, {} where the answer is none."""
    body = recording.json
    return body if recording.status == 200 and isinstance(body, dict) else {}


def cursor_of(recording: Recording) -> str:
    """The cursor of a snapshot or a page as text, "" where it stands before the first event."""
    cursor = body_of(recording).get("cursor")
    return "" if cursor in (None, 0, "0", "") and not isinstance(cursor, bool) else str(cursor)


def control(recording: Recording, name: str) -> list[Block]:
    """The control events of one name on a stream."""
    return [b for b in recording.blocks if b.event is not None and b.event.type == name]


def control_data(block: Block) -> dict[str, Any]:
    """What a control event tells: its `data` member, or the whole where there is no envelope."""
    body = as_json(block.event.data) if block.event else None
    if not isinstance(body, dict):
        return {}
    inner = body.get("data")
    return inner if isinstance(inner, dict) else body


def has_gap(recording: Recording, profile: Profile) -> bool:
    """Whether the stream says itself that older history is gone."""
    return any(each.event.type == profile.events.gap for each in recording.dispatches)


def recycled(recording: Recording, profile: Profile) -> bool:
    """Whether the declared comment stands behind the last field line (padding may surround it)."""
    mark = profile.events.recycle.encode()
    for block in reversed(recording.blocks):
        for line in reversed(block.lines):
            if not line.is_comment:
                return False
            if mark and line.raw[1:].strip() == mark:
                return True
    return False


def has_terminal(seen: Iterable[Seen], profile: Profile) -> bool:
    return any(event.ends or event.type in profile.events.terminal for event in seen)


def streams(bundle: Bundle, *prefixes: str) -> list[Recording]:
    """The accepted streams of a bundle whose labels begin so, in order."""
    return [r for prefix in prefixes or ("",) for r in bundle.all(prefix) if r.is_stream]


def all_streams(run: Run) -> list[Recording]:
    """Every accepted stream of the scenarios at hand that is not content-coded, packed ones last
    and a few of them."""
    found = [r for r in run.recordings() if r.is_stream and not is_coded(r)]
    packed = [r for r in found if isinstance(r.reads, PackedReads)]
    return [r for r in found if not isinstance(r.reads, PackedReads)] + packed[:PACKED_SHARE]


def all_blocks(run: Run) -> Iterator[tuple[Recording, Block]]:
    """Every block of `all_streams`, with the stream that it stands on."""
    for recording in all_streams(run):
        for block in recording.blocks:
            yield recording, block


def event_names(block: Block) -> list[str]:
    """What the `event:` lines of a block say; more than one is a fault of its own."""
    return [line.value.decode("utf-8", "replace") for line in block.fields if line.name == b"event"]


def named(block: Block) -> list[str]:
    """What a block calls itself: on its `event:` lines, or wherever this target keeps the name."""
    names = event_names(block)
    told = block.event.type if block.event is not None else ""
    return names if not told or told in names else [*names, told]


def is_coded(recording: Recording) -> bool:
    """Whether the bytes are compressed, so that they have to be judged as something else."""
    return (recording.header("content-encoding") or "identity").strip().lower() != "identity"


def exhibit(recording: Recording, seen: Seen | None, note: str = "") -> Exhibit:
    """A recording with the place of one event."""
    return Exhibit(recording, note, seen.span if seen else None)
