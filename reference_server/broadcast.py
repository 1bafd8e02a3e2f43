"""Wake-ups between processes: "job J now reaches id n", and nothing more (protocol §8).

A message may be lost and may come twice; the store stays the truth, and the hub polls it. How
often it has to depends on `connected`: whether other processes can be heard at the moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

LOGGER = logging.getLogger(__name__)

#: Pauses between attempts to connect again; the store is polled quickly meanwhile.
RECONNECT_FIRST_S: Final = 0.05
RECONNECT_MAX_S: Final = 1.0

#: A connection that was silent for so long is asked for a sign of life, and has as long to answer.
PROBE_S: Final = 5.0

#: Jobs with news that wait to be told. Beyond that the oldest is left to the other side's poll.
PENDING_MAX: Final = 10_000

Deliver = Callable[[str, int | None], None]
"""Takes a job and its head; None: there may be news, and the head is not known."""


class Broadcaster(Protocol):
    """Tells other processes about jobs, and hears from them."""

    @property
    def connected(self) -> bool:
        """Whether what other processes publish arrives at the moment."""

    async def open(self, deliver: Deliver, changed: Callable[[], None]) -> None:
        """Start listening. Both are called on the event loop: `changed` after every change of
        `connected`, because what was said while it was false has been missed."""

    def publish(self, job_id: str, head: int) -> None:
        """Tell everybody. Never blocks, never raises."""

    def watch(self, job_id: str) -> None:
        """Somebody here reads this job from now on."""

    def unwatch(self, job_id: str) -> None:
        """Nobody here reads this job any more."""

    async def close(self) -> None:
        """Stop listening."""


class LocalBroadcaster:
    """For one process: what is published is delivered at once, and nobody else is heard."""

    connected = False

    def __init__(self) -> None:
        self._deliver: Deliver | None = None

    async def open(self, deliver: Deliver, changed: Callable[[], None]) -> None:
        self._deliver = deliver

    def publish(self, job_id: str, head: int) -> None:
        if self._deliver is not None:
            self._deliver(job_id, head)

    def watch(self, job_id: str) -> None:
        """All jobs are heard."""

    def unwatch(self, job_id: str) -> None:
        """All jobs are heard."""

    async def close(self) -> None:
        self._deliver = None


class RemoteBroadcaster(ABC):
    """What all broadcasters over a connection share: connecting again, and batches.

    While one batch is on its way the next one gathers, with the newest head of each job only.
    """

    #: For the log.
    name: str

    def __init__(self) -> None:
        self._deliver: Deliver = _nobody
        self._changed: Callable[[], None] = _nothing
        self._connected = False
        self._told_away = False
        self._pending: dict[str, int] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._connected

    async def open(self, deliver: Deliver, changed: Callable[[], None]) -> None:
        self._deliver, self._changed = deliver, changed
        self._task = asyncio.create_task(self._run(), name=f"broadcast-{self.name}")

    def publish(self, job_id: str, head: int) -> None:
        if not self._connected:
            return  # the others poll as well, or are going to when they notice
        self._pending[job_id] = head
        if len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        self._news.set()

    @abstractmethod
    def watch(self, job_id: str) -> None:
        """See Broadcaster."""

    @abstractmethod
    def unwatch(self, job_id: str) -> None:
        """See Broadcaster."""

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @abstractmethod
    async def _serve(self) -> None:
        """Connect, listen, call `_up`, then send what `_batch` gives until the connection is lost,
        which raises."""

    async def _batch(self) -> dict[str, int]:
        """Wait for news; all that there is. Empty after PROBE_S of silence."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_S):
                await self._news.wait()
        self._news.clear()
        pending, self._pending = self._pending, {}
        return pending

    def _up(self) -> None:
        """Others are heard from now on."""
        if self._told_away:
            LOGGER.info("%s is back: it wakes readers again", self.name)
            self._told_away = False
        self._connected = True
        self._changed()

    def _down(self, error: Exception) -> None:
        if not self._told_away:
            LOGGER.warning(
                "%s is away (%s): readers are woken by polling the store",
                self.name,
                type(error).__name__,
            )
            self._told_away = True
        self._pending.clear()
        if self._connected:
            self._connected = False
            self._changed()

    async def _run(self) -> None:
        pause_s = RECONNECT_FIRST_S
        while True:
            try:
                await self._serve()
            except Exception as error:  # whatever it was: readers must not depend on this
                if self._connected:
                    pause_s = RECONNECT_FIRST_S
                self._down(error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)


def _nobody(_job_id: str, _head: int | None) -> None:
    """Not open yet."""


def _nothing() -> None:
    """Not open yet."""
