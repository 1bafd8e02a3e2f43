"""Requests by the byte: sent as they are worded, recorded as they are answered, never for ever."""

from __future__ import annotations

import asyncio

import pytest

from streamgauge.blunt import Wording, say
from streamgauge.client import REDACTED
from streamgauge.recording import End
from tests.odd_server import SECRET, client_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_bytes_go_out_as_worded() -> None:
    """If a request is no proper one, then it is sent all the same, byte for byte."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"tail"))
        writer.write(OK)
        await writer.drain()

    wording = Wording(
        "BREW", "/p\xe9%zz", (("Content-Length", "1"), ("content-length", "2")), (b"x", b"tail")
    )
    async with client_of(handler, "/below") as client:
        recording = await say(client, wording, label="odd")
    line, *fields = seen[0].split(b"\r\n")
    assert line == b"BREW /below/p\xe9%zz HTTP/1.1"
    assert b"Content-Length: 1" in fields
    assert b"content-length: 2" in fields
    assert seen[0].endswith(b"\r\n\r\nxtail")
    assert (recording.status, recording.body, recording.end) == (200, b"ok", End.COMPLETE)


async def test_the_users_headers_are_sent_and_never_shown() -> None:
    """If the user gave credentials, then the target gets them, and no record has them."""
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        said = SECRET.encode()
        writer.write(
            b"HTTP/1.1 400 no\r\nX-Said: %b\r\nContent-Length: 13\r\n\r\n%b" % (said, said)
        )
        await writer.drain()

    async with client_of(handler, "/below") as client:
        recording = await say(client, Wording("GET", "/"), label="secret")
    assert f"Authorization: {SECRET}".encode() in heads[0]
    assert ("Authorization", REDACTED) in recording.request.headers
    assert SECRET not in repr(recording)


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (b"", End.CUT),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", End.CUT),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", End.CLOSED),
        (b"220 mail.example ready\r\n\r\n", End.PROTOCOL_ERROR),
    ],
)
async def test_how_an_answer_ended_is_told(answer: bytes, end: End) -> None:
    """If an answer is cut, has no framing, or is no HTTP, then the recording says which."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with client_of(handler, "/below") as client:
        recording = await say(client, Wording("GET", "/"), label="end")
    assert recording.end is end


async def test_a_silent_target_costs_the_bound_only() -> None:
    """If nothing is answered, then the exchange ends at its bound."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with client_of(handler, "/below") as client:
        recording = await say(client, Wording("GET", "/"), label="silence", bound_s=0.2)
    assert recording.end is End.TIMEOUT
    assert recording.ended_at - recording.sent_at < 5.0


async def test_a_body_waits_for_leave() -> None:
    """If the request expects 100, then its body is sent only when that has come."""
    order: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        order.append("asked")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        assert await reader.readexactly(4) == b"body"
        order.append("sent")
        writer.write(OK)
        await writer.drain()

    headers = (("Content-Length", "4"), ("Expect", "100-continue"))
    async with client_of(handler, "/below") as client:
        recording = await say(
            client, Wording("POST", "/", headers, (b"body",), expects=True), label="leave"
        )
    assert order == ["asked", "sent"]
    assert recording.info["interim"] == [100]


async def test_what_follows_an_answer_is_surplus() -> None:
    """If a target answers one request twice, then the second answer is kept apart."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + OK)
        await writer.drain()

    async with client_of(handler, "/below") as client:
        recording = await say(client, Wording("GET", "/"), label="twice", linger_s=0.2)
    assert (recording.body, recording.surplus) == (b"ok", OK)
    assert recording.info["closed"]
