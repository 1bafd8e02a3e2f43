"""Servers that count wrongly, twice, in the wrong place, or punish the wrong client."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import seams
from .model import Mutant

if TYPE_CHECKING:
    from reference_server.api.start import StartApi
    from reference_server.store.base import NewRun, Run
    from reference_server.stream import Stream, Streams


def _off_by_one() -> None:
    from reference_server.store.base import Created, Repeated
    from reference_server.store.sqlite import SqliteStore

    create = SqliteStore.create_run

    async def one_more(self: SqliteStore, new: NewRun, quota: int) -> Any:
        outcome = await create(self, new, quota + 1)
        if isinstance(outcome, Created | Repeated) and outcome.remaining is not None:
            return replace(outcome, remaining=max(outcome.remaining - 1, 0))
        return outcome

    SqliteStore.create_run = one_more  # type: ignore[method-assign]


def _soon() -> None:
    _on_refusal(lambda problem: problem.headers.update({"Retry-After": "soon"}))


def _on_refusal(change: Any) -> None:
    from reference_server.api.start import StartApi
    from reference_server.problems import Problem

    answer = StartApi._answer

    def changed(self: StartApi, outcome: Any) -> Any:
        try:
            return answer(self, outcome)
        except Problem as problem:
            if problem.status == 429:
                change(problem)
            raise

    StartApi._answer = changed  # type: ignore[method-assign]


def _counts_wrongly() -> None:
    from reference_server.api import start

    accepted = start.StartApi._accepted

    def told(self: StartApi, outcome: Any) -> Any:
        return accepted(self, replace(outcome, remaining=self._options.quota))

    start.StartApi._accepted = told  # type: ignore[method-assign]


def _html_page() -> None:
    from quart import Response

    from reference_server.api.start import StartApi
    from reference_server.store.base import QuotaExceeded

    answer = StartApi._answer

    def page(self: StartApi, outcome: Any) -> Any:
        if not isinstance(outcome, QuotaExceeded):
            return answer(self, outcome)
        return Response(
            "<h1>Too many requests</h1>",
            status=429,
            content_type="text/html",
            headers={"Cache-Control": "no-store"},
        )

    StartApi._answer = page  # type: ignore[method-assign]


def _one_for_all() -> None:
    """For half a second a refusal stands for everybody who comes for the first time."""
    from reference_server.store.base import QuotaExceeded
    from reference_server.store.sqlite import SqliteStore

    create = SqliteStore.create_run
    refused_at = [float("-inf")]

    async def shared(self: SqliteStore, new: NewRun, quota: int) -> Any:
        script = json.loads(new.parameters).get("script") or {}
        short = script.get("events") == 4 and new.idempotency_key is None
        lately = time.monotonic() - refused_at[0] < 0.5
        if short and lately and not await seams.used(self, new.client_id):
            refused_at[0] = float("-inf")
            return QuotaExceeded()
        outcome = await create(self, new, quota)
        if isinstance(outcome, QuotaExceeded):
            refused_at[0] = time.monotonic()
        return outcome

    SqliteStore.create_run = shared  # type: ignore[method-assign]


def _check_then_act() -> None:
    from reference_server.store.base import Created, QuotaExceeded
    from reference_server.store.sqlite import SqliteStore

    create = SqliteStore.create_run

    async def racing(self: SqliteStore, new: NewRun, quota: int) -> Any:
        if new.idempotency_key is not None:
            return await create(self, new, quota)
        accepted = await seams.used(self, new.client_id)
        if accepted >= quota:
            return QuotaExceeded()
        await asyncio.sleep(0.05)
        outcome = await create(self, new, 0)
        if isinstance(outcome, Created):
            return replace(outcome, remaining=quota - accepted - 1)
        return outcome

    SqliteStore.create_run = racing  # type: ignore[method-assign]


def _cancel_refunds() -> None:
    from reference_server.store.sqlite import SqliteStore

    cancel = SqliteStore.cancel

    async def refunding(self: SqliteStore, job_id: str, *parts: Any) -> Run | None:
        before = await self.run(job_id)
        run = await cancel(self, job_id, *parts)
        if before is not None and not before.ended:
            await seams.charge(self, await seams.client_of(self, job_id), -1)
        return run

    SqliteStore.cancel = refunding  # type: ignore[assignment]


def _reset_refunds() -> None:
    """What frees a place stands in a `finally` that also runs for streams that never began."""
    from reference_server.stream import Streams

    close = Streams.close
    tasks: set[asyncio.Task[None]] = set()

    async def refund(stream: Stream) -> None:
        store = stream.log._store
        await seams.charge(store, await seams.client_of(store, stream.log.job_id), -1)

    def close_and_refund(self: Streams, stream: Stream) -> None:
        left = stream in self._open and not stream._complete
        close(self, stream)
        if left:
            task = asyncio.get_running_loop().create_task(refund(stream))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    Streams.close = close_and_refund  # type: ignore[method-assign]


def _resumes_charged() -> None:
    from quart import request

    from reference_server.api import stream as view

    whole = view.StreamApi.stream

    async def charged(self: view.StreamApi, job_id: str) -> Any:
        client = request.headers.get("X-Client-Id")
        if client and request.headers.get("Last-Event-ID"):
            await seams.charge(self._hub._store, client, 1)
        return await whole(self, job_id)

    view.StreamApi.stream = charged  # type: ignore[method-assign]


def _evicts() -> None:
    from reference_server.api.start import StartApi
    from reference_server.store.base import QuotaExceeded

    create = StartApi._create

    async def evicting(self: StartApi, new: NewRun) -> Any:
        outcome = await create(self, new)
        if isinstance(outcome, QuotaExceeded):
            store: Any = self._store
            running = await store._fetch(
                "SELECT job_id FROM run_metadata WHERE client_id = ? AND ended_at IS NULL"
                " ORDER BY created_at",
                (new.client_id,),
            )
            if len(running) == self._options.quota:
                await self._runner.cancel(running[0][0])
        return outcome

    StartApi._create = evicting  # type: ignore[method-assign]


def _anonymous() -> None:
    from reference_server.api import start

    def or_anybody(client_id: Any) -> Any:
        return lambda values, *, required: (
            client_id(values, required=required) if values else "anonymous"
        )

    seams.swap(start, "client_id", or_anybody)


def _invalid_charged() -> None:
    from quart import request

    from reference_server.api.start import StartApi
    from reference_server.problems import Problem

    whole = StartApi.start

    async def charged(self: StartApi) -> Any:
        try:
            return await whole(self)
        except Problem as problem:
            client = request.headers.get("X-Client-Id", "")
            if problem.status in (400, 415, 422) and client:
                await seams.charge(self._store, client, 1)
            raise

    StartApi.start = charged  # type: ignore[method-assign]


def _repeats_charged() -> None:
    from reference_server.api.start import StartApi
    from reference_server.store.base import Repeated

    create = StartApi._create

    async def charged(self: StartApi, new: NewRun) -> Any:
        outcome = await create(self, new)
        if isinstance(outcome, Repeated):
            await seams.charge(self._store, new.client_id, 1)
        return outcome

    StartApi._create = charged  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="quota-off-by-one",
        breaks=("QUOTA-01",),
        follows=("QUOTA-05",),
        patch=_off_by_one,
        about="A client has six starts instead of five; so it has in a burst.",
    ),
    Mutant(
        name="quota-soon",
        breaks=("QUOTA-02",),
        patch=_soon,
        about="A refusal says `Retry-After: soon`.",
    ),
    Mutant(
        name="quota-remaining-untrue",
        breaks=("QUOTA-02",),
        follows=("LIFE-10",),
        patch=_counts_wrongly,
        about="Every answer says that no start has been used yet.",
    ),
    Mutant(
        name="quota-html-page",
        breaks=("QUOTA-03",),
        follows=("HDR-10",),
        patch=_html_page,
        about="A refusal is an HTML page; so an error is no problem document.",
    ),
    Mutant(
        name="quota-one-for-all",
        breaks=("QUOTA-04",),
        patch=_one_for_all,
        about="When a client has been refused, the next new client is refused too.",
    ),
    Mutant(
        name="quota-check-then-act",
        breaks=("QUOTA-05",),
        patch=_check_then_act,
        about="The count is looked up, then raised: a burst slips through between.",
    ),
    Mutant(
        name="quota-cancel-refunds",
        breaks=("QUOTA-06",),
        patch=_cancel_refunds,
        about="A cancelled run gives its start back.",
    ),
    Mutant(
        name="quota-reset-refunds",
        breaks=("QUOTA-07",),
        patch=_reset_refunds,
        about="A stream that breaks off gives a start back.",
    ),
    Mutant(
        name="quota-resumes-charged",
        breaks=("QUOTA-08",),
        patch=_resumes_charged,
        about="Resuming a stream uses up a start.",
    ),
    Mutant(
        name="quota-evicts",
        breaks=("QUOTA-09",),
        patch=_evicts,
        about="At the limit the client's oldest running job is cancelled.",
    ),
    Mutant(
        name="quota-anonymous",
        breaks=("QUOTA-10",),
        patch=_anonymous,
        about="Clients without an id share one count.",
    ),
    Mutant(
        name="quota-invalid-charged",
        breaks=("QUOTA-11",),
        patch=_invalid_charged,
        about="A start that is refused as invalid uses up a start.",
    ),
    Mutant(
        name="quota-repeats-charged",
        breaks=("QUOTA-11",),
        patch=_repeats_charged,
        about="A repeat under the same Idempotency-Key uses up a start.",
    ),
]
