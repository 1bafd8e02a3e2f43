"""Deployments whose instances do not know of each other, or not soon enough.

Two or three processes run the same patch on one store; where they have to differ, their INSTANCE_ID
tells which one it is. The suite's base URL is the first.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import seams
from .model import Mutant
from .replay import MEMORY

if TYPE_CHECKING:
    from reference_server.store.base import NewRun, Run
    from reference_server.stream import Stream

REPLICA_LAG_S = 1.5


def _is_first() -> bool:
    return os.environ.get("INSTANCE_ID") == "instance-1"


def _one_further() -> None:
    """All but the first instance take a cursor for a place of their own, and miss an event."""
    if _is_first():
        return

    def further(stream: Stream) -> None:
        if 0 < stream.reader.cursor < stream.log.head:
            stream.reader.cursor += 1

    seams.on_opened(further)


def _behind() -> None:
    """All but the first instance answer snapshots and pages from a replica that lags."""
    from reference_server.store.sqlite import SqliteStore

    if _is_first():
        return
    run = SqliteStore.run
    heads: dict[str, list[tuple[float, Run]]] = {}

    async def old(self: SqliteStore, job_id: str) -> Run | None:
        row = await run(self, job_id)
        if row is None:
            return None
        known = heads.setdefault(job_id, [])
        known.append((time.monotonic(), row))
        then = time.monotonic() - REPLICA_LAG_S
        return next((each for at, each in reversed(known) if at <= then), known[0][1])

    SqliteStore.run = old  # type: ignore[method-assign]


def _own_quota() -> None:
    """All but the first instance count starts in a table of their own."""
    from reference_server.store.sqlite import SqliteStore

    if _is_first():
        return
    create = SqliteStore.create_run

    async def counted(self: SqliteStore, new: NewRun, quota: int) -> Any:
        return await create(self, replace(new, client_id=f"elsewhere {new.client_id}"), quota)

    SqliteStore.create_run = counted  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="mi-memory",
        breaks=("MI-01", "MI-02"),
        follows=("MI-03", "MI-10", "REPLAY-12"),
        env=MEMORY,
        instances=2,
        about="Each instance keeps its jobs in its own memory.",
    ),
    Mutant(
        name="mi-one-further",
        breaks=("MI-02",),
        follows=("MI-03",),
        patch=_one_further,
        instances=2,
        about="The second instance goes on one event behind a cursor that the first one gave.",
    ),
    Mutant(
        name="mi-behind",
        breaks=("MI-03",),
        follows=("MI-01", "MI-10"),
        patch=_behind,
        instances=2,
        about="The second instance answers from a replica that is a second and a half behind.",
    ),
    Mutant(
        name="mi-own-quota",
        breaks=("MI-10",),
        patch=_own_quota,
        instances=2,
        about="Each instance has a quota of its own.",
    ),
]
