"""Servers whose polling shows another log than their stream, or keeps pollers waiting."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import seams
from .model import Mutant

if TYPE_CHECKING:
    from reference_server.api.jobs import JobsApi, Page
    from reference_server.store.base import Run

_OWN_SPACE = 1_000_000


def _inclusive() -> None:
    from reference_server.api import jobs

    read = jobs.read_page

    async def inclusive(store: Any, run: Run, after: int, limit: int) -> Page:
        again = run.ended and 0 < after < run.head and after % 90 == 0
        return await read(store, run, after - again, limit)

    jobs.read_page = inclusive


def _serialised_again() -> None:
    def rounded(envelope: str) -> str:
        event = json.loads(envelope)
        if event["type"] == "metric_update":
            event["data"]["value"] = int(event["data"]["value"])
        return json.dumps(event)

    def again(_run: Run, _after: int, page: Page) -> Page:
        return replace(page, envelopes=[rounded(each) for each in page.envelopes])

    seams.on_pages(again)


def _tail_blocks() -> None:
    from reference_server.api import jobs

    read = jobs.read_page

    async def blocking(store: Any, run: Run, after: int, limit: int) -> Page:
        if run.ended and after == run.head:
            await asyncio.sleep(6.0)
        return await read(store, run, after, limit)

    jobs.read_page = blocking


def _never_done() -> None:
    from reference_server.api import jobs

    text = jobs.Page.text

    def not_done(self: Page) -> str:
        return text(self) if self.envelopes else text(self).replace('"done":true', '"done":false')

    jobs.Page.text = not_done  # type: ignore[method-assign]


def _edge_skipped() -> None:
    def beyond(run: Run, _after: int, page: Page) -> Page:
        more = page.envelopes and page.cursor + 1 < run.head
        return replace(page, cursor=page.cursor + 1) if more else page

    seams.on_pages(beyond)


def _no_limit_bounds() -> None:
    from reference_server.api import jobs

    def clamped(limit: Any) -> Any:
        def read(query: Any) -> Any:
            value = query[0] if query else "500"
            return min(max(int(value), 1), 1000) if value.isdigit() else limit(query)

        return read

    seams.swap(jobs, "page_limit", clamped)


def _own_cursors() -> None:
    from reference_server.api import jobs

    text = jobs.Page.text

    def parsed(read: Any) -> Any:
        def own(query: Any) -> Any:
            cursor = read(query)
            return cursor - _OWN_SPACE if _OWN_SPACE < cursor < 2 * _OWN_SPACE else cursor

        return own

    def shown(self: Page) -> str:
        own = self.cursor + (_OWN_SPACE if self.envelopes else 0)
        return text(self).replace(
            f'"cursor":{self.cursor},"has_more"', f'"cursor":{own},"has_more"'
        )

    seams.swap(jobs, "polling_cursor", parsed)
    jobs.Page.text = shown  # type: ignore[method-assign]


def _unbounded() -> None:
    from reference_server.api import jobs

    def unbounded(read: Any) -> Any:
        def cursor(query: Any) -> Any:
            value = query[0] if len(query) == 1 else ""
            if value.isascii() and value.isdigit() and int(value[:30]) > 2**63 - 1:
                raise OverflowError("the database has no such number")
            return read(query)

        return cursor

    seams.swap(jobs, "polling_cursor", unbounded)


def _last_wins() -> None:
    from reference_server.api import jobs

    seams.swap(jobs, "polling_cursor", lambda read: lambda query: read(query[-1:]))


def _no_wait() -> None:
    from reference_server.api import jobs

    async def at_once(self: JobsApi, run: Run, after: int, wait_s: float) -> Run:
        return run

    jobs.JobsApi._wait = at_once  # type: ignore[method-assign]


def _sleeps_on() -> None:
    from reference_server.api import jobs

    async def whole_time(self: JobsApi, run: Run, after: int, wait_s: float) -> Run:
        await asyncio.sleep(min(wait_s, 9.0))
        return await self._run(run.job_id)

    jobs.JobsApi._wait = whole_time  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="poll-inclusive",
        breaks=("POLL-01",),
        patch=_inclusive,
        about="Polling after every ninetieth event of a finished log shows that event again.",
    ),
    Mutant(
        name="poll-serialised-again",
        breaks=("POLL-02",),
        follows=("REPLAY-12",),
        patch=_serialised_again,
        about="Polling rounds numbers: one id stands for two contents.",
    ),
    Mutant(
        name="poll-tail-blocks",
        breaks=("POLL-03",),
        patch=_tail_blocks,
        about="Polling at the end of a finished log is answered after six seconds.",
    ),
    Mutant(
        name="poll-never-done",
        breaks=("POLL-03",),
        patch=_never_done,
        about="An empty page behind the terminal event says done = false.",
    ),
    Mutant(
        name="poll-edge-skipped",
        breaks=("POLL-04",),
        follows=("POLL-03",),
        patch=_edge_skipped,
        about="A page's cursor is one too far where more follow; so `done` comes one too early.",
    ),
    Mutant(
        name="poll-limits-clamped",
        breaks=("POLL-04",),
        patch=_no_limit_bounds,
        about="Limits out of bounds are taken for the nearest that is allowed.",
    ),
    Mutant(
        name="poll-own-cursors",
        breaks=("POLL-05",),
        patch=_own_cursors,
        about="The cursors of pages are in a numbering of their own.",
    ),
    Mutant(
        name="poll-unbounded",
        breaks=("POLL-06",),
        follows=("REPLAY-07",),
        patch=_unbounded,
        about="2^63 as `after` is a server error; stream and polling then differ about it.",
    ),
    Mutant(
        name="poll-last-wins",
        breaks=("POLL-06",),
        patch=_last_wins,
        about="Of a repeated `after` the last one is taken.",
    ),
    Mutant(
        name="poll-no-wait",
        breaks=("POLL-07",),
        patch=_no_wait,
        about="`wait` is ignored.",
    ),
    Mutant(
        name="poll-sleeps-on",
        breaks=("POLL-07",),
        patch=_sleeps_on,
        about="A held poll sleeps for its whole time, whatever happens.",
    ),
]
