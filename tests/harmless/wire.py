"""A wire that is long, or cuts what it carries into pieces: TCP in, TCP out, and not a byte else.

Nothing of it knows HTTP, so that whatever is odd about a request or an answer passes as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Any, Self

CHUNK_BYTES = 65_536
IN_FLIGHT_MAX = 64
"""Chunks on their way; then whoever sends has to wait, as on any full wire."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What it does to all that passes."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    slice_bytes: int = CHUNK_BYTES


class WireServer:
    """Carries connections to a host and port for as long as the block runs."""

    def __init__(self, host: str, port: int, wire: Wire) -> None:
        self._target = (host, port)
        self._wire = wire
        self._chance = random.Random(1)
        self._server: asyncio.Server
        # The event loop itself remembers tasks but weakly.
        self._carrying: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        carrying = tuple(self._carrying)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        try:
            far, forth = await asyncio.open_connection(*self._target)
        except OSError:
            back.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._one_way(near, forth))
                ways.create_task(self._one_way(far, back))
        except* (OSError, asyncio.CancelledError):
            pass  # one end has broken off: so does the other
        finally:
            back.transport.abort()
            forth.transport.abort()

    async def _one_way(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Read as it comes, write it as much later as the wire is long, in order."""
        flying: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT_MAX)
        arriving = asyncio.create_task(self._arrive(flying, sink))
        loop = asyncio.get_running_loop()
        try:
            while True:
                data = await source.read(self._wire.slice_bytes)
                delay_s = self._wire.latency_s + self._chance.random() * self._wire.jitter_s
                await flying.put((loop.time() + delay_s, data))
                if not data:
                    break
            await arriving
        finally:
            arriving.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await arriving

    async def _arrive(
        self, flying: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await flying.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                if sink.can_write_eof():
                    sink.write_eof()
                return
            sink.write(data)
            await sink.drain()
