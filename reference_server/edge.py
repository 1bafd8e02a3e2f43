"""The one module that knows Hypercorn's insides.

Six things cannot be done through ASGI, and a server that streams for minutes needs them all:
writing the same bytes to a thousand connections without waking a task for each, cutting a reader
that accepts nothing (a generator parked in `send` cannot time out), ending a half-sent answer
visibly on HTTP/2, keeping what is buffered for an HTTP/2 stream bounded, refusing one stream too
many without harm to the others, and putting a problem document into the answer to a body whose
framing turns out to be broken.
Hypercorn's `send` is a bound method of the stream, which leads to protocol, server and transport.
Everything that is used on the way is checked at start by `check_hypercorn`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final
from weakref import WeakSet

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
#: Gives headers and body of the answer to a request that broke off with this status.
ErrorAnswer = Callable[[Scope, int], tuple[list[tuple[bytes, bytes]], bytes]]

BUFFER_HIGH_BYTES: Final = 65_536
BUFFER_LOW_BYTES: Final = 16_384
#: The watchdog looks this often within the time that a reader may stall.
_CHECKS_PER_STALL: Final = 8
_CHECK_INTERVAL_MAX_S: Final = 1.0
_LOG: Final = logging.getLogger(__name__)

#: What is reached for, by the class that has to have it.
_REQUIRED: Final[tuple[tuple[type, tuple[str, ...]], ...]] = (
    (HTTPStream, ("app_send",)),
    (H11Protocol, ("stream_send", "_send_error_response", "_send_h11_event")),
    (
        H2Protocol,
        (
            "initiate",
            "stream_send",
            "_handle_events",
            "_close_stream",
            "_window_updated",
            "_flush",
        ),
    ),
    (TCPServer, ("protocol_send",)),
    (StreamBuffer, ("push", "pop", "close", "drain")),
)


class UnsupportedHypercorn(Exception):
    """The installed Hypercorn is not built as this module expects."""


def check_hypercorn() -> None:
    """Raise UnsupportedHypercorn, naming what is missing, before the first request finds out."""
    missing = [
        f"{owner.__name__}.{name}"
        for owner, names in _REQUIRED
        for name in names
        if not hasattr(owner, name)
    ]
    if missing:
        raise UnsupportedHypercorn(
            f"expected Hypercorn 0.18, the installed one lacks {', '.join(missing)}"
        )


def answer_broken_bodies_with(answer: ErrorAnswer) -> None:
    """Let HTTP/1.1 requests whose body cannot be read be answered with a document.

    Hypercorn answers them itself, empty, before an application has been asked. There is no place to
    put this in but the class: a body may break in the very read that brought its header section.
    """

    async def send_error_response(protocol: H11Protocol, status_code: int) -> None:
        scope = getattr(protocol.stream, "scope", None)  # None: the header section is unreadable
        headers, body = answer(scope or {"headers": [], "http_version": "1.1"}, status_code)
        headers += protocol.config.response_headers("h11")
        await protocol._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await protocol._send_h11_event(h11.Data(data=body))
        await protocol._send_h11_event(h11.EndOfMessage())

    H11Protocol._send_error_response = send_error_response  # type: ignore[assignment, method-assign]


_INITIATE: Final = H2Protocol.initiate
_HANDLE_EVENTS: Final = H2Protocol._handle_events
_NO_LIMIT: Final = 2**31 - 1


def refuse_surplus_streams() -> None:
    """Answer a stream beyond the stated limit with REFUSED_STREAM (RFC 9113 §5.1.2).

    h2 takes it for an error of the connection, which would end all the streams that are allowed.
    So h2 is told of no limit once the stated one has been sent, and streams are counted here.
    """

    async def initiate(protocol: H2Protocol, *parts: Any, **more: Any) -> None:
        await _INITIATE(protocol, *parts, **more)
        limits = protocol.connection.local_settings
        limits[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = _NO_LIMIT
        limits.acknowledge()

    async def handle_events(protocol: H2Protocol, events: list[h2.events.Event]) -> None:
        limit = protocol.config.h2_max_concurrent_streams
        for event in events:
            if isinstance(event, h2.events.RequestReceived) and len(protocol.streams) >= limit:
                refused = h2.errors.ErrorCodes.REFUSED_STREAM
                protocol.connection.reset_stream(event.stream_id, refused)
                continue
            if (
                isinstance(event, h2.events.DataReceived)
                and event.stream_id not in protocol.streams
            ):
                continue  # the body of a refused request, read together with its head
            await _HANDLE_EVENTS(protocol, [event])
        await protocol._flush()

    H2Protocol.initiate = initiate  # type: ignore[assignment, method-assign]
    H2Protocol._handle_events = handle_events  # type: ignore[assignment, method-assign]


class BoundedStreamBuffer(StreamBuffer):
    """An HTTP/2 stream's unsent bytes, with a bound that holds.

    Hypercorn's own buffer lets its writer go on as soon as less than a frame was taken out of it,
    and taking nothing, because the peer's window is shut, counts. A reader that never reads would
    so let the buffer grow for as long as the job runs.
    """

    async def push(self, data: bytes) -> None:
        if len(self.buffer) + len(data) >= BUFFER_HIGH_BYTES:
            await self._paused.clear()
        await super().push(data)

    async def pop(self, max_length: int) -> bytes:
        length = min(len(self.buffer), max_length)
        data = bytes(self.buffer[:length])
        del self.buffer[:length]
        if len(self.buffer) <= BUFFER_LOW_BYTES:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


#: Where a request's scope holds its connection.
_CONNECTION: Final = "reference_server.connection"


def connection_of(scope: Scope) -> Connection | None:
    """The connection that a request came by; None where nothing may be written to it directly."""
    connection: Connection | None = scope.get("extensions", {}).get(_CONNECTION)
    return connection


class Connection:
    """One request's hold on the connection that it came by."""

    __slots__ = (
        "_body",
        "_buffered_bytes",
        "_finished",
        "_http",
        "_outlet",
        "_protocol",
        "_started",
        "_tcp",
        "_writing_since_s",
    )

    def __init__(self, send: Send) -> None:
        self._http: HTTPStream = send.__self__  # type: ignore[attr-defined]
        self._protocol: H11Protocol | H2Protocol = self._http.send.__self__
        self._tcp: TCPServer = self._protocol.send.__self__
        self._started = False
        self._finished = False
        self._outlet: asyncio.WriteTransport | None = None
        self._body: AsyncGenerator[bytes, None] | None = None
        self._writing_since_s: float | None = None
        self._buffered_bytes = 0
        if isinstance(self._protocol, H2Protocol):
            buffers = self._protocol.stream_buffers
            if self._http.stream_id in buffers:
                event_class = self._protocol.context.event_class
                buffers[self._http.stream_id] = BoundedStreamBuffer(event_class)

    @property
    def server(self) -> TCPServer:
        return self._tcp

    def stream(self, body: AsyncGenerator[bytes, None]) -> None:
        """Send this body instead of the application's, once the application has returned.

        A stream lives for minutes or hours. Until its end a framework keeps a request, its tasks
        and contexts for it, and passes each piece through all of them, for nothing.
        """
        self._body = body

    async def send(self, message: Message) -> None:
        """Hand an application's message to Hypercorn."""
        if self._body is not None:
            if message["type"] == "http.response.body":
                return
            if message["type"] == "http.response.start" and message["status"] != 200:
                self._body = None  # the application thought better of it
        await self._send(message)

    async def send_stream(self, receive: Receive) -> None:
        """Send the body given to `stream`, where there is one, until its end or the peer's."""
        body, self._body = self._body, None
        if body is None or not self._started:
            return
        task = asyncio.current_task()
        assert task is not None
        leaving = asyncio.create_task(_cancel_on_disconnect(receive, task))
        try:
            async with aclosing(body):
                async for piece in body:
                    await self._send(_body_message(piece, more=True))
            await self._send(_body_message(b"", more=False))
        except asyncio.CancelledError:
            if not leaving.done() or leaving.cancelled():
                raise
            task.uncancel()  # the peer is gone, and that is all
        finally:
            leaving.cancel()

    async def _send(self, message: Message) -> None:
        """Hand a message to Hypercorn, noting how long that takes."""
        self._writing_since_s = asyncio.get_running_loop().time()
        self._buffered_bytes = self.buffered_bytes()
        try:
            await self._http.app_send(message)  # type: ignore[arg-type]
        finally:
            self._writing_since_s = None
        self._started = True
        if message["type"] == "http.response.start":
            self._outlet = self._outlet_for(message)
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._finished = True
            self._outlet = None

    @property
    def outlet(self) -> asyncio.WriteTransport | None:
        """Where whole HTTP/1.1 chunks of this answer's body may be written past Hypercorn and h11.

        Only while no `send` is under way, and only before the answer's end. None for an answer of
        another kind. Such a chunk leaves no trace in h11, which counts nothing in a body in chunks
        and so goes on with its own, or with the last one.
        """
        return self._outlet

    def _outlet_for(self, start: Message) -> asyncio.WriteTransport | None:
        if not isinstance(self._protocol, H11Protocol):
            return None
        framing = {b"content-length", b"transfer-encoding"}
        chunked = (
            self._protocol.connection.our_state is h11.SEND_BODY
            and self._http.scope["http_version"] == "1.1"
            and self._http.scope["method"] != "HEAD"
            and start["status"] == 200
            and not any(name.lower() in framing for name, _ in start["headers"])
        )
        return self._tcp.writer.transport if chunked else None

    def buffered_bytes(self) -> int:
        """Bytes that the peer has not taken yet."""
        if isinstance(self._protocol, H2Protocol):
            stream_buffer = self._protocol.stream_buffers.get(self._http.stream_id)
            return 0 if stream_buffer is None else len(stream_buffer.buffer)
        return self._tcp.writer.transport.get_write_buffer_size()

    def stalled_for_s(self, now_s: float) -> float:
        """How long a write has been waiting without the peer taking a single byte."""
        if self._writing_since_s is None:
            return 0.0
        buffered = self.buffered_bytes()
        if buffered != self._buffered_bytes:
            self._buffered_bytes = buffered
            self._writing_since_s = now_s
        return now_s - self._writing_since_s

    async def cut(self) -> None:
        """End the exchange at once, visibly: reset the HTTP/2 stream, or abort the connection."""
        if not isinstance(self._protocol, H2Protocol):
            self._tcp.writer.transport.abort()
            return
        stream_id = self._http.stream_id
        try:
            self._protocol.connection.reset_stream(
                stream_id, error_code=h2.errors.ErrorCodes.CANCEL
            )
        except h2.exceptions.ProtocolError:
            return  # it is closed already
        await self._protocol._close_stream(stream_id)
        await self._protocol._window_updated(stream_id)
        await self._protocol._flush()

    async def cut_if_unfinished(self) -> None:
        """What an application left half-sent must not look as if it were still to come."""
        if self._started and not self._finished and not self._http.closed:
            await self.cut()


