"""The raw bytes around a fault, made readable without hiding what matters.

A frame is mostly padding and a fault is often a byte that no terminal shows. So long runs are
folded into their length, everything unprintable is written as an escape, and each line keeps its
offset in the body and the moment it arrived. The excerpt is bounded whatever the body is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from ..recording import Recording
from .data import escape

SHOWN_BYTES_MAX = 64 * 1024
LINES_MAX = 40
CONTEXT_LINES = 8
_ALIGN_LINES = 6
CONTEXT_BYTES = 12 * 1024
"""How far back context may reach: two padded frames and a bit."""
_SCANNED_LINES_MAX = 2_000
_TAIL_LINES = 12

_LINE_END = re.compile(rb"\r\n|\r|\n")
_RUN = re.compile(r" {16,}|([^ ])\1{63,}", re.DOTALL)
_PADDING_LINE = re.compile(rb": *")
#: Characters kept at the (front, back) of what stands before, inside and behind the fault.
_KEPT = ((160, 160), (400, 160), (320, 80))


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a line: `text` as it came, `escape` made visible, `fold` left out."""

    kind: str
    text: str
    hit: bool = False


@dataclass(frozen=True, slots=True)
class FrameLine:
    """One line of the excerpt; without an offset it stands for what was folded."""

    pieces: tuple[Piece, ...]
    offset: int | None = None
    at: float | None = None
    """Seconds after the request, None where it is the same as in the line above."""
    hit: bool = False


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is shown of a body."""

    lines: tuple[FrameLine, ...]
    start: int
    end: int
    total: int


@dataclass(frozen=True, slots=True)
class _Raw:
    """A physical line: where it begins, its bytes, and how it ends."""

    offset: int
    data: bytes
    ending: bytes
    cut: bool = False
    """The excerpt ended before the line did."""

    @property
    def end(self) -> int:
        return self.offset + len(self.data) + len(self.ending)


def excerpt(recording: Recording, span: tuple[int, int] | None) -> Excerpt:
    """The lines of the recorded body around `span`, or its beginning."""
    body = recording.body
    total = len(body)
    low, high = (0, 0) if span is None else (span[0], span[1])
    low = min(max(low, 0), total)
    high = min(max(high, low), total)
    start = _context_start(body, low)
    raws = list(_physical(body, start, high if span is not None else total))
    entries = _folded(raws)
    tail = _TAIL_LINES if span is not None else 0
    lines: list[FrameLine] = []
    last_at: float | None = None
    for entry in _shortened(entries, tail):
        if isinstance(entry, str):
            lines.append(FrameLine((Piece("fold", entry),)))
            continue
        at = _arrival(recording, entry[-1].end)
        shown_at = at if at != last_at else None
        fault = (low, high) if span is not None else None
        lines.append(_line(entry, shown_at, fault, recording.is_stream))
        last_at = at
    return Excerpt(tuple(lines), start, raws[-1].end if raws else start, total)


def _arrival(recording: Recording, end: int) -> float | None:
    """When the last byte before `end` came, in seconds after the request."""
    if not recording.timed:
        return None
    return recording.arrival(max(end - 1, 0)) - recording.sent_at


def _context_start(body: bytes, low: int) -> int:
    """The beginning of the line that stands CONTEXT_LINES above `low`, within CONTEXT_BYTES."""
    floor = max(0, low - CONTEXT_BYTES)
    ends = [match.end() for match in _LINE_END.finditer(body, floor, low)]
    for index in range(len(ends) - CONTEXT_LINES - 1, 0, -1):
        # Rather a few lines more than to begin in the middle of an event.
        is_behind_empty_line = ends[index] - ends[index - 1] <= len(b"\r\n") and not body[
            ends[index - 1] : ends[index]
        ].strip(b"\r\n")
        if is_behind_empty_line or index <= len(ends) - CONTEXT_LINES - _ALIGN_LINES:
            return ends[index]
    if floor == 0:
        return 0
    return ends[0] if ends else max(0, low - _KEPT[0][1])


def _physical(body: bytes, start: int, high: int) -> Iterator[_Raw]:
    """Lines from `start` until CONTEXT_LINES behind `high`, the window's end, or the body's."""
    window = min(len(body), start + SHOWN_BYTES_MAX)
    position, behind = start, 0
    for _ in range(_SCANNED_LINES_MAX):
        if position >= window or behind >= CONTEXT_LINES:
            return
        match = _LINE_END.search(body, position, window)
        if match is None:
            yield _Raw(position, body[position:window], b"", cut=window < len(body))
            return
        yield _Raw(position, body[position : match.start()], match.group())
        position = match.end()
        behind += position > high


def _folded(raws: list[_Raw]) -> list[list[_Raw]]:
    """Lines one by one, except that three and more padding comments in a row are one entry."""
    entries: list[list[_Raw]] = []
    for is_padding, group in groupby(
        raws, key=lambda raw: _PADDING_LINE.fullmatch(raw.data) is not None and not raw.cut
    ):
        lines = list(group)
        if is_padding and len(lines) > 2:
            entries.append(lines)
        else:
            entries.extend([line] for line in lines)
    return entries


def _shortened(entries: list[list[_Raw]], tail: int) -> list[list[_Raw] | str]:
    """At most LINES_MAX entries: the first and, where a fault may end there, the last ones.

    The fault begins at most CONTEXT_LINES below the top, so the front always shows it.
    """
    if len(entries) <= LINES_MAX:
        return list(entries)
    head = LINES_MAX - 1 - tail
    left_out = entries[head : len(entries) - tail]
    count = sum(len(entry) for entry in left_out)
    size = left_out[-1][-1].end - left_out[0][0].offset
    note = f"· {count:,} lines, {size:,} bytes ·"
    return [*entries[:head], note, *entries[len(entries) - tail :]]


def _line(
    entry: list[_Raw], at: float | None, span: tuple[int, int] | None, is_stream: bool
) -> FrameLine:
    first, last = entry[0], entry[-1]
    hit = span is not None and _overlaps(first.offset, last.end, span)
    if len(entry) > 1:
        size = last.end - first.offset
        note = f"· {len(entry):,} comment lines of padding, {size:,} bytes ·"
        return FrameLine((Piece("fold", note),), first.offset, at, hit)
    pieces: list[Piece] = []
    for (data, inside), kept in zip(_parts(first, span if hit else None), _KEPT, strict=True):
        pieces.extend(_pieces(data, inside, kept))
    if first.ending != b"\n" and (first.ending or first.cut or is_stream):
        pieces.append(Piece("escape", _ending(first)))
    elif not first.data:
        pieces.append(Piece("fold", "↵"))
    return FrameLine(tuple(pieces), first.offset, at, hit)


def _overlaps(start: int, end: int, span: tuple[int, int]) -> bool:
    low, high = span
    if low == high:
        return start <= low < end
    return start < high and low < end


def _parts(raw: _Raw, span: tuple[int, int] | None) -> tuple[tuple[bytes, bool], ...]:
    """What stands before, inside and behind the fault; a line wholly inside is not marked again."""
    if span is None:
        return (b"", False), (raw.data, False), (b"", False)
    low, high = (min(max(edge - raw.offset, 0), len(raw.data)) for edge in span)
    partial = low > 0 or high < len(raw.data)
    return (raw.data[:low], False), (raw.data[low:high], partial), (raw.data[high:], False)


def _ending(raw: _Raw) -> str:
    if raw.ending:
        return raw.ending.decode("ascii").replace("\r", "\\r").replace("\n", "\\n")
    return "… the line goes on" if raw.cut else "⊣ no line end"


def _pieces(data: bytes, hit: bool, kept: tuple[int, int]) -> Iterator[Piece]:
    text = data.decode("utf-8", "surrogateescape")
    for kind, part in _trimmed(_runs(text), kept):
        if kind == "fold":
            yield Piece("fold", part, hit)
            continue
        for printable, group in groupby(part, key=str.isprintable):
            chunk = "".join(group)
            if printable:
                yield Piece("text", chunk, hit)
            else:
                yield Piece("escape", "".join(map(_escaped, chunk)), hit)


def _runs(text: str) -> list[tuple[str, str]]:
    """Text and folded runs in turn."""
    found: list[tuple[str, str]] = []
    position = 0
    for match in _RUN.finditer(text):
        if match.start() > position:
            found.append(("text", text[position : match.start()]))
        length = match.end() - match.start()
        character = match.group(1)
        shown = "spaces" if character is None else f"times {_escaped(character)}"
        found.append(("fold", f"· {length:,} {shown} ·"))
        position = match.end()
    if position < len(text):
        found.append(("text", text[position:]))
    return found


def _trimmed(parts: list[tuple[str, str]], kept: tuple[int, int]) -> list[tuple[str, str]]:
    """The first and last characters of a long line, with the number of those between."""
    total = sum(len(text) for _, text in parts)
    front, back = kept
    if total <= front + back:
        return parts
    head = _taken(parts, front)
    tail = [(kind, text[::-1]) for kind, text in _taken(_mirrored(parts), back)][::-1]
    return [*head, ("fold", f"· {total - front - back:,} characters ·"), *tail]


def _mirrored(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(kind, text[::-1]) for kind, text in reversed(parts)]


def _taken(parts: list[tuple[str, str]], limit: int) -> list[tuple[str, str]]:
    taken: list[tuple[str, str]] = []
    for kind, text in parts:
        if limit <= 0:
            break
        part = text if kind == "fold" else text[:limit]
        taken.append((kind, part))
        limit -= len(part)
    return taken


def _escaped(character: str) -> str:
    named = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}.get(character)
    return named or (character if character.isprintable() else escape(character))
