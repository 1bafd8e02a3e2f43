"""Servers whose jobs end twice, not at all, not for everybody, or begin as they like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import seams
from .model import Mutant, put

if TYPE_CHECKING:
    from reference_server.payloads import Emission
    from reference_server.runner import Runner
    from reference_server.store.base import NewRun, Run
    from reference_server.stream import Stream, Streams

Ending = tuple["Emission", ...]
KEPT_S = 20


def _on_failed_scripts(change: Callable[[Ending], Ending]) -> None:
    """Change how a script that fails ends: `job_status`, `done`."""
    from reference_server.pipelines import scripted

    def changed(ending: Any) -> Any:
        def of(status: str, **more: Any) -> Any:
            end = ending(status, **more)
            return change(end) if status == "failed" else end

        return of

    seams.swap(scripted, "ending", changed)


def _done_twice() -> None:
    _on_failed_scripts(lambda end: (*end, end[-1]))


def _stays_open() -> None:
    async def open_still(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        watched = not stream.log.ended
        async for chunk in chunks:
            yield chunk
        if watched:
            await asyncio.sleep(20.0)

    seams.on_chunks(open_still)


def _back_to_started() -> None:
    from reference_server.payloads import Emission
    from reference_server.pipelines.scripted import ScriptedPipeline

    event = ScriptedPipeline._event

    def back(self: ScriptedPipeline, n: int) -> Emission:
        if n == 6 and self._script.outcome == "failed" and self._script.events > 9:
            return Emission("job_status", {"status": "started"})
        return event(self, n)

    ScriptedPipeline._event = back  # type: ignore[method-assign]


def _just_stops() -> None:
    from reference_server.runner import Runner

    async def nothing(self: Runner, emitter: Any, error: Any) -> None:
        return

    Runner._fail = nothing  # type: ignore[method-assign]


def _reveals_internals() -> None:
    from reference_server.runner import Runner

    fail = Runner._fail

    async def telling(self: Runner, emitter: Any, error: tuple[str, str]) -> None:
        place = 'File "/srv/app/pipelines/scripted.py", line 57, in steps'
        await fail(self, emitter, (error[0], f"ScriptedCrash: the pipeline failed ({place})"))

    Runner._fail = telling  # type: ignore[method-assign]


def _ends_at_error() -> None:
    async def cut(stream: Stream, chunks: seams.Chunks) -> seams.Chunks:
        watched = not stream.log.ended
        async for chunk in chunks:
            parts = seams.frames_in(chunk)
            for place, part in enumerate(parts):
                if watched and b"\nevent: error\n" in part:
                    yield b"".join(parts[: place + 1])
                    return
            yield chunk

    seams.on_chunks(cut)


def _cancel_unheard() -> None:
    """A cancel is stored and answered; readers that are connected are never told."""
    from reference_server.joblog import JobLog
    from reference_server.runner import Runner

    deaf: set[str] = set()
    advance, cancel = JobLog.advance, Runner.cancel

    def unless_deaf(self: JobLog, run: Run) -> None:
        if self.job_id not in deaf or not self.readers:
            advance(self, run)

    async def unheard(self: Runner, job_id: str) -> Run | None:
        run = await self._store.run(job_id)
        if run is not None and not run.ended and run.head >= 4:
            deaf.add(job_id)
        return await cancel(self, job_id)

    JobLog.advance = unless_deaf  # type: ignore[method-assign]
    Runner.cancel = unheard  # type: ignore[method-assign]


def _cancel_once() -> None:
    from reference_server.problems import Problem
    from reference_server.runner import Runner

    cancel = Runner.cancel

    async def once(self: Runner, job_id: str) -> Run | None:
        run = await self._store.run(job_id)
        if run is not None and run.ended:
            raise Problem(400, "The job has ended.")
        return await cancel(self, job_id)

    Runner.cancel = once  # type: ignore[method-assign]


def _silent_at_the_end() -> None:
    from quart import Response, request

    from reference_server.api import stream as view

    whole = view.StreamApi.stream

    async def stream(self: view.StreamApi, job_id: str) -> Response:
        log = await self._hub.log(job_id) if request.method == "GET" else None
        if log is None or request.headers.get("Last-Event-ID") != str(log.head) or not log.ended:
            return await whole(self, job_id)
        opened = self._streams.open(log, log.head)

        async def silent() -> seams.Chunks:
            yield await anext(opened)
            await asyncio.Event().wait()

        return view.event_stream(Response(silent()))

    view.StreamApi.stream = stream  # type: ignore[method-assign]


def _body_with_204() -> None:
    """Below the HTTP library, which would refuse it."""
    from hypercorn.events import RawData
    from hypercorn.protocol import h11
    from hypercorn.protocol.events import Response

    send = h11.H11Protocol.stream_send

    async def with_body(self: h11.H11Protocol, event: Any) -> None:
        await send(self, event)
        if isinstance(event, Response) and event.status_code == 204:
            await self.send(RawData(data=b'{"detail":"nothing is left"}'))

    h11.H11Protocol.stream_send = with_body  # type: ignore[method-assign]


def _tied_to_request() -> None:
    """A job's work stands still when its last reader has left."""
    from reference_server.stream import Streams

    close = Streams.close

    def close_and_stop(self: Streams, stream: Stream) -> None:
        left = stream in self._open and not stream._complete
        close(self, stream)
        if left and not stream.log.readers and not stream.log.ended:
            self.subscriber_arrived.__self__._stop(stream.log.job_id)  # type: ignore[attr-defined]

    Streams.close = close_and_stop  # type: ignore[method-assign]


def _keys_ignored() -> None:
    from reference_server.api.start import StartApi

    create = StartApi._create

    async def without(self: StartApi, new: NewRun) -> Any:
        return await create(self, replace(new, idempotency_key=None))

    StartApi._create = without  # type: ignore[method-assign]


