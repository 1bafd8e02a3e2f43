"""Snapshot, polling and cancel: the log without a stream (protocol §5, §6)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from quart import Response, request
from werkzeug.http import parse_etags

from ..cursors import page_limit, polling_cursor, wait_seconds
from ..events import Event, to_json
from ..hub import Hub, Reader
from ..lifecycle import Lifecycle
from ..runner import Runner
from ..store.base import Run, Store
from .requests import JSON, json_answer, require_acceptable, require_job_id, unknown_job

#: A polling page ends at 4 MiB (protocol §5); the last KiB is for what stands around the events.
PAGE_MAX_BYTES: Final = 4_194_304 - 1024
#: A snapshot is read and written in pages of this size, so that its length costs no memory.
SNAPSHOT_PAGE_EVENTS: Final = 500
SNAPSHOT_PAGE_BYTES: Final = 262_144


class JobsApi:
    """The resources of one job, beside its stream."""

    def __init__(self, store: Store, hub: Hub, runner: Runner, lifecycle: Lifecycle) -> None:
        self._store = store
        self._hub = hub
        self._runner = runner
        self._lifecycle = lifecycle

    async def snapshot(self, job_id: str) -> Response:
        """State and history, consistent at `cursor`."""
        run = await self._run(job_id)
        require_acceptable(JSON)
        headers = {"ETag": _etag(run), "Cache-Control": "no-cache"}
        if parse_etags(request.headers.get("If-None-Match")).contains_weak(_opaque_tag(run)):
            response = Response(b"", status=304, headers=headers)
            for name in ("Content-Type", "Content-Length"):
                response.headers.pop(name, None)
            return response
        if request.method == "HEAD":
            response = Response(b"", headers=headers, content_type=JSON)
            response.headers.pop("Content-Length", None)
            return response
        response = Response(
            await snapshot_text(self._store, run), headers=headers, content_type=JSON
        )
        response.timeout = None
        return response

    async def events(self, job_id: str) -> Response:
        """One page of the log after a cursor; with `wait`, as soon as there is one."""
        run = await self._run(job_id)
        require_acceptable(JSON)
        after = polling_cursor(request.args.getlist("after"))
        limit = page_limit(request.args.getlist("limit"))
        wait_s = wait_seconds(request.args.getlist("wait"))
        if after == run.head and not run.ended and wait_s > 0 and request.method != "HEAD":
            run = await self._wait(run, after, wait_s)
        page = await read_page(self._store, run, after, limit)
        response = Response(page.text(), headers={"Cache-Control": "no-store"}, content_type=JSON)
        response.timeout = None
        return response

    async def cancel(self, job_id: str) -> Response:
        """End the job; doing it again changes nothing."""
        run = await self._run(job_id)
        require_acceptable(JSON)
        # Shielded: a client that leaves must not leave a job half-cancelled.
        canceled = await asyncio.shield(asyncio.ensure_future(self._runner.cancel(run.job_id)))
        if canceled is None:
            raise unknown_job()
        return json_answer({"job_id": canceled.job_id, "status": canceled.status}, status=202)

    async def _run(self, job_id: str) -> Run:
        run = await self._store.run(require_job_id(job_id))
        if run is None:
            raise unknown_job()
        return run

    async def _wait(self, run: Run, after: int, wait_s: float) -> Run:
        """The job's row once it has news, when the time is over, or when the server drains."""
        now: Callable[[], float] = asyncio.get_running_loop().time
        until_s = now() + wait_s
        log = await self._hub.log(run.job_id)
        if log is None:
            raise unknown_job()
        reader = Reader(after)
        log.attach(reader)
        try:
            while log.head <= after and not log.ended and now() < until_s:
                if self._lifecycle.recycling:
                    break
                await reader.wait(until_s)
        finally:
            log.detach(reader)
        return await self._run(run.job_id)


