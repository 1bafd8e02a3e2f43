"""Servers that are sound over HTTP/1.1 and do something else over HTTP/2."""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from . import seams
from .model import Mutant, put

if TYPE_CHECKING:
    from reference_server.stream import Stream

_OVER_H2: ContextVar[bool] = ContextVar("over_h2", default=False)
_COMMENT = re.compile(rb"(?m)^:[^\n]*\n")


def _over_h2(change: Any) -> None:
    """`change(chunk)` on HTTP/2 streams only."""
    from reference_server.edge import Edge

    call = Edge.__call__

    async def noted(self: Edge, scope: Any, receive: Any, send: Any) -> None:
        _OVER_H2.set(scope.get("http_version") == "2")
        await call(self, scope, receive, send)

    def note(stream: Stream) -> None:
        stream.over_h2 = _OVER_H2.get()  # type: ignore[attr-defined]

    async def changed(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        async for chunk in chunks:
            new = change(chunk) if stream.over_h2 else chunk  # type: ignore[attr-defined]
            if new:
                yield new

    put(Edge, "__call__", noted)
    seams.on_opened(note)
    seams.on_chunks(changed)


def _without_padding(chunk: bytes) -> bytes:
    return _COMMENT.sub(b"", chunk)


def _without_event_7(chunk: bytes) -> bytes:
    return b"".join(part for part in seams.frames_in(chunk) if seams.id_of(part) != 7)


def _fields(change: Any) -> None:
    """Answers over HTTP/2 carry the fields that `change` makes, as they are."""
    from hypercorn.protocol.events import Response
    from hypercorn.protocol.h2 import H2Protocol

    made, send = H2Protocol.__init__, H2Protocol.stream_send

    def loose(self: H2Protocol, *parts: Any, **more: Any) -> None:
        made(self, *parts, **more)
        self.connection.config.normalize_outbound_headers = False
        self.connection.config.validate_outbound_headers = False

    async def changed(self: H2Protocol, event: Any) -> None:
        if isinstance(event, Response):
            event = replace(event, headers=change(list(event.headers)))
        await send(self, event)

    put(H2Protocol, "__init__", loose)
    put(H2Protocol, "stream_send", changed)


def _chunked(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [*headers, (b"transfer-encoding", b"chunked")]


def _upper_case(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.title(), value) for name, value in headers]


def _ten_at_a_time() -> None:
    """However many streams are allowed, ten of a connection are served at once."""
    from reference_server.edge import Connection, Edge

    call = Edge.__call__
    served: dict[int, int] = {}

    async def limited(self: Edge, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("http_version") != "2":
            await call(self, scope, receive, send)
            return
        key = id(Connection(send).server)
        while served.get(key, 0) >= 10:  # noqa: ASYNC110 - a broken server may be clumsy
            await asyncio.sleep(0.02)
        served[key] = served.get(key, 0) + 1
        try:
            await call(self, scope, receive, send)
        finally:
            served[key] -= 1

    put(Edge, "__call__", limited)


def _surplus_ends_all() -> None:
    """A stream beyond the stated limit is taken for an error of the connection."""
    from reference_server import edge

    put(edge, "refuse_surplus_streams", lambda: None)


def _one_writer() -> None:
    """The connection's writer waits for a stream's window before it turns to another stream."""
    from hypercorn.protocol.h2 import H2Protocol

    send = H2Protocol._send_data

    async def patient(self: H2Protocol, stream_id: int) -> None:
        while (  # noqa: ASYNC110 - a broken server may be clumsy
            not self.closed
            and (buffer := self.stream_buffers.get(stream_id)) is not None
            and buffer.buffer
            and stream_id in self.streams
            and self.connection.local_flow_control_window(stream_id) <= 0
        ):
            await asyncio.sleep(0.01)
        await send(self, stream_id)

    put(H2Protocol, "_send_data", patient)


def _slots_leak() -> None:
    """A stream that was reset still counts for the limit of streams."""
    import h2.errors
    import h2.events
    from hypercorn.protocol.h2 import H2Protocol

    handle, create = H2Protocol._handle_events, H2Protocol._create_stream

    async def counted(self: H2Protocol, events: list[Any]) -> None:
        leaked = sum(isinstance(event, h2.events.StreamReset) for event in events)
        put(self, "leaked", getattr(self, "leaked", 0) + leaked)
        await handle(self, events)

    async def limited(self: H2Protocol, request: Any) -> None:
        limit = self.config.h2_max_concurrent_streams
        if len(self.streams) + getattr(self, "leaked", 0) >= limit:
            self.connection.reset_stream(request.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        await create(self, request)

    put(H2Protocol, "_handle_events", counted)
    put(H2Protocol, "_create_stream", limited)


def _reset_ends_all() -> None:
    """Who cancels one stream loses the connection."""
    import h2.events
    from hypercorn.events import Closed
    from hypercorn.protocol.h2 import H2Protocol

    handle = H2Protocol._handle_events

    async def ended(self: H2Protocol, events: list[Any]) -> None:
        await handle(self, events)
        if any(isinstance(event, h2.events.StreamReset) for event in events):
            await self.send(Closed())

    put(H2Protocol, "_handle_events", ended)


def _other_end(make: Any) -> None:
    """Where an answer ends, something else than END_STREAM is sent."""
    from hypercorn.protocol.h2 import H2Protocol

    made = H2Protocol.__init__

    def changed(self: H2Protocol, *parts: Any, **more: Any) -> None:
        made(self, *parts, **more)
        put(self.connection, "end_stream", make(self.connection))

    put(H2Protocol, "__init__", changed)


def _with_reset(connection: Any) -> Any:
    def reset(stream_id: int) -> None:
        connection.reset_stream(stream_id)

    return reset


def _with_nothing(_: Any) -> Any:
    return lambda _stream_id: None


MUTANTS: list[Mutant] = [
    Mutant(
        name="h2-unpadded",
        breaks=("H2-01",),
        patch=partial(_over_h2, _without_padding),
        about="Over HTTP/2 the frames are not padded.",
    ),
    Mutant(
        name="h2-loses-an-event",
        breaks=("H2-01",),
        patch=partial(_over_h2, _without_event_7),
        about="Over HTTP/2 an event is missing.",
    ),
    Mutant(
        name="h2-transfer-encoding",
        breaks=("H2-02",),
        patch=partial(_fields, _chunked),
        about="Answers over HTTP/2 carry Transfer-Encoding.",
    ),
    Mutant(
        name="h2-upper-case",
        breaks=("H2-02",),
        patch=partial(_fields, _upper_case),
        about="Field names are sent over HTTP/2 as they are written for HTTP/1.1.",
    ),
    Mutant(
        name="h2-ten-at-a-time",
        breaks=("H2-03",),
        patch=_ten_at_a_time,
        about="A limit of 250 streams is stated, and ten are served at a time.",
    ),
    Mutant(
        name="h2-surplus-ends-all",
        breaks=("H2-03",),
        patch=_surplus_ends_all,
        about="One stream beyond the stated limit costs all of them their connection.",
    ),
    Mutant(
        name="h2-one-writer",
        breaks=("H2-04",),
        patch=_one_writer,
        about="The connection's writer waits for the window of one stream.",
    ),
    Mutant(
        name="h2-slots-leak",
        breaks=("H2-05",),
        patch=_slots_leak,
        about="Streams that were reset count for the limit for ever.",
    ),
    Mutant(
        name="h2-reset-ends-all",
        breaks=("H2-05",),
        patch=_reset_ends_all,
        about="Who cancels one stream loses the connection.",
    ),
    Mutant(
        name="h2-reset-at-end",
        breaks=("H2-06",),
        patch=partial(_other_end, _with_reset),
        about="A stream that is over is reset instead of ended.",
    ),
    Mutant(
        name="h2-never-ends",
        breaks=("H2-06",),
        patch=partial(_other_end, _with_nothing),
        about="No stream is ever ended over HTTP/2.",
    ),
]
