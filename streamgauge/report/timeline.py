"""A picture of one stream: when each event was emitted, when it arrived, and when nothing came.

Most faults of event streams are faults of time, and a column of timestamps does not show them. Two
rails do: a vertical stroke between them is an event that came at once, a slanted one an event that
was held. This module decides what is drawn; `drawing` knows how.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from markupsafe import Markup

from ..recording import Recording
from ..sse import Block
from .drawing import Mark, Scale, draw

EVENTS_MAX = 400
SILENCES_MAX = 4
_STAMPED_CHARS_MAX = 64 * 1024
_SKEW_S = 0.05
"""An event that arrives this much before it was emitted proves that the clocks differ."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The picture and what it says in words."""

    svg: Markup
    caption: str


def timeline(
    recording: Recording, spans: Sequence[tuple[int, int]], started: str
) -> Timeline | None:
    """Draw a recorded stream; None where there is no stream to draw.

    Args:
        recording: the exchange.
        spans: byte ranges of its body that show the fault.
        started: when the run began, RFC 3339: what ties the target's clock to the recording's.
    """
    if not recording.timed:
        return None
    blocks = [block for block in recording.blocks if block.complete]
    dispatched = _entries(blocks)
    if not recording.is_stream and not dispatched:
        return None
    drawn = _chosen(dispatched, spans)
    marks, aligned = _marks(recording, drawn, spans, started)
    cut = len(drawn) < len(dispatched)
    entries = {block.start for block in dispatched}
    ticks = [block.at - recording.sent_at for block in blocks if block.start not in entries]
    scale = _scale(recording, marks, cut)
    ticks = [tick for tick in ticks if scale.low <= tick <= scale.high][:EVENTS_MAX]
    silences = _silences(recording, scale)
    caption = _caption(marks, len(dispatched), len(ticks), silences, aligned)
    return Timeline(draw(recording, marks, ticks, silences, scale, caption), caption)


def _entries(blocks: list[Block]) -> list[Block]:
    """The log's blocks: where any event has an id, those without one are control events."""
    events = [block for block in blocks if block.event]
    return [block for block in events if block.own_id is not None] or [
        block for block in events if block.event and block.event.type != "heartbeat"
    ]


def _chosen(blocks: list[Block], spans: Sequence[tuple[int, int]]) -> list[Block]:
    """At most EVENTS_MAX neighbouring events, with the fault in their middle."""
    if len(blocks) <= EVENTS_MAX:
        return blocks
    centre = next((i for i, block in enumerate(blocks) if _hit(block, spans)), 0)
    first = min(max(centre - EVENTS_MAX // 2, 0), len(blocks) - EVENTS_MAX)
    return blocks[first : first + EVENTS_MAX]


def _hit(block: Block, spans: Sequence[tuple[int, int]]) -> bool:
    return any(block.start < max(high, low + 1) and low < block.end for low, high in spans)


def _marks(
    recording: Recording, blocks: list[Block], spans: Sequence[tuple[int, int]], started: str
) -> tuple[list[Mark], bool]:
    """The events as marks, and whether the target's clock had to be set to fit."""
    zero = _seconds(started)
    # Without a fraction the start may be a second off: then only differences mean anything.
    aligned = zero is None or "." not in started
    origin = (zero or 0.0) + recording.sent_at
    stamps = [_stamp(block) for block in blocks]
    arrivals = [block.at - recording.sent_at for block in blocks]
    lags = [
        arrived - (stamp - origin)
        for arrived, stamp in zip(arrivals, stamps, strict=True)
        if stamp is not None
    ]
    aligned = bool(lags) and (aligned or min(lags) < -_SKEW_S)
    shift = min(lags) if aligned else 0.0
    marks = [
        Mark(arrived, None if stamp is None else stamp - origin + shift, _hit(block, spans))
        for block, arrived, stamp in zip(blocks, arrivals, stamps, strict=True)
    ]
    return marks, aligned


def _stamp(block: Block) -> float | None:
    """The emission time that the event tells of itself, in seconds of the target's clock."""
    if block.event is None or len(block.event.data) > _STAMPED_CHARS_MAX:
        return None
    try:
        data = json.loads(block.event.data)
    except (ValueError, RecursionError):
        return None
    return _seconds(data.get("timestamp")) if isinstance(data, dict) else None


def _seconds(stamp: object) -> float | None:
    if not isinstance(stamp, str):
        return None
    try:
        moment = datetime.fromisoformat(stamp)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def _scale(recording: Recording, marks: list[Mark], cut: bool) -> Scale:
    """From the request to the end; history reaches in from the left by at most as much again."""
    high = max(recording.ended_at - recording.sent_at, 0.0)
    low = 0.0
    if cut and marks:
        low, high = marks[0].arrived, marks[-1].arrived
    else:
        high = max([high, *(mark.arrived for mark in marks)])
    length = max(high - low, 0.1)
    emitted = min((m.emitted for m in marks if m.emitted is not None), default=low)
    return Scale(max(min(low, emitted), low - length), low + length)


def _silences(recording: Recording, scale: Scale) -> list[tuple[float, float]]:
    """The longest stretches without a byte, in order of time."""
    moments = [recording.sent_at, *(read.at for read in recording.reads), recording.ended_at]
    least = max(1.5, (scale.high - scale.low) / 8)
    gaps = [
        (start - recording.sent_at, end - recording.sent_at)
        for start, end in pairwise(moments)
        if end - start >= least
    ]
    inside = [gap for gap in gaps if gap[0] < scale.high and gap[1] > scale.low]
    return sorted(sorted(inside, key=lambda gap: gap[0] - gap[1])[:SILENCES_MAX])


def _caption(
    marks: list[Mark], total: int, ticks: int, silences: list[tuple[float, float]], aligned: bool
) -> str:
    said = [f"{total:,} event{'' if total == 1 else 's'}"]
    if len(marks) < total:
        said[0] += f" ({len(marks)} around the fault are drawn)"
    if ticks:
        said.append(f"{ticks:,} control frame{'' if ticks == 1 else 's'} or comments (ticks)")
    lags = [mark.lag for mark in marks if mark.lag is not None]
    if lags:
        said.append(f"largest lag {max(lags):.2f} s")
    if silences:
        longest = max(end - start for start, end in silences)
        said.append(f"longest silence {longest:.1f} s")
    text = ", ".join(said) + "."
    if any(mark.emitted is not None for mark in marks):
        if any(mark.emitted is not None and mark.emitted < 0 for mark in marks):
            text += " Events emitted before the request are history."
        text += (
            " The clocks could not be tied together: the quickest event is drawn without lag."
            if aligned
            else " Emission is the event's own timestamp, by the target's clock."
        )
    return text
