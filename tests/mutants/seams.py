"""Places of the reference server at which several mutants take hold of it.

Everything is imported inside the functions: a mutant is listed without loading the server, and
patched before the server's modules have taken each other's names.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference_server.hub import JobLog
    from reference_server.store.base import Run
    from reference_server.stream import Stream, Streams

Chunks = AsyncGenerator[bytes, None]

_FRAME_START = re.compile(rb"(?m)^(?=id: )")


def swap(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of an attribute in its place."""
    setattr(owner, name, make(getattr(owner, name)))


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

    def changed(
        self: Stream, streams: Streams, log: JobLog, cursor: int, connection: Any = None
    ) -> None:
        made(self, streams, log, cursor, connection)
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
    change: Callable[[Run, bytes], bytes], row: Callable[[Run], Run] | None = None
) -> None:
    """Change a snapshot's text, or the row that it is made from."""
    from reference_server.api import jobs

    text = jobs.snapshot_text

    async def changed(store: Any, run: Run) -> AsyncGenerator[bytes, None]:
        parts = [part async for part in await text(store, row(run) if row else run)]

        async def whole() -> AsyncGenerator[bytes, None]:
            yield change(run, b"".join(parts))

        return whole()

    jobs.snapshot_text = changed


def on_pages(change: Callable[[Run, int, Any], Any]) -> None:
    """Change a page of polling: `change(run, after, page)` returns it anew."""
    from reference_server.api import jobs

    read = jobs.read_page

    async def changed(store: Any, run: Run, after: int, limit: int) -> Any:
        return change(run, after, await read(store, run, after, limit))

    jobs.read_page = changed


def with_ages() -> Callable[[JobLog], float]:
    """A function that tells for how many seconds the server has known a job's log."""
    from reference_server.joblog import JobLog

    made = JobLog.__init__

    def changed(self: JobLog, *parts: Any) -> None:
        made(self, *parts)
        self.born = time.monotonic()  # type: ignore[attr-defined]

    JobLog.__init__ = changed  # type: ignore[assignment]
    return lambda log: time.monotonic() - float(log.born)  # type: ignore[attr-defined]


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
