"""Servers that deliver late, one event behind, or not for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

from .model import Mutant


def held_back(delay_s: Callable[[int], float]) -> None:
    """Deliver each event so long after its emission (its id is given). History is not delayed."""
    from reference_server import stream

    original = stream.Stream._due

    async def due(self: stream.Stream) -> Any:
        cursor = self.reader.cursor
        log = self.log
        batch = await log.frames(cursor, stream.WRITE_BYTES)
        now = self._streams.clock.now
        if batch.data and now() < (batch.newest_emitted or 0.0) + delay_s(batch.last):
            batch = await log.frames(cursor, 1)
            wait_s = (batch.newest_emitted or 0.0) + delay_s(batch.last) - now()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self.reader.cursor = batch.last
            self._newest_emitted_s = batch.newest_emitted
            return [batch.data]
        return await original(self)

    stream.Stream._due = due  # type: ignore[method-assign]


def _late_head() -> None:
    """Nothing leaves, not even the head, before there is an event."""
    from reference_server import stream
    from reference_server.events import QUEUED

    original = stream.Stream.chunks

    async def chunks(self: stream.Stream) -> AsyncGenerator[bytes, None]:
        if self.log.status == QUEUED:
            await self._announce()
        while not self.lag and not self.log.ended and not self._recycle_due:
            await self.reader.wait(self._now() + 1.0)
        async for chunk in original(self):
            yield chunk

    stream.Stream.chunks = chunks  # type: ignore[method-assign]


def _cursor_after_opening() -> None:
    """Who resumes at the newest event gets only what comes after the opening has been sent."""
    from reference_server import stream

    original = stream.Stream.chunks

    async def chunks(self: stream.Stream) -> AsyncGenerator[bytes, None]:
        at_the_head = self._requested > 0 and self._requested == self.log.head
        first = True
        async for chunk in original(self):
            yield chunk
            if first and at_the_head:
                await asyncio.sleep(0.3)  # what subscribing takes
                self.reader.cursor = self.log.head if not self.log.ended else self.log.head - 1
            first = False

    stream.Stream.chunks = chunks  # type: ignore[method-assign]


def _one_behind(within_s: float, held_s: float) -> None:
    """The newest event is held until the next one comes, at most so long.

    Only one that was emitted within so many seconds after its predecessor.
    """
    from reference_server import stream

    original = stream.Stream._due

    async def due(self: stream.Stream) -> Any:
        head = self.log.head
        if self.log.ended or self.lag != 1:
            if self.log.ended or self.lag < 1:
                return await original(self)
            batch = await self.log.frames(self.reader.cursor, 1)
            self.reader.cursor = batch.last
            self._newest_emitted_s = batch.newest_emitted
            self.previous_s = batch.newest_emitted  # type: ignore[attr-defined]
            return [batch.data]
        batch = await self.log.frames(self.reader.cursor, 1)
        emitted_s = batch.newest_emitted or 0.0
        previous_s = getattr(self, "previous_s", None)
        until_s = self._now() + held_s - (self._streams.clock.now() - emitted_s)
        if previous_s is not None and emitted_s - previous_s < within_s:
            while self.log.head == head and not self.log.ended and self._now() < until_s:
                await self.reader.wait(min(until_s, self._look_up_s))
                if self._heartbeat_due:
                    break
        self.previous_s = emitted_s  # type: ignore[attr-defined]
        self.reader.cursor = batch.last
        self._newest_emitted_s = batch.newest_emitted
        return [batch.data]

    stream.Stream._due = due  # type: ignore[method-assign]


def _idle_cut(seconds: float) -> None:
    """A stream breaks off when its job has said nothing for so long; heartbeats do not count."""
    from reference_server import stream

    original = stream.Stream.chunks

    async def chunks(self: stream.Stream) -> AsyncGenerator[bytes, None]:
        cursor, since = self.reader.cursor, self._now()
        async for chunk in original(self):
            if self.reader.cursor != cursor:
                cursor, since = self.reader.cursor, self._now()
            elif self._now() - since > seconds:
                raise ConnectionAbortedError("idle")
            yield chunk

    stream.Stream.chunks = chunks  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="rt-late-head",
        breaks=("RT-01",),
        follows=("HB-01", "HB-02"),
        patch=_late_head,
        about="The opening waits for the first event: until then there is no heartbeat either.",
    ),
    Mutant(
        name="rt-two-seconds-late",
        breaks=("RT-02",),
        follows=("RT-04", "RT-05"),
        patch=partial(held_back, lambda _id: 2.0),
        about="Every event comes two seconds late: later than the next one, too.",
    ),
    Mutant(
        name="rt-cursor-after-opening",
        breaks=("RT-03",),
        follows=("REPLAY-06", "REPLAY-11"),
        patch=_cursor_after_opening,
        about="Who resumes at the newest event misses what is emitted at the opening.",
    ),
    Mutant(
        name="rt-one-behind",
        breaks=("RT-04",),
        follows=("RT-02", "RT-05"),
        patch=partial(_one_behind, 60.0, 60.0),
        about="An event is sent when the next one comes: late, and held over a pause.",
    ),
    Mutant(
        name="rt-held-over-pause",
        breaks=("RT-05",),
        patch=partial(_one_behind, 0.5, 60.0),
        about="The last event of a burst waits for the next write.",
    ),
    Mutant(
        name="rt-idle-cut",
        breaks=("RT-06",),
        patch=partial(_idle_cut, 3.0),
        about="A stream is cut when its job has said nothing for three seconds.",
    ),
    Mutant(
        name="rt-leaky-queue",
        breaks=("RT-07",),
        patch=partial(held_back, lambda number: min(0.85, 0.015 * number)),
        about="Each event comes 15 ms later than the one before it did.",
    ),
]
