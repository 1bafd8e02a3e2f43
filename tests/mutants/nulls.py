"""Targets that are no job-streaming servers, and some servers that nearly are one.

The near misses are faults of a whole family: they show that a check judges its own rule and
not whatever a broken delivery does to the others.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING

from tests import null_targets

from . import seams
from .model import Mutant, NullTarget, put

if TYPE_CHECKING:
    from reference_server.stream import Stream

_ABOUT = {
    "ok-to-everything": "Answers 200 to everything.",
    "echo": "Sends back what it was sent.",
    "empty-stream": "Accepts starts; every stream is empty and closes.",
    "html": "Answers everything with a web page.",
    "never-answers": "Accepts connections and never says a word.",
    "closes-at-once": "Accepts connections and closes them.",
}


NULL_TARGETS: list[NullTarget] = [
    NullTarget(
        name=name,
        about=_ABOUT.get(name, "See tests/null_targets.py."),
        serve=partial(null_targets.main, [name]),
    )
    for name in null_targets.NULL_TARGETS
]


def _all_at_the_end() -> None:
    """Streams say nothing, not even their head, until their job has ended."""
    from reference_server import stream

    async def chunks(self: stream.Stream) -> AsyncGenerator[bytes, None]:
        await self._announce()
        while not self.log.ended and not self._recycle_due:
            await self.reader.wait(self._now() + 1.0)
        async for chunk in original(self):
            yield chunk

    original = stream.Stream.chunks
    stream.Stream.chunks = chunks  # type: ignore[method-assign]


def _head_then_all() -> None:
    """Streams open at once, and hold back everything else until their job has ended."""

    async def held(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        live = not stream.log.ended
        yield await anext(chunks)
        if live:
            for chunk in [each async for each in chunks]:
                yield chunk
        async for chunk in chunks:
            yield chunk

    seams.on_chunks(held)


def _replay_only() -> None:
    """A stream shows what is stored when it opens, then recycles."""
    from reference_server import stream
    from reference_server.events import QUEUED

    async def chunks(self: stream.Stream) -> AsyncGenerator[bytes, None]:
        yield self._connection()
        if self.log.status == QUEUED:
            await self._announce()
        upto = self.log.head
        gap = self._gap()
        if gap is not None:
            yield gap
        try:
            while self.reader.cursor < upto:
                for parts in await self._due():
                    yield b"".join(parts)
            if not self._complete:
                yield self._streams.encoder.recycle()
        finally:
            self._streams.close(self)

    stream.Stream.chunks = chunks  # type: ignore[method-assign]


def _no_cursors() -> None:
    """Every stream begins with the first event, whatever the client says it has."""
    from reference_server.api import stream as view

    def whole_log(_header: object, _query: object) -> int:
        return 0

    put(view, "stream_cursor", whole_log)


PROXIES = tuple(f"PROXY-{n:02}" for n in range(1, 8))
RETRIES = tuple(f"RETRY-{n:02}" for n in range(2, 6))

NEAR_MISSES: list[Mutant] = [
    Mutant(
        name="near-all-at-the-end",
        breaks=("RT-01", "RT-02", "RT-04"),
        follows=(
            *("RT-03", "RT-05", "RT-06", "RT-07", "HB-01", "HB-02", "HB-03", "HB-04"),
            *PROXIES,
            *RETRIES,
        ),
        patch=_all_at_the_end,
        about="The log is right, but all of it is delivered when the job has ended.",
    ),
    Mutant(
        name="near-head-then-all",
        breaks=("RT-02", "RT-04"),
        follows=(
            *("RT-03", "RT-05", "RT-06", "RT-07", "HB-01", "HB-02", "HB-03", "HB-04"),
            *PROXIES,
            *RETRIES,
        ),
        patch=_head_then_all,
        about="Streams open at once; all the rest of the log is delivered when the job has ended.",
    ),
    Mutant(
        name="near-replay-only",
        breaks=("RT-03", "LATE-01"),
        follows=(
            *(f"RT-0{n}" for n in (1, 2, 4, 5, 6, 7)),
            *(f"LATE-0{n}" for n in (2, 3, 4, 5)),
            "REPLAY-06",
            "REPLAY-11",
            *(f"HB-0{n}" for n in (1, 2, 3, 4)),
            "OPS-01",
        ),
        patch=_replay_only,
        about="Replays perfectly and never live: a stream recycles after what is stored.",
    ),
    Mutant(
        name="near-no-cursors",
        breaks=("REPLAY-04", "REPLAY-06"),
        follows=(
            *(f"REPLAY-{n:02}" for n in range(1, 17)),
            *(f"RETRY-{n:02}" for n in range(1, 6)),
            *("POLL-05", "HDR-12", "BP-04"),
        ),
        patch=_no_cursors,
        about="Live perfectly, but cursors are ignored: every stream is the whole log.",
    ),
]