@dataclass(frozen=True, slots=True)
class Page:
    """A polling answer. `has_more` and `done` follow from one read of the job's row."""

    run: Run
    envelopes: Sequence[str]
    cursor: int
    gap: dict[str, int] | None

    def text(self) -> str:
        """The JSON text; events stand in it exactly as they were stored."""
        has_more = self.cursor < self.run.head
        return (
            f'{{"job_id":{to_json(self.run.job_id)},"status":{to_json(self.run.status)},'
            f'"events":[{",".join(self.envelopes)}],"cursor":{self.cursor},'
            f'"has_more":{to_json(has_more)},'
            f'"done":{to_json(self.run.ended and not has_more)},"gap":{to_json(self.gap)}}}'
        )


async def read_page(store: Store, run: Run, after: int, limit: int) -> Page:
    """Read one page. A cursor that cannot be continued starts at the oldest kept event (§4)."""
    start = after
    if after > run.head or after + 1 < run.earliest:
        start = max(run.earliest - 1, 0)
    events = await store.read(
        run.job_id, start, upto=run.head, limit=limit, max_bytes=PAGE_MAX_BYTES
    )
    if events:
        # Pruning may have gone on since the row was read.
        start = events[0].id - 1
    earliest = max(run.earliest, start + 1 if events else 0)
    gap = None
    if start != after:
        gap = {"requested": after, "earliest": earliest, "latest": run.head}
    envelopes = _within(events, PAGE_MAX_BYTES)
    return Page(run, envelopes, start + len(envelopes), gap)


def _within(events: Sequence[Event], max_bytes: int) -> list[str]:
    """Envelopes up to a size on the wire, at least one."""
    envelopes: list[str] = []
    size = 0
    for event in events:
        envelope = event.envelope()
        size += len(envelope.encode()) + 1
        if envelopes and size > max_bytes:
            break
        envelopes.append(envelope)
    return envelopes


async def snapshot_text(store: Store, run: Run) -> AsyncGenerator[bytes, None]:
    """The snapshot's JSON text, a page at a time.

    Raises, so that the answer breaks off visibly, where the job is pruned while it is being read.
    """
    # A store that is not durable holds all of the log in memory and may prune it at any moment:
    # taking it as a whole costs references only, and keeps it consistent.
    whole = not store.durable
    limit = max(run.head, 1) if whole else SNAPSHOT_PAGE_EVENTS
    max_bytes = 2**63 - 1 if whole else SNAPSHOT_PAGE_BYTES
    first = await store.read(
        run.job_id, max(run.earliest - 1, 0), upto=run.head, limit=limit, max_bytes=max_bytes
    )
    return _snapshot_pages(store, run, first)


async def _snapshot_pages(
    store: Store, run: Run, first: Sequence[Event]
) -> AsyncGenerator[bytes, None]:
    earliest = first[0].id if first else 0
    yield (
        f'{{"job_id":{to_json(run.job_id)},"status":{to_json(run.status)},'
        f'"created_at":{to_json(run.created_at)},"updated_at":{to_json(run.updated_at)},'
        f'"cursor":{run.head},"earliest":{earliest},"events":['
    ).encode()
    cursor, events = max(earliest - 1, 0), first
    while events:
        for start in range(0, len(events), SNAPSHOT_PAGE_EVENTS):
            part = events[start : start + SNAPSHOT_PAGE_EVENTS]
            text = ",".join(event.envelope() for event in part)
            yield (text if part[0].id == earliest else f",{text}").encode()
        cursor = events[-1].id
        if cursor >= run.head:
            break
        events = await store.read(
            run.job_id,
            cursor,
            upto=run.head,
            limit=SNAPSHOT_PAGE_EVENTS,
            max_bytes=SNAPSHOT_PAGE_BYTES,
        )
        if not events or events[0].id != cursor + 1:
            raise LookupError("the log was pruned while its snapshot was being written")
    yield b"]}"


def _opaque_tag(run: Run) -> str:
    state = f"{run.job_id} {run.head} {run.earliest} {run.status} {run.updated_at}"
    return hashlib.sha256(state.encode()).hexdigest()[:32]


def _etag(run: Run) -> str:
    return f'"{_opaque_tag(run)}"'
