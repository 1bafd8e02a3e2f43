"""What a chaos reader makes of a connection, whatever comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chaos.stream import Silent, ask
from streamgauge.framing import Cut, NoConnection, NotHttp

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PATIENT_S = 10.0


@asynccontextmanager
async def answering(answer: bytes, *, stays: bool = False) -> AsyncIterator[str]:
    """A server that says this to whoever asks, and hangs up, or `stays` and says no more."""
    over = asyncio.Event()
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        if stays:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert all(b"\r\nLast-Event-ID: 7\r\n" in head for head in asked)
    finally:
        over.set()
        server.close()


async def body_of(url: str, silence_s: float = PATIENT_S) -> tuple[int, bytes]:
    async with ask(f"{url}/stream", {"Last-Event-ID": "7"}, silence_s) as answer:
        body = b""
        while data := await answer.read():
            body += data
        return answer.status, body


async def test_an_answer_is_read_to_its_end() -> None:
    async with answering(HEAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", stays=True) as url:
        assert await body_of(url) == (200, b"abcde")


async def test_silence_is_told_from_an_end() -> None:
    async with answering(HEAD + b"3\r\nabc\r\n", stays=True) as url:
        with pytest.raises(Silent):
            await body_of(url, 0.2)


@pytest.mark.parametrize("answer", [b"", HEAD[:20], HEAD, HEAD + b"3\r\nab"])
async def test_a_connection_that_ends_early_was_cut(answer: bytes) -> None:
    async with answering(answer) as url:
        with pytest.raises(Cut):
            await body_of(url)


async def test_what_is_no_http_is_refused() -> None:
    async with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        with pytest.raises(NotHttp, match="SSH"):
            await body_of(url)


async def test_nobody_there_is_said() -> None:
    async with answering(b"") as url:
        pass
    with pytest.raises(NoConnection, match="no connection"):
        await body_of(url)
