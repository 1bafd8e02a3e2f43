"""Servers that stream well to whoever is near, and badly through what stands on the way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import seams
from .hb import rarely
from .hdr import stream_header
from .model import Mutant
from .retry import LOST_PLACE, broken_off

if TYPE_CHECKING:
    from reference_server.stream import Stream

UNPADDED = ("PAD-01", "PAD-02", "PAD-03", "PAD-05", "PAD-06")
CACHEABLE = "public, max-age=60, no-transform"


def _buffering_allowed() -> None:
    stream_header("X-Accel-Buffering", None)


def _goes_on_in_mid_frame() -> None:
    """A broken connection is taken up at the byte: what is resumed begins inside a frame."""
    last = broken_off()

    async def torn(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        broken = last.pop(stream.log.job_id, None)
        todo = broken is not None and 0 < stream.reader.cursor < broken.written
        async for chunk in chunks:
            if todo and b"\nid: " in b"\n" + chunk:
                frames = seams.frames_in(chunk)
                place = next(n for n, frame in enumerate(frames) if frame.startswith(b"id: "))
                frames[place] = frames[place][len(frames[place]) // 2 :]
                yield b"".join(frames)
                todo = False
            else:
                yield chunk

    seams.on_chunks(torn)


def _pages_cacheable() -> None:
    """Pages of polling may be reused for a minute."""
    from reference_server.api import jobs

    original = jobs.JobsApi.events

    async def events(self: jobs.JobsApi, job_id: str) -> Any:
        answer = await original(self, job_id)
        answer.headers["Cache-Control"] = "public, max-age=60"
        return answer

    jobs.JobsApi.events = events  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="proxy-buffering-allowed",
        breaks=("PROXY-01",),
        follows=("HDR-04",),
        patch=_buffering_allowed,
        about="No stream asks proxies not to buffer.",
    ),
    Mutant(
        name="proxy-no-padding",
        breaks=("PROXY-02",),
        follows=UNPADDED,
        env={"FRAME_MIN_BYTES": "0"},
        about="Frames are not padded: a buffer of 4 KiB holds a dozen events.",
    ),
    Mutant(
        name="proxy-no-padding-no-word",
        breaks=("PROXY-03",),
        follows=(*UNPADDED, "HDR-04", "PROXY-01", "PROXY-02"),
        env={"FRAME_MIN_BYTES": "0"},
        patch=_buffering_allowed,
        about="Neither padding nor X-Accel-Buffering: a stock nginx holds events back.",
    ),
    Mutant(
        name="proxy-may-compress",
        breaks=("PROXY-04",),
        patch=partial(stream_header, "Cache-Control", "no-cache, no-store, must-revalidate"),
        about="no-transform is missing: what compresses on the way holds events back.",
    ),
    Mutant(
        name="proxy-quiet-too-long",
        breaks=("PROXY-05",),
        follows=("HB-01",),
        patch=partial(rarely, 5.5),
        about="Heartbeats are so rare that an idle timeout strikes.",
    ),
    Mutant(
        name="proxy-goes-on-in-mid-frame",
        breaks=("PROXY-06",),
        follows=LOST_PLACE,
        patch=_goes_on_in_mid_frame,
        about="After a cut the stream goes on at the byte where it stopped, inside a frame.",
    ),
    Mutant(
        name="proxy-cacheable-stream",
        breaks=("PROXY-07",),
        follows=("HDR-03",),
        patch=partial(stream_header, "Cache-Control", CACHEABLE),
        about="Caches may keep the stream: a resume gets the log from its beginning.",
    ),
    Mutant(
        name="proxy-cacheable-pages",
        breaks=("PROXY-07",),
        patch=_pages_cacheable,
        about="Caches may keep pages of polling: a poller stands still for a minute.",
    ),
]
