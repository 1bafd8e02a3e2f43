"""The reader that stands still: the pressure reaches the server, and what happened is told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from streamgauge.client import REDACTED, Client
from streamgauge.clock import RunClock
from streamgauge.recording import End
from streamgauge.stalled import StalledReader
from tests.odd_server import client_of

Handler = Callable[[asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PIECE = b"id: 1\ndata: " + b"x" * 4096 + b"\n\n"
WHOLE = 24 * 1024 * 1024


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def reading(handler: Handler, asked: list[bytes] | None = None) -> AsyncIterator[Client]:
    """A server that does one thing, and a client for it."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if asked is not None:
            asked.append(head)
        await handler(writer)

    async with client_of(once) as client:
        yield client


def reader_of(client: Client) -> StalledReader:
    return StalledReader(
        client, client.url("/s?x=1"), label="s", headers=[("Accept", "text/event-stream")]
    )


async def test_the_servers_writes_wait_until_it_reads_on() -> None:
    """If nothing is read, then the server cannot send it all; when it is read, all of it comes."""
    sent = 0

    async def handler(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        for _ in range(WHOLE // len(PIECE)):
            writer.write(chunk(PIECE))
            await writer.drain()
            sent += len(PIECE)
        writer.write(b"0\r\n\r\n")

    async with reading(handler) as client:
        reader = reader_of(client)
        assert await reader.open(5)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < WHOLE / 2
        assert reader.received < 1024 * 1024
        await reader.read_on(20)
        recording = await reader.leave()
    assert recording.end is End.COMPLETE
    assert len(recording.body) == WHOLE // len(PIECE) * len(PIECE)
    assert recording.blocks[0].own_id == "1"
    assert recording.info["before"] < 1024 * 1024
    assert recording.info["read_on_at"] >= recording.info["stalled_at"]


async def test_a_slow_reader_keeps_its_rate() -> None:
    """If the rate is 128 KiB/s, then about half of that is read in half a second."""

    async def handler(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(b"x" * 1024 * 1024))
        await writer.drain()
        await asyncio.sleep(5)

    async with reading(handler) as client:
        reader = reader_of(client)
        await reader.open(5)
        already = reader.received
        await reader.read_slowly(128 * 1024, 0.5)
        took = reader.received - already
        recording = await reader.leave()
    assert 8 * 1024 <= took <= 96 * 1024
    assert recording.end is End.LEFT
    assert recording.info["bytes_per_s"] == 128 * 1024


async def _chunked_end(writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED + chunk(PIECE) + b"0\r\n\r\n")


async def _closed_end(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\n" + PIECE)


async def _cut(writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED + chunk(PIECE))


async def _garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED + chunk(PIECE) + b"no chunk size\r\n")


async def _no_answer(_: asyncio.StreamWriter) -> None:
    return


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED + chunk(PIECE))
    await writer.drain()
    await asyncio.sleep(0.2)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    ("handler", "end"),
    [
        pytest.param(_chunked_end, End.COMPLETE, id="last chunk"),
        pytest.param(_closed_end, End.CLOSED, id="close-delimited"),
        pytest.param(_cut, End.CUT, id="cut"),
        pytest.param(_garbage, End.PROTOCOL_ERROR, id="garbage"),
        pytest.param(_no_answer, End.CUT, id="no answer"),
        pytest.param(_reset, End.RESET, id="reset"),
    ],
)
async def test_every_end_is_told_from_the_others(handler: Handler, end: End) -> None:
    """If the answer ends, then the recording says how."""
    async with reading(handler) as client:
        reader = reader_of(client)
        await reader.open(5)
        await reader.read_on(5)
        recording = reader.recording()
    assert recording.end is end
    assert recording.body == (b"" if handler is _no_answer else PIECE)


async def test_silence_and_refusal_end_in_time() -> None:
    """If no answer or no connection comes, then opening ends within its bound and says so."""

    async def handler(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with reading(handler) as client:
        silent = reader_of(client)
        assert not await silent.open(0.3)
    assert silent.recording().end is End.TIMEOUT
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = Client(f"http://127.0.0.1:{unused.getsockname()[1]}", RunClock())
        refused = reader_of(nobody)
        assert not await refused.open(5)
        await nobody.aclose()
    assert refused.recording().end is End.REFUSED


async def test_what_stays_open_after_reading_on_has_timed_out() -> None:
    """If neither bytes nor an end come, then reading on ends in time, as a time-out."""

    async def handler(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(PIECE))
        await writer.drain()
        await asyncio.sleep(5)

    async with reading(handler) as client:
        reader = reader_of(client)
        assert await reader.open(5)
        await reader.read_on(0.3)
    assert reader.recording().end is End.TIMEOUT


async def test_secrets_are_sent_and_not_shown() -> None:
    """If a header was given for every request, then it is sent, and redacted in the recording."""
    asked: list[bytes] = []
    async with reading(_chunked_end, asked) as client:
        reader = reader_of(client)
        await reader.open(5)
        recording = await reader.leave()
    assert asked[0].startswith(b"GET /s?x=1 HTTP/1.1\r\n")
    assert b"Bearer secret" in asked[0]
    assert recording.request.header("authorization") == REDACTED
