"""The recording client against servers that misbehave: what happened is told, never guessed."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamgauge.client import Client
from streamgauge.clock import RunClock
from streamgauge.raw import exchange, reset_at_once
from streamgauge.recording import End
from streamgauge.reproduce import curl
from streamgauge.secrets import REDACTED
from tests.odd_server import Handler, client_of

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
EVENT = b"id: 1\ndata: x\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Client]:
    """A server that does one thing, and a client for it."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await handler(reader, writer)

    async with client_of(once, "/prefix/") as client:
        yield client


async def test_bytes_and_their_times_are_kept() -> None:
    """If two events come apart, then both are recorded with the time at which each came."""
    first_read = asyncio.Event()

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(EVENT))
        await writer.drain()
        await first_read.wait()
        writer.write(chunk(b"id: 2\ndata: y\n\n") + b"0\r\n\r\n")
        await writer.drain()

    async with serving(handler) as client:
        live = client.open("/s", label="s", bound_s=5)
        assert await live.until(lambda each: len(each.blocks) == 1, 5)
        first_read.set()
        recording = await live.finish()
    assert recording.end is End.COMPLETE
    assert [block.own_id for block in recording.blocks] == ["1", "2"]
    assert recording.blocks[0].at <= recording.blocks[1].at
    assert recording.http_version == "HTTP/1.1"


async def test_a_cut_message_is_no_clean_end() -> None:
    """If the connection ends in mid-message, then that is a cut."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(EVENT))
        await writer.drain()

    async with serving(handler) as client:
        recording = await client.ask("GET", "/s", label="s")
    assert recording.end is End.CUT
    assert not recording.ended_cleanly
    assert recording.body == EVENT


async def test_a_reset_is_told_from_a_cut() -> None:
    """If the connection is reset, then the record says so."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(EVENT))
        await writer.drain()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with serving(handler) as client:
        recording = await client.ask("GET", "/s", label="s")
    assert recording.end in (End.RESET, End.CUT)


async def test_silence_ends_within_the_bound() -> None:
    """If nothing comes, then the exchange ends by itself within its bound, as a time-out."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        await asyncio.Event().wait()

    async with serving(handler) as client:
        recording = await client.ask("GET", "/s", label="s", bound_s=0.3)
    assert recording.end is End.TIMEOUT
    assert recording.status == 200
    assert recording.ended_at - recording.sent_at < 3


async def test_nobody_there_is_refused() -> None:
    """If no connection can be made, then the exchange was refused, with the reason."""
    client = Client("http://127.0.0.1:1", RunClock())
    recording = await client.ask("GET", "/", label="x")
    await client.aclose()
    assert recording.end is End.REFUSED
    assert recording.error


async def test_garbage_is_a_protocol_error() -> None:
    """If what comes is no HTTP, then the record says so."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-nothing\r\n\r\n")
        await writer.drain()

    async with serving(handler) as client:
        recording = await client.ask("GET", "/", label="x")
    assert recording.end is End.PROTOCOL_ERROR


async def test_leaving_is_our_own_doing() -> None:
    """If the instrument leaves, then the end is its own, and what came before is kept."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(EVENT))
        await writer.drain()
        await asyncio.Event().wait()

    async with serving(handler) as client:
        live = client.open("/s", label="s", bound_s=5)
        await live.until(lambda each: bool(each.blocks), 5)
        recording = await live.leave()
        assert recording is live.recording()
    assert recording.end is End.LEFT
    assert [block.own_id for block in recording.blocks] == ["1"]


async def test_bulk_records_are_the_same_when_unpacked() -> None:
    """If an exchange is one of hundreds, then its packed record shows the same events."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(EVENT) + b"0\r\n\r\n")
        await writer.drain()

    async with serving(handler) as client:
        recording = await client.open("/s", label="s", bound_s=5, bulk=True).finish()
    assert recording.body == EVENT
    assert [block.own_id for block in recording.blocks] == ["1"]


async def test_secrets_are_redacted_before_anything_is_recorded() -> None:
    """If a header is secret, then neither the record nor the curl line has its value."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: id=secret\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serving(handler) as client:
        recording = await client.ask("GET", "/x", label="x")
    assert recording.request.header("authorization") == REDACTED
    assert recording.header("set-cookie") == REDACTED
    assert "secret" not in curl(recording)
    assert "$AUTHORIZATION" in curl(recording)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("/api/jobs/1/stream", "http://host:8080/api/jobs/1/stream"),
        ("http://elsewhere/api/jobs/1", "http://host:8080/api/jobs/1"),
        ("//elsewhere/x?a=b", "http://host:8080/x?a=b"),
        ("stream", "http://host:8080/prefix/stream"),
    ],
)
async def test_no_other_host_is_ever_asked(reference: str, expected: str) -> None:
    """If the target names another host, then the one that the user named is asked all the same."""
    client = Client("http://host:8080/prefix", RunClock())
    assert client.resolve(reference) == expected
    assert client.url("/x") == "http://host:8080/prefix/x"
    await client.aclose()


async def test_bytes_behind_an_empty_answer_are_seen() -> None:
    """If a 204 has a body, then a raw exchange shows it."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n{}")
        await writer.drain()

    async with serving(handler) as client:
        recording = await exchange(client, "GET", "/x", label="x")
    assert recording.status == 204
    assert recording.surplus == b"{}"


async def test_a_reset_reader_reaches_the_target() -> None:
    """If a reader resets before the first byte, then the target has seen its request."""
    asked = asyncio.Event()

    async def handler(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        asked.set()

    async with serving(handler) as client:
        assert await reset_at_once(client, "/x")
        async with asyncio.timeout(5):
            while not asked.is_set():
                await asyncio.sleep(0.01)
                await reset_at_once(client, "/x")
