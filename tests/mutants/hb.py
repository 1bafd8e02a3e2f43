"""Servers whose heartbeats are missing, misplaced, or taken for events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from .model import Mutant


def _never() -> None:
    from reference_server.stream import Stream

    Stream._look_up_s = property(lambda self: self._now() + 60)  # type: ignore[assignment]
    Stream._heartbeat_due = property(lambda self: False)  # type: ignore[assignment]


def rarely(seconds: float) -> None:
    from reference_server.stream import Stream

    Stream._look_up_s = property(lambda self: self._sent_s + seconds)  # type: ignore[assignment]
    Stream._heartbeat_due = property(  # type: ignore[assignment]
        lambda self: self._now() - self._sent_s >= seconds and not self._complete
    )


def _sent_as(make: Any) -> None:
    """Heartbeats are made by `make(stream)`, without their padding."""
    from reference_server.stream import Stream

    def beat(self: Stream) -> bytes:
        return self._streams.encoder._filled(make(self))

    Stream._heartbeat = beat  # type: ignore[method-assign]


def _with_id(stream: Any) -> bytes:
    head = stream.log.head
    stamp = stream._streams.clock.timestamp()
    return (
        f'id: {head}\nevent: heartbeat\ndata: {{"type":"heartbeat","timestamp":"{stamp}",'
        f'"data":{{"latest":{head}}}}}\n\n'
    ).encode()


def _inside_events() -> None:
    """A timer's first line gets between an event's lines; the writer has no lock."""
    from .wire import on_frames

    on_frames(
        lambda frame, _: frame.replace(b"event: ", b"event: heartbeat\nevent: ", 1), "diff_chunk"
    )


def _after_the_end() -> None:
    """One more heartbeat follows the terminal event."""
    from reference_server.stream import Stream

    original = Stream.chunks

    async def chunks(self: Stream) -> AsyncGenerator[bytes, None]:
        async for chunk in original(self):
            yield chunk
        if self._complete:
            yield self._heartbeat()

    Stream.chunks = chunks  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="hb-never",
        breaks=("HB-01",),
        follows=("PROXY-05",),
        patch=_never,
        about="There are no heartbeats.",
    ),
    Mutant(
        name="hb-rarely",
        breaks=("HB-01",),
        follows=("PROXY-05",),
        patch=partial(rarely, 4.5),
        about="Heartbeats come at more than twice the declared interval.",
    ),
    Mutant(
        name="hb-comment",
        breaks=("HB-02",),
        patch=partial(_sent_as, lambda stream: b": heartbeat\n"),
        about="Heartbeats are comments where an event is declared.",
    ),
    Mutant(
        name="hb-data-ping",
        breaks=("HB-02",),
        follows=("WIRE-07", "WIRE-10", "REPLAY-06"),
        patch=partial(_sent_as, lambda stream: b"data: ping\n\n"),
        about="Heartbeats are messages without name, id or JSON, and look like events of the log.",
    ),
    Mutant(
        name="hb-inside-events",
        breaks=("HB-03",),
        patch=_inside_events,
        about="A heartbeat's first line stands between the lines of an event.",
    ),
    Mutant(
        name="hb-with-id",
        breaks=("HB-04",),
        patch=partial(_sent_as, _with_id),
        about="Heartbeats carry the newest event's id.",
    ),
    Mutant(
        name="hb-after-the-end",
        breaks=("HB-04",),
        patch=_after_the_end,
        about="A heartbeat follows the terminal event.",
    ),
]
