"""A reader that does not read, or reads slowly, so that the pressure reaches the target.

An ordinary client takes whatever comes, and what it does not take the kernel takes for it. To see
what a target does with a reader that has stalled, the socket's own buffer is kept small and nothing
is read from it: then the target's writes have to wait. The recording is an ordinary one; `info`
says when the reader stood still. Nothing here judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import h11

from .client import ANSWER_BYTES_MAX, CONNECT_S, Client
from .raw import tls_context
from .recording import End, Read, Recording, Request
from .secrets import REDACTED

RECEIVE_BUFFER_BYTES = 64 * 1024
"""What the kernel may take in for a reader that stands still (Linux doubles it)."""
CATCH_UP_BUFFER_BYTES = 4 * 1024 * 1024
"""The same once it reads on as fast as it can."""
STREAM_LIMIT_BYTES = 16 * 1024
"""asyncio stops taking from the socket at twice this."""
READ_BYTES = 64 * 1024
SLOW_READS_PER_S = 16
"""A slow reader takes its bytes in so many small reads a second."""


class StalledReader:
    """One HTTP/1.1 stream on a connection of its own that is read only when told so."""

    def __init__(
        self,
        client: Client,
        url: str,
        *,
        label: str,
        headers: Iterable[tuple[str, str]] = (),
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self.label = label
        self.info: dict[str, Any] = dict(info or {})
        self.status: int | None = None
        self.end: End | None = None
        own = tuple(headers)
        names = {name.lower() for name, _ in own}
        self._extra = tuple(p for p in client.extra_headers if p[0].lower() not in names)
        self._own = (*own, ("Accept-Encoding", "identity"), ("User-Agent", "streamgauge"))
        shown = (*self._own, *((name, REDACTED) for name, _ in self._extra))
        self._url = client.secrets.sent(url)
        self._request = Request("GET", client.secrets.shown(url), shown)
        self._secrets, self._members = client.secrets, client.members
        self._clock = client.clock
        self.sent_at = self._clock.now()
        self._http = h11.Connection(h11.CLIENT)
        self._headers: tuple[tuple[str, str], ...] = ()
        self._version = ""
        self._head_at: float | None = None
        self._reads: list[Read] = []
        self._size = 0
        self._ended_at = 0.0
        self._error = ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._final: Recording | None = None

    @property
    def received(self) -> int:
        """Octets of the body that were read so far."""
        return self._size

    @property
    def stalled_s(self) -> float:
        """How long it has been standing still."""
        return self._clock.now() - float(self.info["stalled_at"])

    async def open(self, within_s: float) -> bool:
        """Connect, ask, read the head and no more than came with it, then stand still.

        Returns whether the answer is 200.
        """
        try:
            async with asyncio.timeout(within_s):
                self._reader, self._writer = await _connect_narrow(self._url)
                self._writer.write(self._asked())
                while self.status is None and self.end is None:
                    await self._read(1024)
        except TimeoutError:
            self._finish(End.TIMEOUT)
        except OSError as error:
            refused = self._writer is None
            self._finish(End.REFUSED if refused else End.RESET, str(error))
        self.info["stalled_at"] = self._clock.now()
        return self.status == 200 and self.end is None

    async def read_on(self, within_s: float) -> None:
        """Read as fast as it comes, to the end of the answer; after so long it has timed out."""
        self.info.setdefault("read_on_at", self._clock.now())
        self.info.setdefault("before", self._size)
        self._widen()
        await self._read_for(within_s, READ_BYTES, 0.0)
        if self.end is None:
            self._finish(End.TIMEOUT)

    async def read_slowly(self, bytes_per_s: int, within_s: float) -> None:
        """Read at this rate, to the end of the answer or for so long."""
        self.info.setdefault("bytes_per_s", bytes_per_s)
        await self._read_for(within_s, bytes_per_s // SLOW_READS_PER_S, 1 / SLOW_READS_PER_S)

    async def _read_for(self, within_s: float, at_most: int, every_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.end is None:
                    await self._read(at_most)
                    # What was not read in time is not made up for: the rate is an upper bound.
                    due = max(due + every_s, loop.time())
                    if every_s:
                        await asyncio.sleep(due - loop.time())

    async def leave(self) -> Recording:
        """Close without reading what is left, and hand out the recording."""
        if self.end is None:
            self._finish(End.LEFT)
        return self.recording()

    def recording(self) -> Recording:
        """The record so far; final once the exchange has ended."""
        if self._final is not None:
            return self._final
        recording = Recording(
            label=self.label,
            request=self._request,
            sent_at=self.sent_at,
            status=self.status,
            http_version=self._version,
            headers=self._headers,
            head_at=self._head_at,
            reads=tuple(self._reads),
            end=self.end or End.LEFT,
            ended_at=self._ended_at or self._clock.now(),
            error=self._error,
            info=self.info,
            members=self._members,
        )
        if self.end is not None:
            self._final = recording
            self._reads = []
        return recording

    def _asked(self) -> bytes:
        parts = urlsplit(self._url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [("Host", parts.netloc), *self._own, *self._extra]
        asked = h11.Request(method="GET", target=target, headers=headers)
        return (self._http.send(asked) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    async def _read(self, at_most: int) -> None:
        assert self._reader is not None
        try:
            data = await self._reader.read(at_most)
        except OSError as error:
            self._finish(End.RESET, str(error) or "the connection was reset")
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Give bytes (none: the connection has ended) to the HTTP parser, and keep what is body."""
        at = self._clock.now()
        body: list[bytes] = []
        end, error = None, ""
        try:
            self._http.receive_data(data)
            while end is None:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    self._note_head(event, at)
                elif isinstance(event, h11.Data):
                    body.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    end = End.COMPLETE if self._framed else End.CLOSED
                elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                    break
        except h11.RemoteProtocolError as fault:
            end, error = (End.PROTOCOL_ERROR if data else End.CUT), str(fault)
        if body:
            self._reads.append(Read(at, self._secrets.masked(b"".join(body))))
            self._size += len(self._reads[-1].data)
        if end is not None:
            self._finish(end, error)
        elif not data:
            self._finish(End.CUT, "the connection ended without an answer")
        elif self._size > ANSWER_BYTES_MAX:
            self._finish(End.TIMEOUT)

    def _note_head(self, response: h11.Response, at: float) -> None:
        self.status, self._head_at = response.status_code, at
        self._version = "HTTP/" + response.http_version.decode("ascii")
        self._headers = tuple(
            (name.decode("latin-1"), self._secrets.masked_text(_shown(name, value)))
            for name, value in response.headers.raw_items()
        )

    @property
    def _framed(self) -> bool:
        return any(n.lower() in ("content-length", "transfer-encoding") for n, _ in self._headers)

    def _widen(self) -> None:
        """Let the kernel take in more: catching up is not what is measured."""
        sock = self._writer.get_extra_info("socket") if self._writer is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CATCH_UP_BUFFER_BYTES)

    def _finish(self, end: End, error: str = "") -> None:
        if self.end is not None:
            return
        self.end, self._error, self._ended_at = end, error, self._clock.now()
        if self._writer is not None:
            self._writer.transport.abort()


def _shown(name: bytes, value: bytes) -> str:
    return REDACTED if name.lower() == b"set-cookie" else value.decode("latin-1")


async def _connect_narrow(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose receive buffer was small before the first byte could come."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    loop = asyncio.get_running_loop()
    refused: OSError = OSError("the address has no host")
    async with asyncio.timeout(CONNECT_S):
        for family, kind, protocol, _, address in await loop.getaddrinfo(
            parts.hostname, port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
                await loop.sock_connect(sock, address)
                return await asyncio.open_connection(
                    sock=sock,
                    limit=STREAM_LIMIT_BYTES,
                    ssl=tls_context("http/1.1") if secure else None,
                    server_hostname=parts.hostname if secure else None,
                )
            except OSError as error:
                refused = error
                sock.close()
            except BaseException:
                sock.close()
                raise
    raise refused
