"""Group commit: one task owns the writing connection and commits together what is due together.

A commit costs a disk flush whatever it holds, so a hundred jobs that each wait for their own would
share a hundredth of the disk. Verbs are queued; the task takes what has gathered, runs it in one
transaction and answers everybody. A caller that is cancelled takes back its verb while that still
waits; once begun it is carried out, and no transaction is ever left open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import aiosqlite

from ..events import Draft, Event
from .appends import AppendRequest
from .base import StoreUnavailable
from .sqlite_append import append_all

LOGGER = logging.getLogger(__name__)

#: Verbs in one transaction, and verbs that may wait: beyond that the store counts as away.
BATCH_VERBS_MAX: Final = 512
QUEUED_VERBS_MAX: Final = 20_000

#: Event data in one transaction, octets. A single append may be larger and goes alone then.
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024

Verb = Callable[[aiosqlite.Connection], Awaitable[Any]]


@dataclass(slots=True, eq=False)
class _Entry:
    """A queued verb and whoever waits for it."""

    work: AppendRequest | Verb
    done: asyncio.Future[Any]

    @property
    def nbytes(self) -> int:
        return self.work.nbytes if isinstance(self.work, AppendRequest) else 0


class GroupWriter:
    """The only one that writes on its connection. `close` finishes what was accepted."""

    def __init__(self, connection: aiosqlite.Connection, now: Callable[[], float]) -> None:
        self._connection = connection
        self._now = now
        self._queue: deque[_Entry] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="sqlite-writer")

    async def append(
        self,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> list[Event]:
        """Raises Fenced, HeadMoved, StoreUnavailable."""
        result = await self._submit(AppendRequest.of(job_id, epoch, drafts, status, head))
        if isinstance(result, Exception):
            raise result
        events: list[Event] = result
        return events

    async def perform(self, verb: Verb) -> Any:
        """Run `verb` inside a transaction; its return value is handed out after the commit.

        Raises StoreUnavailable.
        """
        return await self._submit(verb)

    async def close(self) -> None:
        """Commit what is queued, then stop. Later verbs are refused."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task])

    def _submit(self, work: AppendRequest | Verb) -> asyncio.Future[Any]:
        if self._closing or self._task.done():
            raise StoreUnavailable("expected an open store")
        if len(self._queue) >= QUEUED_VERBS_MAX:
            raise StoreUnavailable("too many writes are waiting")
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(_Entry(work, done))
        self._wake.set()
        return done

    async def _run(self) -> None:
        try:
            while True:
                batch = self._take()
                if batch:
                    await self._commit(batch)
                elif self._closing:
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            self._closing = True
            _fail(self._queue, StoreUnavailable("the store was closed"))

    def _take(self) -> list[_Entry]:
        """The verbs of the next transaction, in the order in which they came."""
        batch: list[_Entry] = []
        nbytes = 0
        while self._queue and len(batch) < BATCH_VERBS_MAX:
            nbytes += self._queue[0].nbytes
            if batch and nbytes > BATCH_BYTES_MAX:
                break
            entry = self._queue.popleft()
            if not entry.done.cancelled():
                batch.append(entry)
        return batch

    async def _commit(self, batch: list[_Entry]) -> None:
        """All of the batch or nothing."""
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
            results = await self._perform_all(batch)
            await self._connection.execute("COMMIT")
        except (sqlite3.Error, ValueError) as error:  # ValueError: aiosqlite's "closed"
            await self._rollback()
            LOGGER.warning("a transaction failed: %s", type(error).__name__)
            _fail(batch, StoreUnavailable(f"the transaction failed: {type(error).__name__}"))
        except BaseException as error:
            await self._rollback()
            _fail(batch, StoreUnavailable("the transaction was broken off"))
            if not isinstance(error, Exception):
                raise
            LOGGER.exception("a verb raised")
        else:
            for entry, result in zip(batch, results, strict=True):
                if not entry.done.done():
                    entry.done.set_result(result)

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


def _fail(entries: deque[_Entry] | list[_Entry], error: StoreUnavailable) -> None:
    for entry in entries:
        if not entry.done.done():
            entry.done.set_exception(error)
