"""Servers whose snapshots are late, torn, stale, ahead of the log, or never final."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from . import seams
from .model import Mutant

if TYPE_CHECKING:
    from reference_server.api.jobs import JobsApi
    from reference_server.store.base import Run


LATE_S = 0.6
"""Long enough to be met also where the machine is busy."""


def _late() -> None:
    from reference_server.api import jobs
    from reference_server.api.requests import unknown_job

    snapshot = jobs.JobsApi.snapshot

    async def late(self: JobsApi, job_id: str) -> Any:
        run = await self._run(job_id)
        if datetime.now(UTC) - datetime.fromisoformat(run.created_at) < timedelta(seconds=LATE_S):
            raise unknown_job()
        return await snapshot(self, job_id)

    jobs.JobsApi.snapshot = late  # type: ignore[method-assign]


def _row_number() -> None:
    def numbered(run: Run, text: bytes) -> bytes:
        new = b'"cursor":%d,' % (run.head + 1000 if run.head else 0)
        return text.replace(b'"cursor":%d,' % run.head, new, 1)

    seams.on_snapshot(numbered)


def _torn() -> None:
    """The cursor is read after the events."""

    def before(run: Run) -> Run:
        return run if run.ended or run.head < 2 else replace(run, head=run.head - 1)

    def newer(run: Run, text: bytes) -> bytes:
        return re.sub(rb'"cursor":\d+,', b'"cursor":%d,' % run.head, text, count=1)

    seams.on_snapshot(newer, before)


def _stale() -> None:
    """A cache that is not always asked to refresh itself, while the job runs."""
    first: dict[tuple[str, str], Run] = {}
    asked: dict[str, int] = {}

    def cached(run: Run) -> Run:
        known = first.setdefault((run.job_id, run.status), run)
        asked[run.job_id] = asked.get(run.job_id, -1) + 1
        return known if not run.ended and asked[run.job_id] % 3 == 2 else run

    seams.on_snapshot(lambda run, text: text, cached)


def _ahead() -> None:
    """Memory is ahead of the store: an event that is never stored."""

    def with_more(run: Run, text: bytes) -> bytes:
        if run.ended or not run.head:
            return text
        event = (
            f',{{"id":{run.head + 5000},"type":"metric_update","timestamp":"{run.updated_at}",'
            '"data":{"name":"ats_score","value":1,"unit":"points"}}]}'
        )
        return text.removesuffix(b"]}") + event.encode()

    seams.on_snapshot(with_more)


def _never_final() -> None:
    def dated_now(run: Run) -> Run:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return replace(run, updated_at=now) if run.ended else run

    seams.on_snapshot(lambda run, text: text, dated_now)


def _etag_ignored() -> None:
    from werkzeug.datastructures import ETags

    from reference_server.api import jobs

    seams.swap(jobs, "parse_etags", lambda _: lambda _value: ETags())


MUTANTS: list[Mutant] = [
    Mutant(
        name="snap-late",
        breaks=("SNAP-01",),
        follows=("HDR-08",),
        patch=_late,
        about="A job's snapshot is 404 for its first 0.6 s, though its start's answer names it.",
    ),
    Mutant(
        name="snap-row-number",
        breaks=("SNAP-02",),
        patch=_row_number,
        about="The cursor of a snapshot is an internal number.",
    ),
    Mutant(
        name="snap-torn",
        breaks=("SNAP-03",),
        patch=_torn,
        about="The cursor is read after the events: the newest one is not among them.",
    ),
    Mutant(
        name="snap-stale",
        breaks=("SNAP-04",),
        patch=_stale,
        about="Every third snapshot of a running job comes from a cache that is behind.",
    ),
    Mutant(
        name="snap-ahead",
        breaks=("SNAP-05",),
        follows=("SNAP-03",),
        patch=_ahead,
        about="Snapshots of a running job show an event that is never stored: so they are not the "
        "log up to their cursor either.",
    ),
    Mutant(
        name="snap-never-final",
        breaks=("SNAP-06",),
        patch=_never_final,
        about="`updated_at` of an ended job is the time of asking.",
    ),
    Mutant(
        name="snap-etag-ignored",
        breaks=("SNAP-06",),
        patch=_etag_ignored,
        about="If-None-Match is not looked at.",
    ),
]
