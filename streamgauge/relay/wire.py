"""Heads and framing on both sides of the relay; bodies pass as bytes.

h11 speaks HTTP/1.1 here. One exchange a connection, on either side: what is kept alive could carry
one exchange's fate into the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult

import h11

from .cache import Fields

HEAD_BYTES_MAX = 256 * 1024
REQUEST_BYTES_MAX = 8 * 1024 * 1024
READ_BYTES = 65536
CONNECT_S = 10.0
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    }
)


class Faulty(Exception):
    """One side did not speak HTTP, or too much of it; the message says which and what."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the relay's client sent it, whole."""

    method: str
    target: str
    fields: Fields
    body: bytes


class ClientSide:
    """The connection on which the relay was asked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._reader = reader
        self._writer = writer
        # `drain` then means that all has left: a reset takes nothing with it.
        writer.transport.set_write_buffer_limits(high=0)

    async def request(self) -> Asked | None:
        """The request; None where the client went away without one."""
        head: h11.Request | None = None
        body = bytearray()
        try:
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        self._writer.write(self._http.send(go_on))
                    data = await self._reader.read(READ_BYTES)
                    if not data and head is None:
                        return None
                    self._http.receive_data(data)
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > REQUEST_BYTES_MAX:
                        raise Faulty(f"a request above {REQUEST_BYTES_MAX} bytes")
                else:
                    break
        except h11.RemoteProtocolError as error:
            raise Faulty(f"the request was not HTTP/1.1: {error}") from error
        if head is None:
            return None
        fields = tuple(
            (name.decode("ascii"), value.decode("latin-1"))
            for name, value in head.headers.raw_items()
        )
        return Asked(head.method.decode("ascii"), head.target.decode("ascii"), fields, bytes(body))

    async def head(self, status: int, fields: Fields) -> None:
        """Send the answer's head."""
        kept = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in without_hops(fields)]
        answer = h11.Response(status_code=status, headers=[*kept, (b"Connection", b"close")])
        self._writer.write(self._http.send(answer))
        await self._writer.drain()

    async def body(self, data: bytes) -> None:
        """Send some of the answer's body."""
        self._writer.write(self._http.send(h11.Data(data=data)) or b"")
        await self._writer.drain()

    async def end(self) -> None:
        """End the answer as its framing says."""
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        await self._writer.drain()

    async def left(self) -> None:
        """Return when the client has closed its side."""
        with contextlib.suppress(OSError):
            while await self._reader.read(READ_BYTES):
                pass

    def close(self, *, reset: bool = False) -> None:
        """Close, or reset, the connection."""
        if reset:
            reset_connection(self._writer)
        else:
            self._writer.close()


class TargetSide:
    """The connection to the target."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._reader = reader
        self._writer = writer
        self.ended = False

    @classmethod
    async def connect(cls, target: SplitResult, context: ssl.SSLContext | None) -> TargetSide:
        """A new connection; the certificate is verified as the client does it.

        Raises:
            OSError, TimeoutError: there is none.
        """
        port = target.port or (443 if context else 80)
        async with asyncio.timeout(CONNECT_S):
            streams = await asyncio.open_connection(
                target.hostname, port, ssl=context, limit=READ_BYTES
            )
        return cls(*streams)

    async def ask(self, asked: Asked) -> h11.Response:
        """Send a request and read the answer's head.

        Raises:
            Faulty: what came was not HTTP.
        """
        request = h11.Request(
            method=asked.method,
            target=asked.target,
            headers=[(n.encode("ascii"), v.encode("latin-1")) for n, v in asked.fields],
        )
        parts = [self._http.send(request)]
        if asked.body:
            parts.append(self._http.send(h11.Data(data=asked.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        self._writer.write(b"".join(part for part in parts if part))
        await self._writer.drain()
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise Faulty("the target ended the connection without an answer")

    async def body(self) -> bytes:
        """What has come of the body since the last time; b"" at its end (`ended`)."""
        parts: list[bytes] = []
        while not self.ended:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                if parts:
                    break  # what came before the fault goes on before it
                raise Faulty(str(error)) from error
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif event is h11.NEED_DATA:
                if parts:
                    break
                self._http.receive_data(await self._reader.read(READ_BYTES))
            else:
                self.ended = True
        return b"".join(parts)

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(READ_BYTES))
        except h11.RemoteProtocolError as error:
            raise Faulty(str(error)) from error
        return event

    def close(self) -> None:
        """Leave."""
        self._writer.close()


def without_hops(fields: Sequence[tuple[str, str]]) -> Fields:
    """A head's fields without those that are for one connection only."""
    named = {
        part.strip().lower()
        for name, value in fields
        if name.lower() == "connection"
        for part in value.split(",")
    }
    return tuple((n, v) for n, v in fields if n.lower() not in _HOP_BY_HOP | named)


def reset_connection(writer: asyncio.StreamWriter) -> None:
    """Close with RST: lingering for no time turns the close into a reset."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
