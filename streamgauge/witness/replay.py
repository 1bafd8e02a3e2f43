"""Plays recorded streams on loopback, for clients that only read from the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files

from .model import Stream

HEAD_BYTES_MAX = 65_536
LISTEN = "listen.mjs"


@asynccontextmanager
async def playing(streams: Sequence[Stream]) -> AsyncIterator[str]:
    """Serve stream n at `/n`, each once, and a page and the listening module; gives the address."""
    tasks: set[asyncio.Task[None]] = set()
    played: set[str] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_answer(reader, writer, streams, played))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    streams: Sequence[Stream],
    played: set[str],
) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode("latin-1").lstrip("/")
        if path == LISTEN:
            script = files(__package__).joinpath(LISTEN).read_bytes()
            writer.write(_head("200 OK", "text/javascript") + script)
        elif path == "":
            writer.write(_head("200 OK", "text/html") + b"<!doctype html><title>-")
        elif not path.isdigit() or int(path) >= len(streams) or path in played:
            # To a stream that was played: 204, which ends every wish to come back.
            writer.write(_head("204 No Content", ""))
        else:
            played.add(path)
            await _play(writer, streams[int(path)])
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
        pass  # a client that went away has heard what it has heard
    finally:
        with suppress(OSError):
            writer.close()


async def _play(writer: asyncio.StreamWriter, stream: Stream) -> None:
    """The recorded pieces, each in a write of its own."""
    writer.write(_head("200 OK", stream.content_type))
    for piece in stream.chunks:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


def _head(status: str, content_type: str) -> bytes:
    kind = "".join(c for c in content_type if c.isprintable())
    lines = [f"HTTP/1.1 {status}", "Connection: close", "Cache-Control: no-store"]
    if kind:
        lines += [f"Content-Type: {kind}", "Access-Control-Allow-Origin: *"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
