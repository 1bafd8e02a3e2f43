"""Servers that neglect readers that come late, or harm those who stay when one goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import seams
from .model import Mutant

if TYPE_CHECKING:
    from reference_server.stream import Stream


def _live_only() -> None:
    age = seams.with_ages()

    def at_the_head(stream: Stream) -> None:
        if not stream.reader.cursor and not stream.log.ended and age(stream.log) > 0.7:
            stream.reader.cursor = stream.log.head

    seams.on_opened(at_the_head)


def _round_robin() -> None:
    """Where many read, every tenth event goes to all of them but one."""

    async def shared(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        head, number = stream.log.head, len(stream.log.readers)
        async for chunk in chunks:
            kept = []
            for part in seams.frames_in(chunk):
                n = seams.id_of(part)
                missed = n > head and n % 10 == 0 and n // 10 % 5 == number - 2
                if not (missed and not stream._requested and len(stream.log.readers) > 4):
                    kept.append(part)
            if whole := b"".join(kept):
                yield whole

    seams.on_chunks(shared)


def _shared_generator() -> None:
    """Who leaves takes the connections of the others along."""
    from reference_server.stream import Streams

    close = Streams.close

    def close_all(self: Streams, stream: Stream) -> None:
        stayed = stream._now() - stream._opened_s > 0.1 and stream.reader.cursor >= 3
        many = len(stream.log.readers) > 4 and not stream.log.ended
        left = stream in self._open and not stream._complete
        close(self, stream)
        if left and many and stayed:
            for other in list(self._open):
                if other.log is stream.log:
                    other.torn.set()  # type: ignore[attr-defined]

    def tearable(stream: Stream) -> None:
        stream.torn = asyncio.Event()  # type: ignore[attr-defined]

    async def until_torn(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        torn = asyncio.ensure_future(stream.torn.wait())  # type: ignore[attr-defined]
        step: asyncio.Future[bytes] | None = None
        try:
            while True:
                step = asyncio.ensure_future(anext(chunks))
                await asyncio.wait({step, torn}, return_when=asyncio.FIRST_COMPLETED)
                if torn.done():
                    raise ConnectionAbortedError("another reader has left")
                try:
                    chunk = step.result()
                except StopAsyncIteration:
                    return
                yield chunk
        finally:
            torn.cancel()
            if step is not None and not step.done():
                step.cancel()
                await asyncio.wait({step})

    Streams.close = close_all  # type: ignore[method-assign]
    seams.on_opened(tearable)
    seams.on_chunks(until_torn)


def _finished_hangs() -> None:
    async def hanging(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        hangs = stream.log.ended and stream.log.head == 8 and not stream._requested
        async for chunk in chunks:
            yield chunk
            if hangs:
                await asyncio.Event().wait()

    seams.on_chunks(hanging)


def _subscription_races() -> None:
    """Publish and subscribe: the first stream of a job misses what went out before it came."""
    seen: set[str] = set()

    def without_first(stream: Stream) -> None:
        log = stream.log
        if log.job_id not in seen and not stream.reader.cursor and log.ended and log.head == 6:
            stream.reader.cursor = 1
        seen.add(log.job_id)

    seams.on_opened(without_first)


MUTANTS: list[Mutant] = [
    Mutant(
        name="late-live-only",
        breaks=("LATE-01",),
        follows=(
            *("BP-04", "RETRY-02", "RETRY-03", "RETRY-04", "PROXY-03", "PROXY-06", "PROXY-07"),
        ),
        patch=_live_only,
        about="Who joins a running job later than 0.7 s after its start gets only what is new.",
    ),
    Mutant(
        name="late-round-robin",
        breaks=("LATE-02",),
        follows=("LATE-03",),
        patch=_round_robin,
        about="Among many readers some events pass one of them by; where another has just left, it "
        "looks like its doing.",
    ),
    Mutant(
        name="late-shared-generator",
        breaks=("LATE-03",),
        patch=_shared_generator,
        about="When one of many readers leaves, the connections of the others break.",
    ),
    Mutant(
        name="late-finished-hangs",
        breaks=("LATE-04",),
        patch=_finished_hangs,
        about="Joining a finished job of eight events waits for ever.",
    ),
    Mutant(
        name="late-first-event-missed",
        breaks=("LATE-05",),
        patch=_subscription_races,
        about="The first event of a quick job is gone before its first reader has subscribed.",
    ),
]
