"""The log as each view shows it: streams, snapshots and pages in one shape for comparing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from streamgauge.check import Run
from streamgauge.history import Entry, View, canonical
from streamgauge.profile import Profile
from streamgauge.recording import Bundle, PackedReads, Recording
from streamgauge.results import Exhibit
from streamgauge.sse import Block
from streamgauge.verdict import Unable

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
    packed = isinstance(recording.reads, PackedReads)
    return tuple(
        _seen(block, keep=not packed) for block in recording.blocks if is_log(block, profile)
    )


def is_log(block: Block, profile: Profile) -> bool:
    return block.event is not None and block.event.type not in profile.control_events


def _seen(block: Block, *, keep: bool) -> Seen:
    assert block.event is not None
    body = as_json(block.event.data)
    inner = body if isinstance(body, dict) else {}
    return Seen(
        id=block.own_id or "",
        type=block.event.type,
        timestamp=str(inner.get("timestamp", "")),
        # What is no JSON is plain text, and then the text itself is what the event says.
        data=inner.get("data", block.event.data if body is None else body),
        at=block.at,
        text=block.event.data,
        block=block if keep else None,
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


def log_of(run: Run, scenario: str, *labels: str) -> tuple[Seen, ...]:
    """The final log of a scenario's job: the first of these recordings that shows its end.

    Raises:
        Unable: none of them does.
    """
    bundle = run.bundle(scenario)
    for label in labels:
        recording = bundle.get(label)
        if recording is not None and recording.is_stream:
            seen = stream_log(recording, run.profile)
            if seen and has_terminal(seen, run.profile):
                return seen
    raise Unable(bundle.unable or f"no full replay of the finished job ({scenario}) was recorded")


def has_terminal(seen: Iterable[Seen], profile: Profile) -> bool:
    return any(event.type in profile.events.terminal for event in seen)


def streams(bundle: Bundle, *prefixes: str) -> list[Recording]:
    """The accepted streams of a bundle whose labels begin so, in order."""
    return [r for prefix in prefixes or ("",) for r in bundle.all(prefix) if r.is_stream]


def all_streams(run: Run) -> list[Recording]:
    """Every accepted stream of the scenarios at hand that is not content-coded, packed ones last
    and a few of them."""
    found = [r for r in run.recordings() if r.is_stream and not is_coded(r)]
    packed = [r for r in found if isinstance(r.reads, PackedReads)]
    return [r for r in found if not isinstance(r.reads, PackedReads)] + packed[:PACKED_SHARE]


def is_coded(recording: Recording) -> bool:
    """Whether the bytes are compressed, so that they have to be judged as something else."""
    return (recording.header("content-encoding") or "identity").strip().lower() != "identity"


def suffix(log: Sequence[Seen], after: str) -> tuple[Seen, ...] | None:
    """The events after a cursor, None where the log has no such event."""
    for index, event in enumerate(log):
        if event.id == after:
            return tuple(log[index + 1 :])
    return None


def difference(expected: Sequence[Seen], got: Sequence[Seen]) -> tuple[str, Seen | None]:
    """The first difference between two logs in words, "" where there is none."""
    for index, (wanted, shown) in enumerate(zip(expected, got, strict=False)):
        if wanted.same(shown):
            continue
        if wanted.id != shown.id:
            return f"event {shown.id!r} where {wanted.id!r} belongs (position {index + 1})", shown
        return f"event {shown.id!r} has another content: {_unlike(wanted, shown)}", shown
    if len(got) < len(expected):
        missing = expected[len(got)]
        return f"event {missing.id!r} and what follows is missing", got[-1] if got else None
    if len(got) > len(expected):
        extra = got[len(expected)]
        return f"event {extra.id!r} stands behind the end of the log", extra
    return "", None


def _unlike(wanted: Seen, shown: Seen) -> str:
    if wanted.type != shown.type:
        return f"type {shown.type!r} instead of {wanted.type!r}"
    if wanted.timestamp != shown.timestamp:
        return f"timestamp {shown.timestamp!r} instead of {wanted.timestamp!r}"
    return f"data {_short(shown.data)} instead of {_short(wanted.data)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def exhibit(recording: Recording, seen: Seen | None, note: str = "") -> Exhibit:
    """A recording with the place of one event."""
    return Exhibit(recording, note, seen.span if seen else None)


def entries(seen: Iterable[Seen], profile: Profile) -> tuple[Entry, ...]:
    """Events in the terms of the history checker."""
    return tuple(
        Entry(
            id=event.id,
            key=(event.type, event.timestamp, canonical(event.data)),
            at=event.at,
            offset=event.block.start if event.block else None,
            terminal=event.type in profile.events.terminal,
        )
        for event in seen
    )


def view(recording: Recording, profile: Profile, **more: Any) -> View:
    """A recording of one job in the terms of the history checker."""
    after = recording.info.get("after")
    if recording.is_stream:
        kind, seen = "live", stream_log(recording, profile)
    else:
        kind, seen = ("poll" if "after" in recording.info else "snapshot"), listed(recording)
    return View(
        name=recording.label,
        kind=kind,  # type: ignore[arg-type]
        entries=entries(seen, profile),
        after=str(after) if after else None,
        opened_at=recording.sent_at,
        closed_at=recording.ended_at,
        **more,
    )
