"""Requests sent exactly as they were written, however wrong, and their answers read to the end.

An HTTP client refuses to send what a server must be able to refuse: two lengths, chunks that are
none, odd bytes in a request line. Here the caller writes head and body; h11 reads the answer, and
what the connection does behind it is noted in the recording's `info`:

- `closed`: the target closed the connection after its answer (looked at for `linger_s`)
- `interim`: the 1xx answers that came before the final one
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11

from .client import Client
from .raw import connect
from .recording import End, Read, Recording, Request
from .secrets import REDACTED

ANSWER_BYTES_MAX = 1024 * 1024
"""No answer is read beyond this."""
CONTINUE_S = 3.0
"""So long a request with an expectation waits for leave to send its body."""
_READ_BYTES = 65536
_FIELDS_KEPT = 12
_VALUE_KEPT = 512
"""What a recording shows of a request that is large on purpose."""
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@dataclass(frozen=True, slots=True)
class Wording:
    """A request as it goes over the wire, apart from the address and the user's own headers."""

    method: str
    target: str
    """The request target below the base URL's path; bytes beyond ASCII as Latin-1."""
    headers: tuple[tuple[str, str], ...] = ()
    body: Sequence[bytes] = ()
    """The pieces of the body as they are sent; framing is the caller's matter."""
    version: str = "HTTP/1.1"
    expects: bool = False
    """Wait for 100 (or a final answer) before the body is sent."""


@dataclass(slots=True)
class _Answer:
    """What has come so far."""

    status: int | None = None
    version: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    head_at: float | None = None
    reads: list[Read] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    whole: bool = False
    framed: bool = False
    closed: bool = False
    surplus: bytes = b""
    news: asyncio.Event = field(default_factory=asyncio.Event)


async def say(
    client: Client,
    wording: Wording,
    *,
    label: str,
    bound_s: float = 8.0,
    linger_s: float = 0.0,
    head_only: bool = False,
    info: Mapping[str, Any] | None = None,
) -> Recording:
    """Send the request on a connection of its own and record what comes of it.

    Args:
        client: the target's address, and the headers that go with every request.
        wording: what to send.
        label: the recording's name in its bundle.
        bound_s: until the answer is whole.
        linger_s: so long the connection is watched behind the answer.
        head_only: leave when an answer below 400 has begun; errors are read to the end.
        info: facts to record.
    """
    client.require_harmless(wording.method)
    base = urlsplit(client.base_url)
    path = base.path.rstrip("/") + wording.target
    url = client.secrets.shown(f"{base.scheme}://{base.netloc}{path}")
    target = client.secrets.sent(path)
    sent_at = client.clock.now()
    answer = _Answer()
    end, error = End.CUT, ""
    try:
        async with _connection(client.base_url) as (reader, writer):
            writing = asyncio.create_task(
                _write(writer, _head(client, wording, target), wording, answer)
            )
            try:
                async with asyncio.timeout(bound_s):
                    end = await _read(client, wording.method, reader, answer, head_only)
                if answer.whole and linger_s and not answer.closed:
                    await _linger(reader, answer, linger_s)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
    except TimeoutError:
        end = End.TIMEOUT
    except (ConnectionError, ssl.SSLError) as reset:
        refused = isinstance(reset, ConnectionRefusedError)
        end, error = (End.REFUSED if refused else End.RESET), str(reset)
    except h11.RemoteProtocolError as broken:
        end, error = End.PROTOCOL_ERROR, str(broken)
    except OSError as failed:
        end, error = End.REFUSED, str(failed)
    if answer.whole and end is not End.LEFT:
        end = End.COMPLETE if answer.framed else End.CLOSED
    return Recording(
        label=label,
        request=Request(
            wording.method,
            url if len(url) <= 4 * _VALUE_KEPT else url[: 4 * _VALUE_KEPT] + "...",
            (
                *((name, _brief(value)) for name, value in wording.headers[:_FIELDS_KEPT]),
                *((name, REDACTED) for name, _ in client.extra_headers),
            ),
            b"".join(wording.body[:1])[:4096],
        ),
        sent_at=sent_at,
        status=answer.status,
        http_version=answer.version,
        headers=answer.headers,
        head_at=answer.head_at,
        reads=tuple(answer.reads),
        end=end,
        ended_at=client.clock.now(),
        error=error,
        surplus=answer.surplus,
        info={"closed": answer.closed, "interim": answer.interim, **(info or {})},
    )


