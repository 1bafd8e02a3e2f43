"""Servers that serve a first connection well, and go wrong when its client comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from . import seams
from .model import Mutant

if TYPE_CHECKING:
    from reference_server.stream import Stream

LOST_PLACE = ("REPLAY-11", "REPLAY-16", "RETRY-02", "RETRY-04", "RETRY-05", "PROXY-06", "BP-04")
"""Where it shows that what was on its way during a cut is lost."""
CROWD = 60


@dataclass(slots=True)
class Broken:
    """A connection of a job that was broken off by its client."""

    at: float
    lived_s: float
    written: int
    """The newest event that was written to it."""


def broken_off() -> dict[str, Broken]:
    """Job -> the connection that was broken off last; filled as the server runs."""
    last: dict[str, Broken] = {}

    async def watched(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        began, over = time.monotonic(), False
        try:
            async for chunk in chunks:
                yield chunk
            over = True
        finally:
            if not over:
                now = time.monotonic()
                last[stream.log.job_id] = Broken(now, now - began, stream.reader.cursor)

    seams.on_chunks(watched)
    return last


def _no_retry() -> None:
    from reference_server.stream import Stream

    control = Stream._control

    def silent(self: Stream, name: str, data: object, retry_ms: int | None = None) -> bytes:
        return control(self, name, data)

    Stream._control = silent  # type: ignore[method-assign]


def _believes_what_it_wrote() -> None:
    """What was written is taken for received: a resume goes on behind it."""
    last = broken_off()

    def skip(stream: Stream) -> None:
        broken = last.get(stream.log.job_id)
        cursor = stream.reader.cursor
        if broken is None or not 0 < cursor < broken.written <= cursor + 20:
            return
        if time.monotonic() - broken.at < 0.3:
            stream.reader.cursor = broken.written

    seams.on_opened(skip)


def _starts_live() -> None:
    """Who comes back without a cursor after a short connection starts at the newest event."""
    last = broken_off()

    def skip(stream: Stream) -> None:
        broken = last.get(stream.log.job_id)
        if broken is None or stream.reader.cursor or stream.log.ended:
            return
        if time.monotonic() - broken.at < 0.1 and broken.lived_s < 1.0:
            stream.reader.cursor = stream.log.head

    seams.on_opened(skip)


def _forgets_after_a_pause() -> None:
    """A place in a running job is kept for 1.5 s; who comes later starts at the newest event."""
    age = seams.with_ages()

    def skip(stream: Stream) -> None:
        cursor, head = stream.reader.cursor, stream.log.head
        if not stream.log.ended and 0 < cursor < head:
            since_s = age(stream.log) * (1 - cursor / head)  # of a job that emits steadily
            if since_s > 1.5:
                stream.reader.cursor = head - 1

    seams.on_opened(skip)


def _redirects_without_query() -> None:
    """A cursor in the query is answered with a redirect to the stream without it."""
    from quart import Response, request

    from reference_server.api import stream as view

    async def stream(self: view.StreamApi, job_id: str) -> Any:
        if request.args.get("last_event_id", "").isdigit() and request.method == "GET":
            answer = Response(b"", status=307, headers={"Location": request.path})
            answer.headers["Cache-Control"] = "no-store"
            return answer
        return await get(self, job_id)

    get = view.StreamApi.stream
    view.StreamApi.stream = stream  # type: ignore[method-assign]


def _collapses(answer: Callable[[], Any]) -> None:
    """A job that had a crowd of readers refuses most of those who come back."""
    from quart import request

    from reference_server.api import stream as view
    from reference_server.stream import Streams

    crowded: set[str] = set()
    opened = Streams.open

    def counted(self: Streams, log: Any, cursor: int, connection: Any = None) -> Any:
        if sum(stream.log is log for stream in self._open) > CROWD:
            crowded.add(log.job_id)
        return opened(self, log, cursor, connection)

    async def stream(self: view.StreamApi, job_id: str) -> Any:
        back = job_id in crowded and request.headers.get("Last-Event-ID")
        return answer() if back else await get(self, job_id)

    get = view.StreamApi.stream
    Streams.open = counted  # type: ignore[method-assign]
    view.StreamApi.stream = stream  # type: ignore[method-assign]


def _refusal(status: int, **fields: str) -> Any:
    from quart import Response

    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return Response(b"", status=status, headers=headers)


MUTANTS: list[Mutant] = [
    Mutant(
        name="retry-absent",
        breaks=("RETRY-01",),
        patch=_no_retry,
        about="No stream says when to reconnect.",
    ),
    Mutant(
        name="retry-hasty",
        breaks=("RETRY-01",),
        env={"RETRY_MS": "10"},
        about="Clients are told to reconnect after 10 ms.",
    ),
    Mutant(
        name="retry-believes-what-it-wrote",
        breaks=("RETRY-02",),
        follows=LOST_PLACE,
        patch=_believes_what_it_wrote,
        about="What was written is taken for received: events in flight during a cut are lost.",
    ),
    Mutant(
        name="retry-starts-live",
        breaks=("RETRY-03",),
        follows=("LATE-01", "RETRY-04", "PROXY-06"),
        patch=_starts_live,
        about="Who was cut before the first id and comes back starts at the newest event.",
    ),
    Mutant(
        name="retry-redirect-drops-cursor",
        breaks=("RETRY-04",),
        follows=("REPLAY-07", "REPLAY-10"),
        patch=_redirects_without_query,
        about="A resume by query is redirected to the stream without its cursor.",
    ),
    Mutant(
        name="retry-forgets-after-a-pause",
        breaks=("RETRY-04",),
        follows=("REPLAY-16", "RETRY-02", "RETRY-05", "PROXY-06"),
        patch=_forgets_after_a_pause,
        about="A place in a running job is kept for 1.5 s: a spell of 503 loses events.",
    ),
    Mutant(
        name="retry-storm-5xx",
        breaks=("RETRY-05",),
        patch=partial(_collapses, partial(_refusal, 500)),
        about="When a crowd comes back at once, it is answered 500.",
    ),
    Mutant(
        name="retry-storm-untold",
        breaks=("RETRY-05",),
        patch=partial(_collapses, partial(_refusal, 503)),
        about="A crowd that comes back is put off with 503, and is not told until when.",
    ),
    Mutant(
        name="retry-storm-never-over",
        breaks=("RETRY-05",),
        patch=partial(_collapses, partial(_refusal, 429, Retry_After="1")),
        about="A crowd that comes back is put off again and again.",
    ),
]
