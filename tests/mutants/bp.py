"""Servers that let one reader who does not read harm the others, the job, or the reader itself."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from . import seams
from .model import Mutant, put

if TYPE_CHECKING:
    from reference_server.stream import Stream

STALLED_S = 0.8
FAR_BEHIND_EVENTS = 150


def _shared_loop(most_s: float) -> None:
    """All readers of a job are written to in turn, and each turn waits for its reader."""
    turns: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()

    async def in_turn(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        turn = turns.setdefault(stream.log, asyncio.Lock())
        async for chunk in chunks:
            held = False
            try:
                async with asyncio.timeout(most_s):
                    held = await turn.acquire()
            except TimeoutError:
                pass  # it has waited long enough for the slow one
            try:
                yield chunk
            finally:
                if held:
                    turn.release()

    seams.on_chunks(in_turn)


def _kept_for_ever() -> None:
    """Nobody looks after readers that take nothing."""
    from reference_server.edge import Edge

    async def watch(_: Edge) -> None:
        await asyncio.Event().wait()

    put(Edge, "watch", watch)


def _after_stalls(change: Any) -> None:
    """`change(stream)` after each write that had to wait for its reader."""

    async def changed(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        async for chunk in chunks:
            before_s = stream._now()
            yield chunk
            if stream._now() - before_s > STALLED_S and stream.lag > FAR_BEHIND_EVENTS:
                await change(stream)

    seams.on_chunks(changed)


async def _forgotten(_: Stream) -> None:
    """Neither the rest of the log nor an end ever comes."""
    await asyncio.Event().wait()


async def _skipped(stream: Stream) -> None:
    """A queue of a hundred events that lets go of the oldest."""
    stream.reader.cursor = stream.log.head - 100


async def _stepped_back(stream: Stream) -> None:
    """What was in flight when the reader stalled is sent again."""
    stream.reader.cursor = max(0, stream.reader.cursor - 3)


def _producer_waits() -> None:
    """The pipeline goes on when every reader has what was emitted so far."""
    from reference_server.emitter import Emitter

    flush = Emitter.flush

    async def waiting(self: Emitter) -> None:
        await flush(self)
        log = self._hub._logs.get(self._claim.job_id)
        # A reader's cursor tells nobody that it has moved.
        while log and any(log.head - r.cursor > 50 for r in log.readers):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    put(Emitter, "flush", waiting)


def narrow_send_buffers() -> None:
    """The kernel takes little for a reader, so that the server notices how slow it is."""
    from reference_server import serving

    opened = serving.open_socket

    def narrow(settings: Any) -> socket.socket:
        sock = opened(settings)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        return sock

    put(serving, "open_socket", narrow)


def _hurried(most_s: float) -> None:
    """A reader for whom the server has waited this long in all is cut."""

    async def impatient(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        waited_s = 0.0
        async for chunk in chunks:
            before_s = stream._now()
            yield chunk
            took_s = stream._now() - before_s
            waited_s += took_s if took_s > 0.2 else 0.0
            if waited_s > most_s:
                raise ConnectionAbortedError("too slow")

    narrow_send_buffers()
    seams.on_chunks(impatient)


def _queue_for_each() -> None:
    """What a reader does not take yet is kept for it, without a bound."""

    async def queued(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def fill() -> None:
            async for chunk in chunks:
                queue.put_nowait(bytes(bytearray(chunk)))
            queue.put_nowait(None)

        filling = asyncio.create_task(fill())
        try:
            while (chunk := await queue.get()) is not None:
                yield chunk
        finally:
            filling.cancel()

    seams.on_chunks(queued)


MUTANTS: list[Mutant] = [
    Mutant(
        name="bp-shared-loop",
        breaks=("BP-01",),
        follows=("H2-03", "H2-04"),
        patch=partial(_shared_loop, 3600.0),
        about="One loop writes to all readers of a job, and waits for the one that has stalled.",
    ),
    Mutant(
        name="bp-shared-loop-with-patience",
        breaks=("BP-01",),
        follows=("H2-03", "H2-04"),
        patch=partial(_shared_loop, 1.5),
        about="The loop waits for a stalled reader for a second and a half, at every write.",
    ),
    Mutant(
        name="bp-kept-for-ever",
        breaks=("BP-03",),
        patch=_kept_for_ever,
        profile="stalling.toml",
        about="A reader that takes nothing is never dropped.",
    ),
    Mutant(
        name="bp-forgotten",
        breaks=("BP-03",),
        follows=("H2-04",),
        patch=partial(_after_stalls, _forgotten),
        about="After a stall nothing comes, neither the rest of the log nor an end.",
    ),
    Mutant(
        name="bp-drops-oldest",
        breaks=("BP-04",),
        patch=partial(_after_stalls, _skipped),
        about="A queue for each reader lets go of the oldest events when it overflows.",
    ),
    Mutant(
        name="bp-sends-again",
        breaks=("BP-04",),
        patch=partial(_after_stalls, _stepped_back),
        about="After a stall the last events are sent a second time.",
    ),
    Mutant(
        name="bp-producer-waits",
        breaks=("BP-05",),
        follows=("BP-01", "H2-04"),
        patch=_producer_waits,
        about="The job waits for its slowest reader, so that all others wait with it.",
    ),
    Mutant(
        name="bp-slow-reader-cut",
        breaks=("BP-05",),
        follows=("REPLAY-14",),
        patch=partial(_hurried, 5.0),
        about="A reader at 64 KiB/s is cut after five seconds of waiting for it.",
    ),
    Mutant(
        name="bp-queue-for-each",
        breaks=("BP-02",),
        patch=_queue_for_each,
        deployment=("sqlite", "local"),
        about="Each reader has a queue without a bound.",
    ),
]
