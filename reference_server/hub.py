"""Where readers meet the log: encoded frames of the newest events, and wake-ups.

A reader is a cursor, never a queue (protocol §8): a slow one costs nothing here but its distance.
Each frame is encoded once per process and kept, bounded, while it is hot; whoever is further
behind reads the store. Live and replay are one loop over `JobLog.frames`. Nothing here decides
what a stream sends around the events, and nothing here writes to the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from .broadcast import Broadcaster, LocalBroadcaster
from .events import Event
from .hotring import Batch, HotRing
from .joblog import JobLog, Outlet, Reader
from .store.base import Store, StoreUnavailable

__all__ = ["Batch", "Broadcaster", "Hub", "JobLog", "LocalBroadcaster", "Outlet", "Reader"]

LOGGER = logging.getLogger(__name__)

#: Logs that are held although perhaps nobody reads them, so that who reconnects finds them hot.
RECENT_LOGS_MAX: Final = 4096

#: A single job may hold this part of all hot bytes: one job with huge events cannot evict all.
RING_SHARE: Final = 4


class Hub:
    """All logs that somebody reads or that this process writes.

    A log is found again for as long as anybody holds it; the recently used ones are held here.
    Only those have hot frames, so the bounds below bound everything.
    """

    def __init__(
        self,
        store: Store,
        encode: Callable[[Event], bytes],
        broadcaster: Broadcaster,
        hot_events: int,
        hot_bytes: int,
        poll_interval_s: float,
        poll_alone_s: float | None = None,
        handed: Callable[[float, int], None] = lambda _emitted_s, _readers: None,
    ) -> None:
        """`poll_alone_s` is the interval while the broadcaster hears nobody, for a store that
        other processes write as well; where it is not given there are none. `handed` is told of
        events given to readers at once: when the newest was emitted, and to how many."""
        self._store = store
        self._encode = encode
        self._broadcaster = broadcaster
        self._hot_events = hot_events
        self._hot_bytes = hot_bytes
        self._poll_interval_s = poll_interval_s
        self._poll_alone_s = poll_interval_s if poll_alone_s is None else poll_alone_s
        self._handed = handed
        self._logs: WeakValueDictionary[str, JobLog] = WeakValueDictionary()
        self._recent: OrderedDict[str, JobLog] = OrderedDict()  # the least recently used first
        self._hot_total = 0
        self._told: set[str] = set()
        self._reread = False
        self._store_away = False
        self._news = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen to the broadcaster and start the poll that makes up for lost wake-ups."""
        await self._broadcaster.open(self._delivered, self._connection_changed)
        self._poller = asyncio.create_task(self._poll(), name="hub-poll")

    async def close(self) -> None:
        """Stop polling and listening, and let every reader look up once more."""
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
            self._poller = None
        await self._broadcaster.close()
        self.wake_all()

    async def log(self, job_id: str) -> JobLog | None:
        """The job's log, as new as the store at the time of this call; None: no such job.

        The row is read for each call, because a cursor that another instance handed out has to be
        compared with the store and not with this process's memory (protocol §4).
        Raises StoreUnavailable.
        """
        run = await self._store.run(job_id)
        if run is None:
            return None
        log = self._touch(job_id)
        log.advance(run)
        return log

    def committed(self, job_id: str, events: Sequence[Event], status: str | None) -> None:
        """Fan out what the store has confirmed, never before: encode once, hand out, publish."""
        if not events:
            return
        log = self._touch(job_id)
        frames = [self._encode(event) for event in events]
        log.extend(events, frames, status)
        log.hand_out(events, frames)
        self._broadcaster.publish(job_id, log.head)

    async def catch_up(self, job_id: str) -> None:
        """The job changed otherwise than by `committed` (a cancel, a lost owner's last write):
        take its row from the store, wake its readers, tell the other instances."""
        run = await self._store.run(job_id)
        if run is None:
            return
        log = self._logs.get(job_id)
        if log is not None:
            log.advance(run)
        self._broadcaster.publish(job_id, run.head)

    def wake_all(self) -> None:
        """Let every reader of every job look up, for instance because the server drains."""
        for log in list(self._logs.values()):
            log.wake()

    @property
    def poll_interval_s(self) -> float:
        """How often all watched jobs are looked up at the moment."""
        connected = self._broadcaster.connected
        return self._poll_interval_s if connected else self._poll_alone_s

    def _delivered(self, job_id: str, head: int | None) -> None:
        log = self._logs.get(job_id)
        if log is not None and (head is None or head > log.head):
            self._told.add(job_id)
            self._news.set()

    def _connection_changed(self) -> None:
        """What the broadcaster missed is in the store; and the interval is another one now."""
        self._reread = True
        self._news.set()

    def _watch(self, log: JobLog) -> None:
        """A log got its first reader, or lost its last one."""
        if log.readers:
            self._broadcaster.watch(log.job_id)
        else:
            self._broadcaster.unwatch(log.job_id)

    async def _poll(self) -> None:
        """Re-read rows: of jobs with news at once, of all watched jobs once in an interval."""
        loop = asyncio.get_running_loop()
        polled = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(polled + self.poll_interval_s):
                    await self._news.wait()
            self._news.clear()
            job_ids, self._told = self._told, set()
            if self._reread or loop.time() >= polled + self.poll_interval_s:
                self._reread = False
                polled = loop.time()
                logs = list(self._logs.values())
                job_ids |= {log.job_id for log in logs if log.readers and not log.ended}
            if job_ids:
                await self._refresh(job_ids)

    async def _refresh(self, job_ids: set[str]) -> None:
        try:
            runs = await self._store.runs(sorted(job_ids))
        except StoreUnavailable:
            # The next round asks again; readers keep their heartbeats meanwhile.
            if not self._store_away:
                LOGGER.warning("the store could not be polled", extra={"jobs": len(job_ids)})
            self._store_away = True
            return
        self._store_away = False
        for run in runs:
            log = self._logs.get(run.job_id)
            if log is not None:
                log.advance(run)

    def _touch(self, job_id: str) -> JobLog:
        """The job's log, now the most recently used."""
        log = self._logs.get(job_id)
        if log is None:
            ring = HotRing(self._hot_events, self._hot_bytes // RING_SHARE)
            log = JobLog(
                job_id, self._store, self._encode, ring, self._account, self._watch, self._handed
            )
            self._logs[job_id] = log
        self._recent[job_id] = log
        self._recent.move_to_end(job_id)
        self._make_room()
        return log

    def _account(self, log: JobLog, grown: int) -> None:
        """A log's hot frames grew by so many bytes (shrank, where negative)."""
        self._hot_total += grown
        if grown > 0:
            self._touch(log.job_id)

    def _make_room(self) -> None:
        """The least recently used logs lose their frames until both bounds hold."""
        while len(self._recent) > RECENT_LOGS_MAX or self._hot_total > self._hot_bytes:
            self._recent.popitem(last=False)[1].cool()
