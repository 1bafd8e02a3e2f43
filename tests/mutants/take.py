"""Deployments that a failing instance, store or broker harms.

All instances run the same patch. They are processes of a local topology, so that the hooks of its
profile can kill, pause and restart them; their leases last two seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from .model import Mutant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_server.emitter import Emitter
    from reference_server.events import Draft, Event
    from reference_server.runner import Runner
    from reference_server.serving import Server
    from reference_server.store.base import Claim
    from reference_server.store.sqlite import SqliteStore

ON_SQLITE = ("sqlite", "local")
ON_REDIS = ("sqlite", "redis")
ON_POSTGRES = ("postgres", "notify")
UNSTORED_S = 0.4
LINGER_S = 0.3


def _never_taken_over() -> None:
    """A job is claimed, and then nobody works on it."""
    from reference_server.runner import Runner

    launch = Runner.launch

    def unless_orphaned(self: Runner, claim: Claim) -> None:
        if not claim.taken_over:
            launch(self, claim)

    Runner.launch = unless_orphaned  # type: ignore[method-assign]


def _not_fenced(ended: frozenset[str]) -> None:
    """Whoever once had a job goes on writing to it, unless its status is one of these."""
    from reference_server.runner import Runner
    from reference_server.store import sqlite_append
    from reference_server.store.sqlite import SqliteStore

    append = SqliteStore.append

    async def anyhow(
        self: SqliteStore,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> list[Event]:
        return await append(self, job_id, epoch, drafts, status, None)

    async def renew(self: Runner) -> None:
        await self._store.renew(self._owner, self._lease_s, list(self._jobs))

    def accepts(self: Any, epoch: int) -> bool:
        return self.status not in ended

    sqlite_append._Row.accepts = accepts  # type: ignore[method-assign]
    SqliteStore.append = anyhow  # type: ignore[method-assign]
    Runner._renew = renew  # type: ignore[method-assign]


def _shown_first() -> None:
    """Readers see events at once, the store gets them some time later."""
    from reference_server.emitter import Emitter
    from reference_server.events import Event

    async def store_later(
        self: Emitter, due: float, before: asyncio.Task[None] | None, drafts: list[Any], status: Any
    ) -> None:
        if before is not None:
            await before
        await asyncio.sleep(due - time.monotonic())
        await self._store.append(self._claim.job_id, self._claim.epoch, drafts, status, None)

    async def flush(self: Emitter) -> None:
        if not self._pending:
            return
        drafts, status = self._pending, self._status
        self._pending, self._pending_bytes, self._status = [], 0, None
        events = [
            Event(self._head + n, draft.type, draft.timestamp, draft.data)
            for n, draft in enumerate(drafts, 1)
        ]
        before = writing.get(self._claim.job_id)
        due = time.monotonic() + UNSTORED_S
        later = store_later(self, due, before, drafts, status)
        writing[self._claim.job_id] = asyncio.get_running_loop().create_task(later)
        self._head = events[-1].id
        self._hub.committed(self._claim.job_id, events, status)

    writing: dict[str, asyncio.Task[None]] = {}
    Emitter.flush = flush  # type: ignore[method-assign]


def _cut_at_once() -> None:
    from reference_server.serving import Server

    Server.stop = lambda self: os._exit(0)  # type: ignore[method-assign]


def _torn_drain() -> None:
    """What is being written when the server is told to stop is not written to its end."""
    from reference_server.frames import FrameEncoder

    torn = b'event: step_progress\ndata: {"type":"step_prog'
    FrameEncoder.recycle = lambda self: torn  # type: ignore[method-assign]


def _ready_to_the_last() -> None:
    """Readiness never turns, and what is left of the instance still answers for a moment."""
    from reference_server.api.operations import OperationsApi
    from reference_server.serving import Server

    drained = Server._stopped_and_drained

    async def lingering(self: Server) -> None:
        await drained(self)
        await asyncio.sleep(LINGER_S)

    OperationsApi.ready = OperationsApi.live  # type: ignore[method-assign]
    Server._stopped_and_drained = lingering  # type: ignore[method-assign]


def _leases_kept() -> None:
    """An instance that ends keeps its leases, so that nobody can go on before they run out."""
    from reference_server.store.sqlite import SqliteStore

    async def nothing(self: SqliteStore, owner: str) -> None:
        return None

    SqliteStore.release = nothing  # type: ignore[method-assign]


def _connected_once() -> None:
    """A lost connection to the broker is neither noticed nor made again."""
    from reference_server.broadcast import RemoteBroadcaster

    async def once(self: RemoteBroadcaster) -> None:
        try:
            await self._serve()
        except Exception:
            await asyncio.Event().wait()

    RemoteBroadcaster._run = once  # type: ignore[method-assign]


def _never_polls() -> None:
    """And the store is never looked at without a wake-up."""
    from reference_server.hub import Hub

    _connected_once()
    Hub.poll_interval_s = property(lambda self: 3600.0)  # type: ignore[method-assign, assignment]


def _store_must_be_there() -> None:
    """A pipeline fails when its event cannot be stored."""
    from reference_server.emitter import Emitter

    async def once(self: Emitter, drafts: list[Draft], status: str | None) -> list[Event]:
        claim = self._claim
        for _ in range(2):  # so that the job can still be ended as failed
            try:
                return await self._store.append(
                    claim.job_id, claim.epoch, drafts, status, self._head
                )
            except Exception as error:
                lost = error
                if status == "failed":
                    await asyncio.sleep(8.0)
        raise RuntimeError from lost

    Emitter._append = once  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="take-running-for-ever",
        breaks=("TAKE-01", "MI-04"),
        follows=("MI-06", "MI-07"),
        patch=_never_taken_over,
        instances=3,
        deployment=ON_SQLITE,
        about="A job whose instance was killed is claimed, and nobody goes on with it.",
    ),
    Mutant(
        name="take-no-epoch",
        breaks=("TAKE-02",),
        patch=partial(_not_fenced, frozenset({"completed", "failed", "canceled"})),
        instances=3,
        deployment=ON_SQLITE,
        about="Appends carry no epoch: a paused owner that wakes up writes on, to the job's end.",
    ),
    Mutant(
        name="mi-zombie",
        breaks=("MI-09", "TAKE-02"),
        follows=("MI-07", "MI-10"),
        patch=partial(_not_fenced, frozenset()),
        instances=3,
        deployment=ON_SQLITE,
        about="Appends are taken from anybody, so a woken owner, or a cancelled job, goes on.",
    ),
    Mutant(
        name="take-shown-first",
        breaks=("TAKE-03", "MI-05"),
        follows=("MI-06", "MI-07", "MI-09", "MI-10", "TAKE-02"),
        patch=_shown_first,
        instances=3,
        deployment=ON_SQLITE,
        about="Events are fanned out at once and stored 400 ms later.",
    ),
    Mutant(
        name="take-deaf-afterwards",
        breaks=("TAKE-04",),
        patch=_connected_once,
        instances=2,
        deployment=ON_REDIS,
        about="Nobody subscribes again after Redis was away: only the poll finds new events.",
    ),
    Mutant(
        name="take-store-must-be-there",
        breaks=("TAKE-05",),
        patch=_store_must_be_there,
        env={"LEASE_SECONDS": "15"},
        deployment=ON_POSTGRES,
        about="A job fails when the store is away for a moment.",
    ),
    Mutant(
        name="mi-cut-at-once",
        breaks=("MI-06",),
        patch=_cut_at_once,
        instances=3,
        deployment=ON_SQLITE,
        about="SIGTERM ends the process without a word to its readers.",
    ),
    Mutant(
        name="mi-torn-drain",
        breaks=("MI-06",),
        patch=_torn_drain,
        instances=3,
        deployment=ON_SQLITE,
        about="SIGTERM ends streams in good order, but in the middle of a frame.",
    ),
    Mutant(
        name="mi-ready-to-the-last",
        breaks=("MI-06",),
        follows=("OPS-02",),
        patch=_ready_to_the_last,
        instances=3,
        deployment=ON_SQLITE,
        about="Readiness is still 200 when the streams have been ended.",
    ),
    Mutant(
        name="mi-leases-kept",
        breaks=("MI-07",),
        patch=_leases_kept,
        env={"LEASE_SECONDS": "8"},
        instances=3,
        deployment=ON_SQLITE,
        about="An instance that is restarted keeps its leases of eight seconds until they run out.",
    ),
    Mutant(
        name="mi-lost-subscription",
        breaks=("MI-08", "TAKE-04"),
        patch=_never_polls,
        instances=2,
        deployment=ON_REDIS,
        about="After Redis was away, readers of other instances get nothing any more.",
    ),
]
