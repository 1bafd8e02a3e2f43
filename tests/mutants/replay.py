"""Servers that resume at the wrong place, forget, or say something else the second time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import seams
from .model import Mutant
from .wire import on_frames

if TYPE_CHECKING:
    from reference_server.api.stream import StreamApi
    from reference_server.events import Event
    from reference_server.frames import FrameEncoder
    from reference_server.store.base import Run
    from reference_server.stream import Stream

_TIMESTAMP = re.compile(rb'"timestamp":"[^"]+"')


def _errors_without_id() -> None:
    on_frames(lambda frame, _: frame.partition(b"\n")[2], "error")


def _renumbered(shown: Callable[[int], int | str], understood: Callable[[str], str]) -> None:
    """Show other ids in every view, and understand them when they come back."""
    from reference_server import cursors, events, frames, stream
    from reference_server.api import jobs
    from reference_server.events import to_json

    def envelope(self: Event) -> str:
        return as_stored(self).replace(f'"id":{self.id},', f'"id":{to_json(shown(self.id))},', 1)

    def encoded(self: FrameEncoder, event: Event) -> bytes:
        text = f"id: {shown(event.id)}\nevent: {event.type}\ndata: {event.envelope()}\n\n"
        return self._filled(text.encode())

    def control(self: Stream, name: str, data: Any, retry_ms: int | None = None) -> bytes:
        data = {key: shown(it) if isinstance(it, int) else it for key, it in data.items()}
        return with_control(self, name, data, retry_ms)

    def text(self: jobs.Page) -> str:
        new = f'"cursor":{to_json(shown(self.cursor))},"has_more"'
        return page(self).replace(f'"cursor":{self.cursor},"has_more"', new)

    def snapshot(run: Run, whole: bytes) -> bytes:
        new = f'"cursor":{to_json(shown(run.head))},'.encode()
        return whole.replace(b'"cursor":%d,' % run.head, new, 1)

    as_stored, with_control = events.Event.envelope, stream.Stream._control
    parse, page = cursors.parse_cursor, jobs.Page.text
    events.Event.envelope = envelope  # type: ignore[method-assign]
    frames.FrameEncoder.event = encoded  # type: ignore[method-assign]
    stream.Stream._control = control  # type: ignore[method-assign]
    cursors.parse_cursor = lambda raw: parse(understood(raw))
    jobs.Page.text = text  # type: ignore[method-assign]
    seams.on_snapshot(snapshot)


def _hole_in_ids() -> None:
    """No event is called 10: every view counts on from 9 to 11, and understands it so."""

    def understood(raw: str) -> str:
        return str(int(raw) - 1) if re.fullmatch(r"[1-9][0-9]{1,17}", raw) else raw

    _renumbered(lambda number: number + (number >= 10), understood)


def _json_as_id() -> None:
    """Ids are JSON objects, in every view."""
    _renumbered(
        lambda number: f'{{"seq":{number}}}' if number else 0,
        lambda raw: re.sub(r'^\{"seq":(\d+)\}$', r"\1", raw),
    )


def _in_flight() -> None:
    """A queue: what the live reader got last is not there for the first who asks after it."""
    from quart import request

    from reference_server.api import stream as view

    asked: set[str] = set()
    is_first: ContextVar[bool] = ContextVar("is_first", default=False)
    whole = view.StreamApi.stream

    async def stream(self: StreamApi, job_id: str) -> Any:
        log = self._hub._logs.get(job_id)
        over = log is not None and log.ended and 100 < log.head < 1000
        plain = not request.headers.get("Last-Event-ID") and not request.args
        is_first.set(over and plain and job_id not in asked)
        if is_first.get():
            asked.add(job_id)
        return await whole(self, job_id)

    def note(stream: Stream) -> None:
        stream.lacks = 3 if is_first.get() else 0  # type: ignore[attr-defined]

    async def without(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        async for chunk in chunks:
            kept = [
                part
                for part in seams.frames_in(chunk)
                if not part.startswith(b"id: ") or seams.id_of(part) != stream.lacks  # type: ignore[attr-defined]
            ]
            if whole_chunk := b"".join(kept):
                yield whole_chunk

    view.StreamApi.stream = stream  # type: ignore[method-assign]
    seams.on_opened(note)
    seams.on_chunks(without)


def _repeats_some() -> None:
    def earlier(stream: Stream) -> None:
        cursor = stream.reader.cursor
        if stream.log.ended and 0 < cursor < stream.log.head and cursor % 50 == 0:
            stream.reader.cursor -= 1

    seams.on_opened(earlier)


def _empty_is_malformed() -> None:
    from reference_server.api import stream as view
    from reference_server.cursors import ParameterError

    def strict(read: Any) -> Any:
        def checked(header: Any, query: Any) -> Any:
            if list(header) == [""] and not query:
                raise ParameterError("Last-Event-ID is empty.")
            return read(header, query)

        return checked

    seams.swap(view, "stream_cursor", strict)


def _newest_replays_all() -> None:
    def from_the_first(stream: Stream) -> None:
        if not stream.log.ended and stream.reader.cursor == stream.log.head:
            stream.reader.cursor = 0

    seams.on_opened(from_the_first)


def _unguarded_int() -> None:
    from reference_server.api import stream as view
    from reference_server.cursors import single

    def unguarded(header: Any, query: Any) -> int:
        value = single(header, "Last-Event-ID") or single(query, "last_event_id")
        return int(value) if value else 0

    seams.swap(view, "stream_cursor", lambda _: unguarded)


def _ahead_is_silent() -> None:
    from reference_server import stream as module

    gap = module.Stream._gap

    def silent(self: Stream) -> bytes | None:
        if self.reader.cursor <= self.log.head:
            return gap(self)
        if self.log.ended:
            self.reader.cursor = self.log.head
        return None

    module.Stream._gap = silent  # type: ignore[method-assign]


def _global_ids() -> None:
    """An id that this job does not have is looked up among all jobs: foreign data is shown."""

    async def mixed(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        log, wanted = stream.log, stream._requested
        others = [other for other in known if other is not log and other.head >= wanted > 4]
        foreign = log.ended and wanted > log.head and others
        async for chunk in chunks:
            parts = seams.frames_in(chunk)
            for place, part in enumerate(parts):
                if foreign and seams.id_of(part) == 4:
                    parts[place] = (await others[0].frames(3, 1)).data[0]
            yield b"".join(parts)

    from weakref import WeakSet

    from reference_server.joblog import JobLog

    known: WeakSet[JobLog] = WeakSet()
    made = JobLog.__init__

    def noted(self: JobLog, *parts: Any) -> None:
        made(self, *parts)
        known.add(self)

    JobLog.__init__ = noted  # type: ignore[assignment]
    seams.on_chunks(mixed)


def _query_wins() -> None:
    from reference_server.api import stream as view
    from reference_server.cursors import parse_cursor, single

    def last_one(header: Any, query: Any) -> int:
        value = single(query, "last_event_id") or single(header, "Last-Event-ID")
        return parse_cursor(value) if value else 0

    seams.swap(view, "stream_cursor", lambda _: last_one)


def _subscribes_after_reading() -> None:
    """What is emitted between the read of the log and the subscription reaches nobody who joins."""

    async def joined(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        races = 5 <= stream._requested <= stream.log.head and not stream.log.ended
        async for chunk in chunks:
            yield chunk
            if races and not stream.lag:
                races = False
                await asyncio.sleep(0.02)
                stream.reader.cursor = stream.log.head

    seams.on_chunks(joined)


def _new_timestamps() -> None:
    async def dated_now(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        afterwards = stream.log.status == "failed"
        async for chunk in chunks:
            parts = seams.frames_in(chunk)
            if afterwards:
                now = b'"timestamp":"%s"' % stream._streams.clock.timestamp().encode()
                parts = [_TIMESTAMP.sub(now, part, count=1) for part in parts]
            yield b"".join(parts)

    seams.on_chunks(dated_now)


def _unmarked_ring() -> None:
    from reference_server import stream as module

    gap = module.Stream._gap

    def unmarked(self: Stream) -> bytes | None:
        pruned = self.reader.cursor <= self.log.head
        told = gap(self)
        return None if pruned else told

    module.Stream._gap = unmarked  # type: ignore[method-assign]
    seams.on_pages(lambda run, after, page: replace(page, gap=None) if after <= run.head else page)


def _slow_long_replay() -> None:
    async def hesitating(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        slow = stream.log.ended and stream.log.head > 5000
        async for chunk in chunks:
            yield chunk
            if slow:
                slow = False
                await asyncio.sleep(3.0)

    seams.on_chunks(hesitating)


def _full_queue() -> None:
    """More than 100 events of history fill a joiner's queue, and nobody empties it."""
    age = seams.with_ages()

    async def stuck(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        fills = not stream.log.ended and stream.lag > 100 and age(stream.log) > 1.0
        async for chunk in chunks:
            yield chunk
            if fills and stream.reader.cursor > 100:
                await asyncio.Event().wait()

    seams.on_chunks(stuck)


def _query_not_decoded() -> None:
    from quart import request

    from reference_server.api import stream as view
    from reference_server.cursors import ParameterError

    def undecoded(read: Any) -> Any:
        def checked(header: Any, query: Any) -> Any:
            if b"last_event_id=%" in request.query_string:
                raise ParameterError("A cursor is a number.")
            return read(header, query)

        return checked

    seams.swap(view, "stream_cursor", undecoded)


MEMORY = {"STREAM_STORE_BACKEND": "memory", "HISTORY_LIMIT": "2000"}


def _two_blocks() -> None:
    """An event's id has a block of its own in front: the cursor moves before the event is here."""

    def split(frame: bytes, _: str) -> bytes:
        head = frame.partition(b"\n")[0]
        return head + b"\n\n" + frame

    on_frames(split, "metric_update")


MUTANTS: list[Mutant] = [
    Mutant(
        name="replay-errors-without-id",
        breaks=("REPLAY-01",),
        patch=_errors_without_id,
        about="Error events carry no id on the stream.",
    ),
    Mutant(
        name="replay-hole-in-ids",
        breaks=("REPLAY-02",),
        patch=_hole_in_ids,
        about="Ids are declared contiguous, and no event is called 10, in all views alike.",
    ),
    Mutant(
        name="replay-in-flight",
        breaks=("REPLAY-03",),
        follows=("REPLAY-04", "REPLAY-05"),
        patch=_in_flight,
        about="The first replay of a log lacks an event that the next ones have: whichever of them "
        "is taken for the log, the others differ.",
    ),
    Mutant(
        name="replay-repeats-some",
        breaks=("REPLAY-04",),
        patch=_repeats_some,
        about="Resuming a finished log after every fiftieth event repeats that event.",
    ),
    Mutant(
        name="replay-empty-is-malformed",
        breaks=("REPLAY-05",),
        patch=_empty_is_malformed,
        about="An empty Last-Event-ID is answered with 400.",
    ),
    Mutant(
        name="replay-newest-replays-all",
        breaks=("REPLAY-06",),
        follows=("REPLAY-11",),
        patch=_newest_replays_all,
        about="The newest cursor of a running job brings the whole log; so it does in mid-burst.",
    ),
    Mutant(
        name="replay-unguarded-int",
        breaks=("REPLAY-07",),
        follows=("BAD-04",),
        patch=_unguarded_int,
        about="int() takes `01` and raises for words: 200 here, 500 there.",
    ),
    Mutant(
        name="replay-ahead-is-silent",
        breaks=("REPLAY-08",),
        patch=_ahead_is_silent,
        about="A cursor ahead of the log waits, and drops what comes up to it.",
    ),
    Mutant(
        name="replay-global-ids",
        breaks=("REPLAY-09",),
        follows=("REPLAY-08",),
        patch=_global_ids,
        about="A cursor that the job does not have shows another job's data; one ahead of the log "
        "is such a cursor.",
    ),
    Mutant(
        name="replay-query-wins",
        breaks=("REPLAY-10",),
        patch=_query_wins,
        about="The query's cursor wins over the header's.",
    ),
    Mutant(
        name="replay-subscribes-late",
        breaks=("REPLAY-11",),
        follows=("REPLAY-06",),
        patch=_subscribes_after_reading,
        about="The log is read, then subscribed to: what comes between is lost for who resumes.",
    ),
    Mutant(
        name="replay-new-timestamps",
        breaks=("REPLAY-12",),
        patch=_new_timestamps,
        about="A failed job's replay dates its events anew.",
    ),
    Mutant(
        name="replay-unmarked-ring",
        breaks=("REPLAY-13",),
        patch=_unmarked_ring,
        env=MEMORY,
        about="A ring buffer of 2,000 events that does not say what it has dropped.",
    ),
    Mutant(
        name="replay-slow-history",
        breaks=("REPLAY-14",),
        patch=_slow_long_replay,
        about="A history of 10,000 events takes three seconds longer than it has to.",
    ),
    Mutant(
        name="replay-full-queue",
        breaks=("REPLAY-14",),
        patch=_full_queue,
        about="A joiner with more than 100 events behind it hangs.",
    ),
    Mutant(
        name="replay-query-not-decoded",
        breaks=("REPLAY-15",),
        patch=_query_not_decoded,
        about="A percent-encoded cursor in the query is not decoded.",
    ),
    Mutant(
        name="replay-json-as-id",
        breaks=("REPLAY-15",),
        patch=_json_as_id,
        profile="opaque.toml",
        about='Ids look like `{"seq":1}`.',
    ),
    Mutant(
        name="replay-id-ahead-of-its-event",
        breaks=("REPLAY-16",),
        follows=("RETRY-02",),
        patch=_two_blocks,
        about="An id is sent in a block of its own: a cut behind it loses the event.",
    ),
]
