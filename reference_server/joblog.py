"""One job's log as this process sees it, and one stream's place in it.

Split from `hub.py`, which owns all logs: here is only what concerns a single one. The three
numbers `head`, `earliest` and `status` always come from one commit or one read, so that "ended
and nothing left" can be decided from them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from .clock import unix_seconds
from .events import QUEUED, TERMINAL_STATUSES, Event
from .frames import http_chunk
from .hotring import Batch, HotRing
from .store.base import Run, Store

#: Events in one store read: with frames of 4 KiB one write's worth.
PAGE_EVENTS: Final = 256
#: The most that is handed to a connection in one go, and so what a reader who stops reading can
#: pin beyond the kernel's own buffers.
HANDED_BYTES_MAX: Final = 65_536


class Outlet(Protocol):
    """The sending side of a connection whose answer has a body in chunks; a transport is one."""

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""

    def get_write_buffer_size(self) -> int:
        """Bytes that the peer has yet to take."""

    def write(self, data: bytes) -> None:
        """Send one whole chunk of HTTP/1.1's chunked coding."""


class Reader:
    """One stream's place in a log, with a wake-up that costs one future at most.

    The timer is not moved with every event: when it fires too early it is set again, so that a
    busy stream has one timer per heartbeat interval and not one per event.

    Events can be handed to a reader that waits: its task has then written all that it was given,
    and writes nothing before it is woken, so that nobody else is writing to the connection.
    """

    # A pass over a thousand readers costs what it has to fetch into the processor's cache.
    __slots__ = (
        "__weakref__", "_timer", "_until", "_waiter", "_woken", "cursor", "handed_s", "outlet",
        "waits",
    )  # fmt: skip

    def __init__(self, cursor: int = 0) -> None:
        self.cursor = cursor
        self.outlet: Outlet | None = None
        """Where events can be handed to it, for as long as that is so."""
        self.handed_s = 0.0
        """When events were last handed over, by the loop's clock."""
        self.waits = False
        """Whether its task is in `wait` and has not been woken yet."""
        self._woken = False
        self._until = 0.0
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def free_outlet(self) -> Outlet | None:
        """Its outlet, where the peer has taken all that was written before."""
        outlet = self.outlet
        if outlet is None or outlet.get_write_buffer_size() or outlet.is_closing():
            return None
        return outlet

    def wake(self) -> None:
        """Let `wait` return: the one that runs now, or else the next one."""
        self._woken = True
        self.waits = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    async def wait(self, until: float) -> None:
        """Return when woken, or when the loop's clock reaches `until`."""
        if self._woken:
            self._woken = False
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= until:
            return
        self._until = until
        self._waiter = loop.create_future()
        if self._timer is None or self._timer.when() > until:
            self._arm(loop)
        self.waits = True
        try:
            if await self._waiter:
                self._woken = False
        finally:
            self._waiter = None
            self.waits = False

    def close(self) -> None:
        """Give the timer back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self.close()
        self._timer = loop.call_at(self._until, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if loop.time() < self._until:
            self._arm(loop)
        else:
            self.waits = False
            self._waiter.set_result(False)


class JobLog:
    """A job's log: made by the hub, used by streams."""

    def __init__(
        self,
        job_id: str,
        store: Store,
        encode: Callable[[Event], bytes],
        ring: HotRing,
        account: Callable[[JobLog, int], None],
        watch: Callable[[JobLog], None],
        handed: Callable[[float, int], None],
    ) -> None:
        self.job_id = job_id
        self.head = 0
        self.earliest = 0
        self.status: str = QUEUED
        self.readers: set[Reader] = set()
        self._store = store
        self._encode = encode
        self._ring = ring
        self._account = account
        self._watch = watch
        self._handed = handed
        self._pages: dict[tuple[int, int], asyncio.Task[Batch]] = {}
        self._page_events = PAGE_EVENTS
        self._shared: tuple[int, int, int, Batch] | None = None

    @property
    def ended(self) -> bool:
        """The status is a final one, and `head` therefore the id of `done`."""
        return self.status in TERMINAL_STATUSES

    def attach(self, reader: Reader) -> None:
        """Wake this reader from now on. What happened before is in `head`."""
        self.readers.add(reader)
        if len(self.readers) == 1:
            self._watch(self)

    def detach(self, reader: Reader) -> None:
        watched = bool(self.readers)
        self.readers.discard(reader)
        reader.close()
        if watched and not self.readers:
            self._watch(self)

    def wake(self) -> None:
        for reader in self.readers:
            reader.wake()

    def hand_out(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Give new events to every reader who waits for just these, and wake all the others.

        One pass, one write per reader, the same bytes for all. Whoever is further behind, still
        has unsent bytes, or gets more than is handed out in one go, reads on from its cursor; so
        do all at the log's end, because that ends their answers as well.
        """
        count = _fitting(frames, HANDED_BYTES_MAX)
        if not count or self.ended or self.head != events[-1].id:
            self.wake()
            return
        after, last = events[0].id - 1, events[count - 1].id
        chunk = http_chunk(frames[:count])
        now_s = asyncio.get_running_loop().time()
        handed = 0
        for reader in tuple(self.readers):
            if reader.waits and reader.cursor == after and (outlet := reader.free_outlet):
                outlet.write(chunk)
                reader.cursor = last
                reader.handed_s = now_s
                handed += 1
                if last == self.head:
                    continue
            reader.wake()
        if handed:
            self._handed(unix_seconds(events[count - 1].timestamp), handed)

    def cool(self) -> None:
        """Give up the hot frames; readers fall back to the store."""
        self._shared = None
        freed = self._ring.nbytes
        self._ring.clear()
        self._account(self, -freed)

    def advance(self, run: Run) -> None:
        """Take over a row of the store, unless something newer is known already."""
        self.earliest = max(self.earliest, run.earliest)
        if run.head > self.head or (run.head == self.head and not self.ended):
            news = run.head > self.head or run.status != self.status
            self.head, self.status = run.head, run.status
            if news:
                self.wake()

    def extend(self, events: Sequence[Event], frames: Sequence[bytes], status: str | None) -> None:
        """Events that this process has just stored."""
        if self._ring.next == events[0].id or events[-1].id > self.head:
            self._push(events, frames)
        if events[-1].id > self.head:
            self.head = events[-1].id
            self.status = status or self.status
        if events[0].id == 1:
            self.earliest = max(self.earliest, 1)

    async def frames(self, after: int, max_bytes: int) -> Batch:
        """The frames after `after`, about `max_bytes` of them, at least one where there is one.

        An empty batch with `after` < `head` means that pruning has overtaken the reader: `earliest`
        has just been read again, the next `wait` returns at once, and the stream has to announce
        the gap (protocol §4). Raises StoreUnavailable.
        """
        if after >= self.head:
            return Batch([], after, None)
        if self._ring.holds(after + 1):
            if self._shared is None or self._shared[:3] != (after, max_bytes, self.head):
                batch = self._ring.batch(after, max_bytes)
                self._shared = (after, max_bytes, self.head, batch)
            return self._shared[3]
        key = (after, max_bytes)
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = asyncio.create_task(self._page(after, max_bytes))
            page.add_done_callback(lambda done: self._page_done(key, done))
        # Shielded: the page belongs to all readers that wait for it, one of them may leave.
        return await asyncio.shield(page)

    async def _page(self, after: int, max_bytes: int) -> Batch:
        """One bounded read of the store, encoded."""
        upto = self.head
        events = await self._store.read(
            self.job_id, after, upto=upto, limit=self._page_events, max_bytes=max_bytes
        )
        if not events or events[0].id != after + 1:
            await self._overtaken(events)
            return Batch([], after, None)
        data: list[bytes] = []
        size = 0
        for event in events:
            frame = self._encode(event)
            if data and size + len(frame) > max_bytes:
                break
            data.append(frame)
            size += len(frame)
        used = events[: len(data)]
        # Padding may fill a page long before the payloads do: read no more next time than fits.
        short = len(used) < len(events)
        self._page_events = len(used) if short else min(2 * self._page_events, PAGE_EVENTS)
        self._keep_hot(used, data)
        return Batch(data, used[-1].id, unix_seconds(used[-1].timestamp))

    def _page_done(self, key: tuple[int, int], page: asyncio.Task[Batch]) -> None:
        self._pages.pop(key, None)
        if not page.cancelled():
            page.exception()  # seen, also where every reader that waited for it has left

    async def _overtaken(self, events: Sequence[Event]) -> None:
        run = await self._store.run(self.job_id)
        if run is not None:
            self.advance(run)
        elif not events:
            # The whole job was pruned while somebody read it: nothing is left but its end.
            self.earliest = self.head + 1
        self.wake()

    def _keep_hot(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """A page that reaches the head is what the other readers are going to ask for next."""
        if events[-1].id != self.head or self._ring.next > self.head:
            return
        fresh = [pair for pair in zip(events, frames, strict=True) if pair[0].id >= self._ring.next]
        self._push([event for event, _ in fresh], [frame for _, frame in fresh])

    def _push(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        before = self._ring.nbytes
        for event, frame in zip(events, frames, strict=True):
            self._ring.push(event, frame)
        self._account(self, self._ring.nbytes - before)


def _fitting(frames: Sequence[bytes], bytes_max: int) -> int:
    """How many of the first frames are `bytes_max` or less together."""
    size = 0
    for count, frame in enumerate(frames):
        size += len(frame)
        if size > bytes_max:
            return count
    return len(frames)
