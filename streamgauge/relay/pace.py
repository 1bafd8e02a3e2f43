"""When the bytes of a body leave: latency, jitter, bandwidth, slices, and waiting for more.

What has passed the stages comes through a bounded queue, so that the target feels the pace of the
client behind it, as it would through a real network.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .powers import Powers

QUEUE_PIECES_MAX = 64


@dataclass(frozen=True, slots=True)
class Ending:
    """What ended a body before its time."""

    why: str
    reset: bool = False
    by_target: bool = False


CLEAN = Ending("")
"""The body's own end."""


class Pace:
    """The way from the stages to the client, with the network's doing in between."""

    def __init__(self, powers: Powers) -> None:
        self._powers = powers
        self._chance = random.Random(powers.seed)
        self._queue: asyncio.Queue[tuple[float, bytes | Ending]] = asyncio.Queue(QUEUE_PIECES_MAX)
        self._due = 0.0
        self._sent = 0
        self._now = asyncio.get_running_loop().time

    async def put(self, piece: bytes | Ending) -> None:
        """Give the next piece a moment at which it may leave: never before the one before it."""
        delay_s = self._powers.latency_s
        if self._powers.jitter_s:
            delay_s += self._chance.uniform(0.0, self._powers.jitter_s)
        self._due = max(self._due, self._now() + delay_s)
        await self._queue.put((self._due, piece))

    async def run(self, write: Callable[[bytes], Awaitable[None]]) -> Ending:
        """Write every piece when its time has come; returns how the body ends."""
        while True:
            due, piece = await self._queue.get()
            await self._until(due)
            ending: Ending | None = None
            if isinstance(piece, bytes) and self._powers.coalesce_s:
                await asyncio.sleep(self._powers.coalesce_s)
                piece, ending = self._all_there(piece)
            if isinstance(piece, Ending):
                return piece
            await self._write(piece, write)
            if ending is not None:
                return ending

    def _all_there(self, first: bytes) -> tuple[bytes, Ending | None]:
        parts = [first]
        while not self._queue.empty():
            _, piece = self._queue.get_nowait()
            if isinstance(piece, Ending):
                return b"".join(parts), piece
            parts.append(piece)
        return b"".join(parts), None

    async def _write(self, data: bytes, write: Callable[[bytes], Awaitable[None]]) -> None:
        size = self._powers.slice_bytes or len(data)
        for start in range(0, len(data), size):
            part = data[start : start + size]
            if self._powers.stall_after is not None:
                part = part[: max(0, self._powers.stall_after - self._sent)]
            if part:
                await write(part)
                self._sent += len(part)
            if self._powers.stall_after is not None and self._sent >= self._powers.stall_after:
                await asyncio.Event().wait()  # until the client has had enough of it
            if self._powers.bytes_per_s:
                await asyncio.sleep(len(part) / self._powers.bytes_per_s)
            elif self._powers.slice_bytes:
                await asyncio.sleep(0)

    async def _until(self, due: float) -> None:
        wait_s = due - self._now()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
