"""Paths that spoil a stream, as arithmetic: what a reader behind one would have recorded.

Each is a few lines, so that a test can be sure of what it holds the diagnosis against.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from streamgauge.recording import End, Read, Recording, Request

ZERO = 1_770_000_000.0
Write = tuple[float, bytes]
Path = Callable[[Sequence[Write], float], list[Write]]


def stamped(at: float) -> str:
    return datetime.fromtimestamp(ZERO + at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def frame(number: int, at: float, size: int = 4096, kind: str = "step_progress") -> bytes:
    """One event's frame, padded to `size` behind its empty line."""
    body = json.dumps({"id": number, "type": kind, "timestamp": stamped(at), "data": {}})
    text = (f"id: {number}\n" if number else "") + f"event: {kind}\ndata: {body}\n\n"
    short = size - len(text)
    return (text + (":" + " " * (short - 2) + "\n" if short >= 2 else "")).encode()


def source(moments: Sequence[float], size: int = 4096, opened: float = 1.0) -> list[Write]:
    """What a good server writes: the opening frame, then one event at each of these moments."""
    opening = (opened + 0.01, frame(0, opened + 0.01, size, "connection"))
    return [opening, *((at, frame(n, at, size)) for n, at in enumerate(moments, 1))]


def straight(writes: Sequence[Write], ended: float) -> list[Write]:
    return list(writes)


def holds(size: int) -> Path:
    """Everything at once as soon as there are so many bytes."""

    def path(writes: Sequence[Write], ended: float) -> list[Write]:
        out, kept = [], b""
        for at, data in writes:
            kept += data
            if len(kept) >= size:
                out.append((at, kept))
                kept = b""
        return [*out, (ended, kept)]

    return path


def blocks(size: int) -> Path:
    """Full blocks only."""

    def path(writes: Sequence[Write], ended: float) -> list[Write]:
        out, kept = [], b""
        for at, data in writes:
            kept += data
            whole = len(kept) // size * size
            if whole:
                out.append((at, kept[:whole]))
                kept = kept[whole:]
        return [*out, (ended, kept)]

    return path


def until_end(writes: Sequence[Write], ended: float) -> list[Write]:
    return [(ended, b"".join(data for _, data in writes))]


def ticks(period: float) -> Path:
    """What there is, at every tick of a clock."""

    def path(writes: Sequence[Write], ended: float) -> list[Write]:
        out: dict[int, bytes] = {}
        for at, data in writes:
            tick = int(at // period) + 1
            out[tick] = out.get(tick, b"") + data
        return [(min(tick * period, ended), data) for tick, data in out.items()]

    return path


def one_behind(writes: Sequence[Write], ended: float) -> list[Write]:
    times = [*(at for at, _ in writes[1:]), ended]
    return [(at, data) for at, (_, data) in zip(times, writes, strict=True)]


def later(seconds: float) -> Path:
    """A long way: everything comes so much later, each on its own."""
    return lambda writes, ended: [(at + seconds, data) for at, data in writes]


def recorded(
    writes: Sequence[Write],
    path: Path = straight,
    *,
    label: str = "reader",
    opened: float = 1.0,
    latency: float = 0.02,
    end: End = End.COMPLETE,
) -> Recording:
    """What a reader behind the path saw of it."""
    ended = writes[-1][0] + 0.3
    reads = tuple(Read(at + latency, data) for at, data in path(writes, ended) if data)
    return Recording(
        label=label,
        request=Request("GET", "http://target.example/stream"),
        sent_at=opened,
        status=200,
        http_version="HTTP/1.1",
        headers=(("Content-Type", "text/event-stream"),),
        head_at=opened + latency,
        reads=reads,
        end=end,
        ended_at=max(ended, reads[-1].at) + latency,
        info={"job": "job-1", "after": None},
    )


def silent(
    moments: Sequence[float], cut_at: float, *, opened: float, label: str = "reader"
) -> Recording:
    """A stream that had these writes and was cut at that moment."""
    writes = [w for w in source(moments, opened=opened) if w[0] < cut_at]
    whole = recorded(writes, label=label, opened=opened, latency=0.0)
    return replace(whole, end=End.CUT, ended_at=cut_at, error="peer closed connection")
