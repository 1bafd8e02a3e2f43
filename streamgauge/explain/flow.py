"""A recorded stream as a flow: what was put in when, and what came out when.

Whether a path buffers shows only when these two are held against each other. The arrival of every
byte is ours; the moment at which an event was put in is its own timestamp, brought to our clock by
causality (see `timing`): never later than it really was by more than the quickest way here took.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..recording import PackedReads, Recording
from ..sse import Block
from ..timing import Offset, bound_offset, moment

APART_S = 0.03
"""Reads that follow one another more quickly are one release."""
HEAD_LINE_BYTES = 20
_STAMPED_CHARS_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """What was written at one moment: an event with its padding, or comments alone."""

    start: int
    end: int
    """Offsets in the body: [start, end)."""
    ready: int
    """Offset behind the last byte that a reader needs to have the event."""
    emitted: float | None
    """Seconds of the run's clock; None where nothing tells."""
    arrived: float
    """When a reader could use it."""

    @property
    def lag_s(self) -> float:
        return self.arrived - self.emitted if self.emitted is not None else 0.0


@dataclass(frozen=True, slots=True)
class Release:
    """Bytes that came out together."""

    at: float
    begin: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Flow:
    """One stream from its request to its end."""

    label: str
    opened: float
    ended: float
    pieces: tuple[Piece, ...]
    releases: tuple[Release, ...]
    head_bytes: int
    """About how much came before the body: a buffer below HTTP counts that, too."""

    @property
    def live(self) -> tuple[Piece, ...]:
        """Pieces that were put in while the stream was open: all else is replay."""
        return tuple(
            p for p in self.pieces if p.emitted is not None and p.emitted > self.opened + 0.05
        )

    def held(self, at_least_s: float) -> tuple[Piece, ...]:
        return tuple(piece for piece in self.live if piece.lag_s >= at_least_s)


def flow_of(recording: Recording, offset: Offset, zero: float) -> Flow | None:
    """The flow of a stream that can be read, None of anything else.

    Args:
        recording: one exchange.
        offset: bounds of the target's clock against ours.
        zero: our Unix time at the run's beginning.
    """
    coded = (recording.header("content-encoding") or "identity").strip().lower() != "identity"
    if not recording.is_stream or coded or isinstance(recording.reads, PackedReads):
        return None
    blocks = recording.blocks
    size = sum(len(read.data) for read in recording.reads)
    pieces = []
    trailing = _pads_behind(blocks)
    for block, following in zip(blocks, (*blocks[1:], None), strict=False):
        first = block.first_field
        if first is None and block.event is None and not block.complete:
            continue  # padding behind the last event
        if first is None or not trailing:
            first = block.start
        end = block.end
        if trailing:
            end = size if following is None else following.first_field or following.end
        stamp = stamp_of(block)
        emitted = stamp - offset.low - zero if stamp is not None else None
        pieces.append(Piece(first, max(end, block.end), block.end, emitted, block.at))
    head = sum(len(name) + len(value) + 4 for name, value in recording.headers) + HEAD_LINE_BYTES
    return Flow(
        label=recording.label,
        opened=recording.sent_at,
        ended=recording.ended_at,
        pieces=tuple(pieces),
        releases=_releases(recording),
        head_bytes=head,
    )


def _pads_behind(blocks: Sequence[Block]) -> bool:
    """Whether padding stands behind its event: then comments are what remains at the end."""
    return bool(blocks) and not blocks[-1].complete and not blocks[-1].fields


def _releases(recording: Recording) -> tuple[Release, ...]:
    found: list[Release] = []
    last, position = float("-inf"), 0
    for read in recording.reads:
        if read.at - last < APART_S and found:
            found[-1] = Release(found[-1].at, found[-1].begin, position + len(read.data))
        elif read.data:
            found.append(Release(read.at, position, position + len(read.data)))
        last = read.at
        position += len(read.data)
    return tuple(found)


def stamp_of(block: Block) -> float | None:
    """The moment of emission that an event tells of itself, Unix seconds of the target's clock."""
    if block.event is None or len(block.event.data) > _STAMPED_CHARS_MAX:
        # A long text's envelope still begins with what identifies it; it is not worth the parsing.
        return _stamp_in(block.event.data) if block.event is not None else None
    try:
        body = json.loads(block.event.data)
    except (ValueError, RecursionError):
        return None
    stamp = body.get("timestamp") if isinstance(body, dict) else None
    return moment(stamp) if isinstance(stamp, str) else None


def _stamp_in(text: str) -> float | None:
    _, found, rest = text[:512].partition('"timestamp"')
    parts = rest.split('"')
    return moment(parts[1]) if found and len(parts) > 2 else None


def clock_bounds(recordings: Iterable[Recording], zero: float) -> Offset:
    """What causes and arrivals tell of the target's clock.

    An opening or first event cannot be older than the request for its stream or job; nothing is
    younger than its arrival, by whichever view.
    """
    caused: list[tuple[float, float, str]] = []
    arrived: list[tuple[float, float, str]] = []
    for recording in recordings:
        if recording.is_stream and not isinstance(recording.reads, PackedReads):
            for block in recording.blocks:
                stamp = stamp_of(block)
                if stamp is None:
                    continue
                arrived.append((stamp, zero + block.at, "an event arrived"))
                if block.own_id is None and block is recording.blocks[0]:
                    caused.append((stamp, zero + recording.sent_at, "a stream was asked for"))
        elif recording.status == 200 and isinstance(recording.json, dict):
            events = recording.json.get("events")
            stamps = [e.get("timestamp") for e in events or () if isinstance(e, dict)]
            for text in stamps[-3:]:
                stamp = moment(text) if isinstance(text, str) else None
                if stamp is not None:
                    arrived.append((stamp, zero + recording.ended_at, "an answer listed it"))
    return bound_offset(caused, arrived)
