"""Group commit: one task carries out together what is due together.

A commit costs a disk flush, or a round trip, whatever it holds; a hundred jobs that each wait for
their own would share a hundredth of it. Work is queued; the task takes what has gathered, commits
it and answers everybody. A caller that is cancelled takes its work back while that still waits;
once begun it is carried out.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from .base import StoreUnavailable

#: Work that may wait: beyond that the store counts as away.
QUEUED_MAX: Final = 20_000

#: Event data in one commit, octets. A single append may be larger and goes alone then.
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024

Work = TypeVar("Work")


@dataclass(slots=True, eq=False)
class Entry(Generic[Work]):
    """Queued work and whoever waits for it."""

    work: Work
    done: asyncio.Future[Any]


class GroupCommit(ABC, Generic[Work]):
    """A queue and its task. `close` finishes what was accepted."""

    def __init__(self, name: str) -> None:
        self._queue: deque[Entry[Work]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name=name)

    def submit(self, work: Work) -> asyncio.Future[Any]:
        """Queue it; the future has what came of it. Raises StoreUnavailable."""
        if self._closing or self._task.done():
            raise StoreUnavailable("expected an open store")
        if len(self._queue) >= QUEUED_MAX:
            raise StoreUnavailable("too many writes are waiting")
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(Entry(work, done))
        self._wake.set()
        return done

    async def close(self) -> None:
        """Commit what is queued, then stop. Later work is refused."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task])

    @abstractmethod
    def _take(self) -> list[Entry[Work]]:
        """The work of the next commit; none of a caller that was cancelled."""

    @abstractmethod
    async def _commit(self, batch: list[Entry[Work]]) -> bool:
        """Carry out all of it or nothing, and answer everybody; whether to go on when closing."""

    async def _run(self) -> None:
        try:
            while True:
                batch = self._take()
                if batch:
                    go_on = await self._commit(batch)
                    if self._closing and not go_on:
                        return
                elif self._closing:
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            self._closing = True
            fail(self._queue, StoreUnavailable("the store was closed"))


def fail(entries: Iterable[Entry[Any]], error: StoreUnavailable) -> None:
    """Answer everybody who still waits with the error."""
    for entry in entries:
        if not entry.done.done():
            entry.done.set_exception(error)