def _head(client: Client, wording: Wording, target: str) -> bytes:
    lines = [f"{wording.method} {target} {wording.version}"]
    if not any(name.lower() == "host" for name, _ in wording.headers):
        lines.append(f"Host: {urlsplit(client.base_url).netloc}")
    named = {name.lower() for name, _ in wording.headers}
    own = [pair for pair in client.extra_headers if pair[0].lower() not in named]
    lines += [f"{name}: {value}" for name, value in (*wording.headers, *own)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@contextlib.asynccontextmanager
async def _connection(
    url: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await connect(url)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _write(
    writer: asyncio.StreamWriter, head: bytes, wording: Wording, answer: _Answer
) -> None:
    """Send head and body; stop where the answer has come already."""
    pieces: Iterable[bytes] = wording.body
    if not wording.expects and wording.body:
        # In one piece with the head, as ordinary clients do.
        head, pieces = head + wording.body[0], wording.body[1:]
    writer.write(head)
    if wording.expects:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONTINUE_S):
                await answer.news.wait()
    with contextlib.suppress(OSError):
        for piece in pieces:
            await writer.drain()
            # A refusal that is there already is read before the reset behind it is noticed.
            await asyncio.sleep(0)
            if answer.status is not None:
                return
            writer.write(piece)
        await writer.drain()


async def _read(
    client: Client,
    method: str,
    reader: asyncio.StreamReader,
    answer: _Answer,
    head_only: bool,
) -> End:
    """Read one final answer; tells how the exchange ended."""
    known = method if method in _KNOWN_METHODS else "GET"
    parser = h11.Connection(h11.CLIENT)
    # The parser has to know that a request is out, and whether it was HEAD; no more than that.
    parser.send(h11.Request(method=known, target="/", headers=[("Host", "target")]))
    parser.send(h11.EndOfMessage())
    size = 0
    while size < ANSWER_BYTES_MAX:
        data = await reader.read(_READ_BYTES)
        at = client.clock.now()
        size += len(data)
        answer.closed = not data
        try:
            parser.receive_data(data)
            _take(parser, answer, at, client)
        except h11.RemoteProtocolError:
            if not data:
                return End.CUT
            if not answer.reads:
                # What is no HTTP is evidence as it is.
                answer.reads.append(Read(at, client.secrets.masked(data)))
            raise
        if answer.whole or not data:
            answer.surplus += parser.trailing_data[0] if answer.whole else b""
            return End.COMPLETE if answer.whole else End.CUT
        if head_only and answer.status is not None and answer.status < 400:
            return End.LEFT
    return End.LEFT


def _take(parser: h11.Connection, answer: _Answer, at: float, client: Client) -> None:
    while True:
        event = parser.next_event()
        if isinstance(event, h11.InformationalResponse):
            answer.interim.append(event.status_code)
            answer.news.set()
        elif isinstance(event, h11.Response):
            answer.status, answer.head_at = event.status_code, at
            answer.version = f"HTTP/{event.http_version.decode('ascii')}"
            answer.headers = tuple(
                (name.decode("latin-1"), client.secrets.masked_text(_shown(name, value)))
                for name, value in event.headers.raw_items()
            )
            names = {name.lower() for name, _ in answer.headers}
            answer.framed = bool(names & {"content-length", "transfer-encoding"})
            answer.news.set()
        elif isinstance(event, h11.Data):
            answer.reads.append(Read(at, client.secrets.masked(bytes(event.data))))
        elif isinstance(event, h11.EndOfMessage):
            answer.whole = True
            return
        else:  # more data is needed, or the connection has ended
            return


def _brief(value: str) -> str:
    return value if len(value) <= _VALUE_KEPT else value[:_VALUE_KEPT] + "..."


def _shown(name: bytes, value: bytes) -> str:
    return REDACTED if name.lower() == b"set-cookie" else value.decode("latin-1")


async def _linger(reader: asyncio.StreamReader, answer: _Answer, seconds: float) -> None:
    """Watch what the connection does behind the answer."""
    try:
        async with asyncio.timeout(seconds):
            while len(answer.surplus) < ANSWER_BYTES_MAX:
                data = await reader.read(_READ_BYTES)
                if not data:
                    answer.closed = True
                    return
                answer.surplus += data
    except TimeoutError:
        return
    except OSError:
        answer.closed = True  # a reset closes, too
