"""Group commit for SQLite: one task owns the writing connection, and runs a batch of verbs in one
transaction. None is ever left open."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any, Final

import aiosqlite

from ..events import Draft, Event
from .appends import AppendRequest
from .base import StoreUnavailable
from .group import BATCH_BYTES_MAX, Entry, GroupCommit, fail
from .sqlite_append import append_all

LOGGER = logging.getLogger(__name__)

#: Verbs in one transaction.
BATCH_VERBS_MAX: Final = 512

Verb = Callable[[aiosqlite.Connection], Awaitable[Any]]
_Entry = Entry[AppendRequest | Verb]


class GroupWriter(GroupCommit[AppendRequest | Verb]):
    """The only one that writes on its connection."""

    def __init__(self, connection: aiosqlite.Connection, now: Callable[[], float]) -> None:
        self._connection = connection
        self._now = now
        super().__init__("sqlite-writer")

    async def append(
        self,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> list[Event]:
        """Raises Fenced, HeadMoved, StoreUnavailable."""
        result = await self.submit(AppendRequest.of(job_id, epoch, drafts, status, head))
        if isinstance(result, Exception):
            raise result
        events: list[Event] = result
        return events

    async def perform(self, verb: Verb) -> Any:
        """Run `verb` inside a transaction; its return value is handed out after the commit.

        Raises StoreUnavailable.
        """
        return await self.submit(verb)

    def _take(self) -> list[_Entry]:
        """The verbs of the next transaction, in the order in which they came."""
        batch: list[_Entry] = []
        nbytes = 0
        while self._queue and len(batch) < BATCH_VERBS_MAX:
            work = self._queue[0].work
            nbytes += work.nbytes if isinstance(work, AppendRequest) else 0
            if batch and nbytes > BATCH_BYTES_MAX:
                break
            entry = self._queue.popleft()
            if not entry.done.cancelled():
                batch.append(entry)
        return batch

    async def _commit(self, batch: list[_Entry]) -> bool:
        """All of the batch or nothing."""
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
            results = await self._perform_all(batch)
            await self._connection.execute("COMMIT")
        except (sqlite3.Error, ValueError) as error:  # ValueError: aiosqlite's "closed"
            await self._rollback()
            LOGGER.warning("a transaction failed: %s", type(error).__name__)
            fail(batch, StoreUnavailable(f"the transaction failed: {type(error).__name__}"))
        except BaseException as error:
            await self._rollback()
            fail(batch, StoreUnavailable("the transaction was broken off"))
            if not isinstance(error, Exception):
                raise
            LOGGER.exception("a verb raised")
        else:
            for entry, result in zip(batch, results, strict=True):
                if not entry.done.done():
                    entry.done.set_result(result)
        return True

    async def _perform_all(self, batch: list[_Entry]) -> list[object]:
        """Run the verbs in order; appends that follow each other share their statements."""
        results: list[object] = []
        for is_append, entries in groupby(batch, lambda e: isinstance(e.work, AppendRequest)):
            works = [entry.work for entry in entries]
            if is_append:
                appends = [work for work in works if isinstance(work, AppendRequest)]
                results += await append_all(self._connection, appends, self._now())
            else:
                for work in works:
                    if not isinstance(work, AppendRequest):
                        results.append(await work(self._connection))
        return results

    async def _rollback(self) -> None:
        with contextlib.suppress(sqlite3.Error, ValueError):
            await self._connection.rollback()