def _keys_race() -> None:
    """The key is written down when the job has been made: at the same time it is not there yet."""
    from reference_server.api.start import StartApi

    create = StartApi._create
    under_way: set[tuple[str, str]] = set()

    async def racing(self: StartApi, new: NewRun) -> Any:
        key = (new.client_id, new.idempotency_key or "")
        if not key[1] or key in under_way:
            return await create(self, replace(new, idempotency_key=None))
        under_way.add(key)
        try:
            await asyncio.sleep(0.05)
            return await create(self, new)
        finally:
            under_way.discard(key)

    StartApi._create = racing  # type: ignore[method-assign]


def _error_before_done() -> None:
    from reference_server.payloads import Emission

    late = {"code": "late", "message": "Told after the status.", "retryable": False}
    _on_failed_scripts(lambda end: (end[0], Emission("error", late), end[1]))


def _progress_falls() -> None:
    from reference_server.pipelines.scripted import ScriptedPipeline

    progress = ScriptedPipeline._progress

    def falling(self: ScriptedPipeline, turn: int) -> dict[str, object]:
        data = progress(self, turn)
        return {**data, "pct": 90 if data["pct"] == 100 and turn % 2 else data["pct"]}

    ScriptedPipeline._progress = falling  # type: ignore[method-assign]


def _flag_ignored() -> None:
    from reference_server.api import start

    def without_flag(read: Any) -> Any:
        return lambda *parts, **more: replace(read(*parts, **more), wait_for_subscriber=False)

    seams.swap(start, "read_start", without_flag)


def _waits_for_ever() -> None:
    from reference_server.api.start import StartApi

    create = StartApi._create

    async def patient(self: StartApi, new: NewRun) -> Any:
        return await create(self, replace(new, wait_s=3600.0))

    StartApi._create = patient  # type: ignore[method-assign]


SHORT_LIVED = {"RETENTION_HOURS": str(KEPT_S / 3600)}


def _half_removed() -> None:
    from reference_server.store import sqlite

    async def events_only(db: Any, job_id: str) -> None:
        await db.execute("DELETE FROM run_events WHERE job_id = ?", (job_id,))
        await db.execute("UPDATE run_metadata SET ended_at = 1e12 WHERE job_id = ?", (job_id,))

    put(sqlite, "delete_run", events_only)


MUTANTS: list[Mutant] = [
    Mutant(
        name="life-done-twice",
        breaks=("LIFE-01",),
        patch=_done_twice,
        about="A failed job's log ends with two `done`.",
    ),
    Mutant(
        name="life-stays-open",
        breaks=("LIFE-02",),
        patch=_stays_open,
        about="A stream that was live stays open after the terminal event.",
    ),
    Mutant(
        name="life-back-to-started",
        breaks=("LIFE-03",),
        patch=_back_to_started,
        about="A running job is started again.",
    ),
    Mutant(
        name="life-just-stops",
        breaks=("LIFE-04",),
        patch=_just_stops,
        about="A pipeline that crashes leaves its job as it is.",
    ),
    Mutant(
        name="life-reveals-internals",
        breaks=("LIFE-04",),
        patch=_reveals_internals,
        about="The error event of a crashed job tells the place in the source.",
    ),
    Mutant(
        name="life-ends-at-error",
        breaks=("LIFE-05",),
        patch=_ends_at_error,
        about="A live stream ends cleanly with the error event, before the terminal one.",
    ),
    Mutant(
        name="life-cancel-unheard",
        breaks=("LIFE-06",),
        patch=_cancel_unheard,
        about="Readers that are connected are not told of a cancel.",
    ),
    Mutant(
        name="life-cancel-once",
        breaks=("LIFE-06",),
        patch=_cancel_once,
        about="Cancelling again is an error.",
    ),
    Mutant(
        name="life-silent-at-the-end",
        breaks=("LIFE-07",),
        patch=_silent_at_the_end,
        about="The terminal cursor opens a stream that stays silent.",
    ),
    Mutant(
        name="life-body-with-204",
        breaks=("LIFE-08",),
        patch=_body_with_204,
        about="A JSON body follows the head of a 204.",
    ),
    Mutant(
        name="life-tied-to-request",
        breaks=("LIFE-09",),
        patch=_tied_to_request,
        about="A job stands still when its last reader has left.",
    ),
    Mutant(
        name="life-keys-ignored",
        breaks=("LIFE-10",),
        patch=_keys_ignored,
        about="Idempotency-Key is ignored, though the profile declares it.",
    ),
    Mutant(
        name="life-keys-race",
        breaks=("LIFE-10",),
        patch=_keys_race,
        about="Simultaneous starts under one key make several jobs.",
    ),
    Mutant(
        name="life-error-before-done",
        breaks=("LIFE-11",),
        patch=_error_before_done,
        about="An error event stands between a failed job's status and its `done`.",
    ),
    Mutant(
        name="life-progress-falls",
        breaks=("LIFE-12",),
        patch=_progress_falls,
        about="Some steps fall from 100 % or never reach it.",
    ),
    Mutant(
        name="life-flag-ignored",
        breaks=("LIFE-13",),
        patch=_flag_ignored,
        about="`wait_for_subscriber` is ignored, though the profile declares it.",
    ),
    Mutant(
        name="life-waits-for-ever",
        breaks=("LIFE-13",),
        patch=_waits_for_ever,
        about="A job that nobody opens never starts by itself.",
    ),
    Mutant(
        name="life-half-removed",
        breaks=("LIFE-14",),
        patch=_half_removed,
        env=SHORT_LIVED,
        profile="kept.toml",
        about="When its time is up a job's events are removed, and its row stays.",
    ),
]
