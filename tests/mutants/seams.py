"""Places of the reference server at which several mutants take hold of it.

Everything is imported inside the functions: a mutant is listed without loading the server, and
patched before the server's modules have taken each other's names.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference_server.hub import JobLog
    from reference_server.store.base import Run
    from reference_server.stream import Stream, Streams

Chunks = AsyncGenerator[bytes, None]

_FRAME_START = re.compile(rb"(?m)^(?=id: )")
_CURSOR = re.compile(rb'"cursor":(\d+)')


def frames_in(chunk: bytes) -> list[bytes]:
    """A chunk in parts of one log event each, its padding included; what precedes them first."""
    return _FRAME_START.split(chunk)


def id_of(frame: bytes) -> int:
    """The id that a frame carries, 0 for none."""
    return int(frame[4:].partition(b"\n")[0]) if frame.startswith(b"id: ") else 0


def on_opened(change: Callable[[Stream], None]) -> None:
    """Change a stream when it is made, for instance where it begins."""
    from reference_server import stream

    made = stream.Stream.__init__

    def changed(self: Stream, streams: Streams, log: JobLog, cursor: int) -> None:
        made(self, streams, log, cursor)
        change(self)

    stream.Stream.__init__ = changed  # type: ignore[method-assign]


def on_chunks(change: Callable[[Stream, Chunks], Chunks]) -> None:
    """Put a generator between a stream and its reader."""
    from reference_server import stream

    chunks = stream.Stream.chunks

    async def changed(self: Stream) -> Chunks:
        async with aclosing(chunks(self)) as inner, aclosing(change(self, inner)) as outer:
            async for chunk in outer:
                yield chunk

    stream.Stream.chunks = changed  # type: ignore[method-assign]


def on_snapshot(
    row: Callable[[Run], Run], cursor: Callable[[Run, int], int], more: Callable[[Run], str]
) -> None:
    """Show another row in snapshots, another cursor, and `more` (JSON members) at their begin."""
    from reference_server.api import jobs

    text = jobs.snapshot_text

    async def changed(store: Any, run: Run) -> AsyncGenerator[bytes, None]:
        return _edited(await text(store, row(run)), run)

    async def _edited(parts: AsyncGenerator[bytes, None], run: Run) -> AsyncGenerator[bytes, None]:
        first = True
        async with aclosing(parts):
            async for part in parts:
                if first:
                    found = _CURSOR.search(part)
                    assert found is not None
                    new = b'"cursor":%d' % cursor(run, int(found[1]))
                    part = b"{" + more(run).encode() + part[1:].replace(found[0], new, 1)
                    first = False
                yield part

    jobs.snapshot_text = changed


def same(run: Run) -> Run:
    return run


def on_start_outcome(change: Callable[[Any, Any], Awaitable[Any]]) -> None:
    """Between a start request and the store: `change(api, new)` returns the outcome."""
    from reference_server.api.start import StartApi

    async def changed(self: StartApi, new: Any) -> Any:
        return await change(self, new)

    StartApi._create = changed  # type: ignore[method-assign]


async def charge(store: Any, client_id: str, starts: int) -> None:
    """Add to what a client has used up of its quota, in the SQLite store."""
    await store._open_writer().perform(
        lambda db: db.execute(
            "INSERT INTO run_quota VALUES (?1, max(?2, 0))"
            " ON CONFLICT (client_id) DO UPDATE SET accepted = max(accepted + ?2, 0)",
            (client_id, starts),
        )
    )


async def used(store: Any, client_id: str) -> int:
    """How many starts a client has used up."""
    rows = await store._fetch("SELECT accepted FROM run_quota WHERE client_id = ?", (client_id,))
    return int(rows[0][0]) if rows else 0


async def client_of(store: Any, job_id: str) -> str:
    """Whose job it is."""
    rows = await store._fetch("SELECT client_id FROM run_metadata WHERE job_id = ?", (job_id,))
    return str(rows[0][0]) if rows else ""
