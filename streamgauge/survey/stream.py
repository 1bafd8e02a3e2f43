"""What one recorded stream tells of its target: names, ids, places, signs of life, the end.

Pure functions over a recording. Each fact says how it is known, so that what is written down can be
told apart into what was seen and what is only likely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ..members import Members, at_path, parsed
from ..recording import Recording
from ..sse import Block
from ..timing import moment

TYPE_PATHS = ("type", "event", "kind", "data.type")
ID_PATHS = ("id", "seq", "event_id", "data.id")
STAMP_PATHS = ("timestamp", "data.timestamp", "ts", "time", "created_at", "data.created_at")
OPENINGS = ("connection", "connected", "open", "ready", "hello")
HEARTBEATS = ("heartbeat", "ping", "keepalive", "keep-alive")
FINAL = ("done", "complete", "completed", "finished", "end", "pipeline_complete")
NAMES_MAX = 40
FRAME_BYTES = 4096


@dataclass(slots=True)
class Seen:
    """What a stream showed; "" and None where it showed nothing of the kind."""

    events: int = 0
    json_data: bool = True
    type_member: str = ""
    id_member: str = ""
    order: str = ""
    first_id: int | None = None
    stamps: tuple[str, ...] = ()
    envelope: bool = False
    opening: str = ""
    heartbeat: str | None = None
    """A name, "" for comments, None where none was seen."""
    heartbeat_s: float = 0.0
    names: tuple[str, ...] = ()
    last: str = ""
    ended: bool = False
    """The server ended it cleanly."""
    gates: tuple[str, ...] = ()
    retry_ms: int | None = None
    padded: bool = False
    watched_s: float = 0.0
    control: list[str] = field(default_factory=list)


def look_at(recording: Recording) -> Seen:
    """Everything that one stream tells."""
    seen = Seen(watched_s=recording.ended_at - recording.sent_at, ended=recording.ended_cleanly)
    plain = [b for b in recording.blocks if b.event is not None]
    bodies = [parsed(b.event.data) for b in plain if b.event is not None]
    seen.json_data = bool(bodies) and all(isinstance(body, dict) for body in bodies)
    if plain and all(b.event is not None and b.event.type == "message" for b in plain):
        seen.type_member = _common(bodies, TYPE_PATHS, str)
    if not any(b.own_id for b in plain) and seen.json_data:
        seen.id_member = _numbering(bodies)
    blocks = Members(seen.type_member, seen.id_member).translated(recording.blocks)
    events = [b for b in blocks if b.event is not None]
    seen.events = len(events)
    _names(seen, events)
    _ids(seen, events)
    _beats(seen, recording, blocks)
    present = [p for p in STAMP_PATHS if any(_is_stamp(at_path(body, p)) for body in bodies)]
    seen.stamps = tuple(present)
    seen.envelope = _has_envelope(events)
    for line in (line for b in blocks for line in b.fields if line.name == b"retry"):
        if line.value.isdigit():
            seen.retry_ms = int(line.value[:12])
    seen.padded = _is_padded(recording, blocks)
    return seen


def _common(bodies: Sequence[Any], paths: Iterable[str], kind: type) -> str:
    """The first path that nearly all of the bodies have."""
    for path in paths:
        if bodies and sum(isinstance(at_path(b, path), kind) for b in bodies) > len(bodies) * 0.6:
            return path
    return ""


def _numbering(bodies: Sequence[Any]) -> str:
    """A path under which the bodies carry numbers that rise: ids, and not the ids of things."""
    for path in ID_PATHS:
        found = [at_path(body, path) for body in bodies]
        numbers = [n for n in found if isinstance(n, int) and not isinstance(n, bool)]
        rising = all(a < b for a, b in pairwise(numbers))
        if len(numbers) >= 3 and len(numbers) > len(bodies) * 0.6 and rising:
            return path
    return ""


def _names(seen: Seen, events: Sequence[Block]) -> None:
    names = [b.event.type for b in events if b.event is not None]
    if names and (names[0] in (*OPENINGS, *HEARTBEATS) or _is_apart(events)):
        seen.opening = names[0]
    seen.control = sorted({name for name in names if name in HEARTBEATS})
    log = [name for name in names if name != seen.opening and name not in HEARTBEATS]
    seen.names = tuple(Counter(log))[:NAMES_MAX]
    seen.last = log[-1] if log else ""
    seen.gates = tuple(name for name in seen.names if "gate" in name and "answer" not in name)


def _is_apart(events: Sequence[Block]) -> bool:
    """The first event has no id, comes once, and all that follow have one."""
    first, *rest = events
    others = [b for b in rest if b.event is not None and b.event.type not in HEARTBEATS]
    return (
        first.own_id is None
        and len(others) > 1
        and all(b.own_id for b in others)
        and all(b.event.type != first.event.type for b in others if b.event and first.event)
    )


def _ids(seen: Seen, events: Sequence[Block]) -> None:
    ids = [b.own_id for b in events if b.own_id]
    if not ids:
        return
    if not all(each.isdigit() for each in ids):
        seen.order = "opaque"
        return
    numbers = [int(each[:18]) for each in ids]
    steps = {b - a for a, b in pairwise(numbers)}
    rising = all(step > 0 for step in steps)
    seen.order = "contiguous" if steps == {1} else "increasing" if rising else "opaque"
    seen.first_id = numbers[0]


def _beats(seen: Seen, recording: Recording, blocks: Sequence[Block]) -> None:
    """Heartbeats and how far they are apart; comments count only where they come on their own."""
    events = [b for b in blocks if b.event is not None]
    # What stands first opens the stream, whatever its name.
    named = [b for b in events[1:] if b.event is not None and b.event.type in HEARTBEATS]
    if named and named[0].event is not None:
        seen.heartbeat = named[0].event.type
        times = [b.at for b in named]
    else:
        moments = [b.at for b in blocks if b.event is not None]
        lines = [line for b in blocks for line in b.comments]
        times = [ln.at for ln in lines if all(abs(ln.at - at) > 0.5 for at in moments)]
        times = sorted({round(at, 1) for at in times})
        if times:
            seen.heartbeat = ""
    before = [read.at for read in recording.reads]
    waits = [at - max((r for r in before if r < at - 0.05), default=at) for at in times]
    seen.heartbeat_s = round(max(waits, default=0.0), 1)


def _is_stamp(value: Any) -> bool:
    return isinstance(value, str) and moment(value) is not None


def _has_envelope(events: Sequence[Block]) -> bool:
    """Whether the JSON repeats id and type, has a timestamp, and its say under `data`."""
    numbered = [b for b in events if b.own_id and b.event is not None]
    for block in numbered:
        assert block.event is not None
        body = parsed(block.event.data)
        if not isinstance(body, dict) or not {"id", "type", "timestamp", "data"} <= body.keys():
            return False
        if str(body["id"]) != block.own_id or body["type"] != block.event.type:
            return False
    return bool(numbered)


def _is_padded(recording: Recording, blocks: Sequence[Block]) -> bool:
    starts = [b.first_field for b in blocks if b.first_field is not None]
    sizes = [b - a for a, b in pairwise(starts)]
    return bool(sizes) and min(sizes) >= FRAME_BYTES and len(recording.body) >= FRAME_BYTES
