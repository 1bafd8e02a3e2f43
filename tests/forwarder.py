"""A small forwarder that does to event streams what careless proxies do, on a real socket.

All that is no event stream passes untouched, as it would through a proxy that only buffers. Run it
alone to point the suite at it: `python -m tests.forwarder PORT TARGET_PORT holds:16384`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

LAST_CHUNK = b"0\r\n\r\n"


class Forwarder:
    """What passes, and how.

    `power` is a name and a number: `none`, `holds:BYTES`, `blocks:BYTES`, `ticks:SECONDS`,
    `until-end`, `idle:SECONDS`, `cap:SECONDS`.
    """

    def __init__(self, target: tuple[str, int], power: str = "none") -> None:
        self.target = target
        self.name, _, number = power.partition(":")
        self.number = float(number or 0)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> str:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", port)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._open:
            connection.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connection(reader, writer))
        self._open.add(connection)
        connection.add_done_callback(self._open.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection(*self.target)
            there = asyncio.create_task(_copy(reader, up_writer))
            back = asyncio.create_task(self._answer(up_reader, writer))
            try:
                limit = self.number if self.name == "cap" else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limit):
                        await back
            finally:
                for task in (there, back):
                    task.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
                up_writer.close()
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one after the other: only those that are streams are tampered with."""
        async with asyncio.TaskGroup() as group:
            kept = Kept(self, writer)
            ticking = group.create_task(kept.tick())
            try:
                while data := await self._read(reader, kept):
                    if data.startswith(b"HTTP/1."):
                        kept.streaming = b"text/event-stream" in data.partition(b"\r\n\r\n")[0]
                        head, blank, data = data.partition(b"\r\n\r\n")
                        writer.write(head + blank)
                    await kept.add(data)
            except TimeoutError:
                kept.data.clear()
            finally:
                ticking.cancel()
                await kept.flush()

    async def _read(self, reader: asyncio.StreamReader, kept: Kept) -> bytes:
        async with asyncio.timeout(self.number if self.name == "idle" and kept.streaming else None):
            return await reader.read(65536)


class Kept:
    """What a forwarder holds of one answer."""

    def __init__(self, forwarder: Forwarder, writer: asyncio.StreamWriter) -> None:
        self.forwarder = forwarder
        self.writer = writer
        self.data = bytearray()
        self.streaming = False

    async def add(self, data: bytes) -> None:
        self.data += data
        size, name = int(self.forwarder.number), self.forwarder.name
        over = self.data.endswith(LAST_CHUNK)
        full = name == "holds" and len(self.data) >= size
        if over or full or not self.streaming or name in ("none", "idle", "cap"):
            await self.flush()
        elif name == "blocks" and len(self.data) >= size:
            await self.flush(len(self.data) // size * size)

    async def flush(self, size: int | None = None) -> None:
        size = len(self.data) if size is None else size
        if size:
            self.writer.write(bytes(self.data[:size]))
            del self.data[:size]
            with contextlib.suppress(OSError):
                await self.writer.drain()

    async def tick(self) -> None:
        while self.forwarder.name == "ticks":
            await asyncio.sleep(self.forwarder.number)
            await self.flush()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def forwarding(target: tuple[str, int], power: str) -> AsyncIterator[str]:
    """A forwarder's address for as long as the block lasts."""
    forwarder = Forwarder(target, power)
    try:
        yield await forwarder.start()
    finally:
        await forwarder.stop()


async def main(port: str, target_port: str, power: str) -> None:
    print(await Forwarder(("127.0.0.1", int(target_port)), power).start(int(port)), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
