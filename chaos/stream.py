"""One connection to a stream, for readers by the hundred.

A general HTTP client spends more on a connection, and on each of its reads, than reading the events
takes: readers that are slower than the deployment would be what the faults are measured on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from streamgauge.framing import Body, Cut, NoConnection, request_bytes, said, take_head

CONNECT_S: Final = 3.0
READ_BYTES: Final = 65_536


class Silent(Exception):
    """Nothing has come for longer than a stream may be silent."""


class Answer:
    """A status, and a body as it comes."""

    def __init__(
        self, status: int, body: Body, data: bytes, reader: asyncio.StreamReader, silence_s: float
    ) -> None:
        self.status = status
        self._body = body
        self._data = data
        self._reader = reader
        self._silence_s = silence_s

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises Silent, Cut, NotHttp."""
        while not self._body.ended:
            data, self._data = self._data, b""
            if not data:
                data = await _next(self._reader, self._silence_s)
            if not data:
                if self._body.cut():
                    raise Cut("the connection was closed in the middle of the answer")
                return b""
            if part := self._body.feed(data):
                return part
        return b""


@asynccontextmanager
async def ask(url: str, headers: Mapping[str, str], silence_s: float) -> AsyncIterator[Answer]:
    """GET, on a connection of its own that ends with the block.

    Raises:
        Silent, WireError: no answer, or none that is HTTP.
    """
    parts = urlsplit(url)
    tls = _tls() if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (443 if tls else 80), ssl=tls, limit=READ_BYTES
            )
    except TimeoutError as error:
        raise NoConnection(f"no connection in {CONNECT_S:g} s") from error
    except OSError as error:
        raise NoConnection(f"no connection: {said(error)}") from error
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authority = parts.netloc.rpartition("@")[2]
        writer.write(request_bytes(authority, "GET", target, headers.items()))
        raw = b""
        while (taken := take_head(raw)) is None:
            data = await _next(reader, silence_s)
            if not data:
                raise Cut("the connection was closed before the answer")
            raw += data
        head, rest = taken
        yield Answer(head.status, head.body(), rest, reader, silence_s)
    finally:
        writer.close()


async def _next(reader: asyncio.StreamReader, silence_s: float) -> bytes:
    try:
        async with asyncio.timeout(silence_s):
            return await reader.read(READ_BYTES)
    except TimeoutError as error:
        raise Silent(f"nothing for {silence_s:g} s") from error
    except OSError as error:
        raise Cut(f"the connection broke: {said(error)}") from error


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