def _body_message(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _cancel_on_disconnect(receive: Receive, task: asyncio.Task[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


class Edge:
    """The outermost ASGI layer: knows every live request and every connection that had one."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        stalled_reader_s: float,
        on_cut: Callable[[], None],
        direct_writes: bool,
    ) -> None:
        """`direct_writes`: let streams hand events to their connections."""
        self._app = app
        self._direct_writes = direct_writes
        self._stalled_reader_s = stalled_reader_s
        self._on_cut = on_cut
        self._live: set[Connection] = set()
        self._servers: WeakSet[TCPServer] = WeakSet()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = Connection(send)
        if self._direct_writes:
            extensions = {**scope.get("extensions", {}), _CONNECTION: connection}
            scope = {**scope, "extensions": extensions}
        self._servers.add(connection.server)
        self._live.add(connection)
        try:
            await self._app(scope, receive, connection.send)
            await connection.send_stream(receive)
        finally:
            self._live.discard(connection)
            await connection.cut_if_unfinished()

    @property
    def live(self) -> int:
        """Requests that are being answered."""
        return len(self._live)

    async def watch(self) -> None:
        """Cut every reader that has taken no byte for too long. Runs until it is cancelled."""
        interval_s = min(self._stalled_reader_s / _CHECKS_PER_STALL, _CHECK_INTERVAL_MAX_S)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(interval_s)
            now_s = loop.time()
            await self._cut_all(
                connection
                for connection in tuple(self._live)
                if connection.stalled_for_s(now_s) >= self._stalled_reader_s
            )

    def abort_all(self) -> None:
        """Drop every connection that ever carried a request and is still there."""
        for server in tuple(self._servers):
            server.writer.transport.abort()

    async def _cut_all(self, connections: Iterable[Connection]) -> None:
        for connection in connections:
            _LOG.info("stalled reader cut", extra={"after_s": self._stalled_reader_s})
            self._on_cut()
            await connection.cut()
