"""A live stream: one reader's way through a job's log, from its cursor to the end (protocol §3-§6).

Replay and live are the same loop at different distances from the log's head, so there is no moment
at which a joining reader could miss an event or get one twice. A stream that waits at the head may
be handed new events past this loop, by `JobLog.hand_out`: it finds its cursor moved. The generator
must never raise: the status line is out, and an answer that breaks off looks like a network fault
on HTTP/1.1 and like nothing at all on HTTP/2.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from .clock import Clock
from .events import QUEUED, to_json
from .frames import FrameEncoder, http_chunk
from .hub import JobLog, Outlet, Reader
from .lifecycle import Lifecycle
from .metrics import Metrics
from .store.base import StoreUnavailable

#: Frames that are due together travel together, up to this size.
WRITE_BYTES: Final = 65_536
#: What is asked for at once: a replay reads the store once for several writes.
READ_BYTES: Final = 262_144
#: A frame above this is handed over in slices: a slow reader then pins a slice, not all of it.
WHOLE_FRAME_MAX_BYTES: Final = 262_144
#: A reader that is further behind counts as lagging (protocol §8).
LAGGING_EVENTS: Final = 500
#: How long a stream that has to end may go on delivering what is already stored.
RECYCLE_DELIVERY_S: Final = 1.0
STORE_RETRY_S: Final = 0.5
_LOG: Final = logging.getLogger(__name__)


class HasOutlet(Protocol):
    """A connection that may have an outlet once the answer's head has been sent."""

    @property
    def outlet(self) -> Outlet | None: ...


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What an operator chooses about streams."""

    heartbeat_s: float
    retry_ms: int
    max_s: float
    """Longest life of one stream; 0 for no limit."""


class Streams:
    """Opens streams and knows all that are open."""

    def __init__(
        self,
        *,
        encoder: FrameEncoder,
        clock: Clock,
        lifecycle: Lifecycle,
        metrics: Metrics,
        options: StreamOptions,
        subscriber_arrived: Callable[[str], Awaitable[None]],
    ) -> None:
        self.encoder = encoder
        self.clock = clock
        self.lifecycle = lifecycle
        self.metrics = metrics
        self.options = options
        self.subscriber_arrived = subscriber_arrived
        self._open: set[Stream] = set()
        metrics.watch_readers(
            count=lambda: len(self._open),
            lag=lambda: max((stream.lag for stream in self._open), default=0),
            lagging=lambda: sum(stream.lag > LAGGING_EVENTS for stream in self._open),
        )

    def open(
        self, log: JobLog, cursor: int, connection: HasOutlet | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The stream's bytes. Call it without awaiting anything since `log` was looked up.

        Events may go to the connection's outlet instead, while the generator waits for news. So
        whoever gives a connection must send it the generator's bytes unchanged and in turn.

        The reader is attached here and not when the first byte is asked for: in between the hub
        could forget a log that nobody seems to read.
        """
        stream = Stream(self, log, cursor, connection)
        self._open.add(stream)
        log.attach(stream.reader)
        chunks = stream.chunks()
        # A generator that is never started has no `finally`: the client left before its headers.
        weakref.finalize(chunks, self.close, stream).atexit = False
        return chunks

    def close(self, stream: Stream) -> None:
        """Forget a stream; doing it again changes nothing."""
        self._open.discard(stream)
        stream.log.detach(stream.reader)


class Stream:
    """One stream's state: a cursor, and when something was last sent."""

    def __init__(
        self, streams: Streams, log: JobLog, cursor: int, connection: HasOutlet | None = None
    ) -> None:
        self._streams = streams
        self._options = streams.options
        self.log = log
        self.reader = Reader(cursor)
        self._by = connection
        self._requested = cursor
        self._live = False
        self._newest_emitted_s: float | None = None
        self._now = asyncio.get_running_loop().time
        self._opened_s = self._sent_s = self._now()
        self._turned_away = streams.lifecycle.draining

    @property
    def lag(self) -> int:
        """Events that are stored and not yet sent here."""
        return max(self.log.head - self.reader.cursor, 0)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Everything that is written after the headers; ends normally whatever happens."""
        try:
            yield self._connection()
            if self._by is not None:
                self.reader.outlet = self._by.outlet
            if self.log.status == QUEUED and not self._turned_away:
                await self._announce()
            while not self._complete:
                if self._recycle_due:
                    yield self._streams.encoder.recycle()
                    return
                gap = self._gap()
                if gap is not None:
                    yield gap
                    self._sent_s = self._now()
                for parts in await self._due():
                    if outlet := self.reader.free_outlet:
                        outlet.write(http_chunk(parts))
                        await asyncio.sleep(0)  # the event loop sends it at the end of its turn
                    else:
                        yield b"".join(parts)
                    self._sent_s = self._now()
                self._note_latency()
                if self.lag:
                    # A closed connection takes writes without ever suspending; cancellation must
                    # still get its turn, and so must the other readers.
                    await asyncio.sleep(0)
                elif not self._complete:
                    self._caught_up()
                    await self.reader.wait(self._look_up_s)
                    if self._heartbeat_due:
                        yield self._heartbeat()
                        self._sent_s = self._now()
            self._caught_up()
        except Exception as error:
            _LOG.error("stream failed", exc_info=error, extra={"job_id": self.log.job_id})
            yield self._streams.encoder.recycle()
        finally:
            self._streams.close(self)

    # What ends a stream.

    @property
    def _complete(self) -> bool:
        return self.log.ended and self.reader.cursor == self.log.head

    @property
    def _recycle_due(self) -> bool:
        """Whether the client has to come back, here or elsewhere, with its cursor (§6, §8)."""
        if self._turned_away:
            return True
        if self._options.max_s and self._now() - self._opened_s >= self._options.max_s:
            return True
        lifecycle = self._streams.lifecycle
        return lifecycle.recycling and (
            not self.lag or lifecycle.recycling_for_s >= RECYCLE_DELIVERY_S
        )

    # What is sent.

    def _connection(self) -> bytes:
        data = {
            "job_id": self.log.job_id,
            "status": self.log.status,
            "after": self._requested,
            "latest": self.log.head,
        }
        return self._control("connection", data, retry_ms=self._options.retry_ms)

    def _heartbeat(self) -> bytes:
        return self._control("heartbeat", {"latest": self.log.head})

    def _gap(self) -> bytes | None:
        """Announce what cannot be delivered, and move to the oldest event that can (§4)."""
        requested, earliest = self.reader.cursor, self.log.earliest
        if requested <= self.log.head and requested + 1 >= earliest:
            return None
        self.reader.cursor = max(earliest - 1, 0)
        data = {"requested": requested, "earliest": earliest, "latest": self.log.head}
        return self._control("replay_gap", data)

    def _control(self, name: str, data: object, retry_ms: int | None = None) -> bytes:
        timestamp = self._streams.clock.timestamp()
        return self._streams.encoder.control(name, timestamp, to_json(data), retry_ms)

    async def _due(self) -> Iterable[Sequence[bytes]]:
        """The next write's pieces; moves the cursor. Empty at the head, or without a store."""
        try:
            batch = await self.log.frames(self.reader.cursor, READ_BYTES)
        except StoreUnavailable:
            _LOG.warning("stream waits for the store", extra={"job_id": self.log.job_id})
            await self.reader.wait(min(self._now() + STORE_RETRY_S, self._look_up_s))
            return [[self._heartbeat()]] if self._heartbeat_due else []
        if not batch.data:
            return []
        self.reader.cursor = batch.last
        self._newest_emitted_s = batch.newest_emitted
        return _pieces(batch.data)

    async def _announce(self) -> None:
        """Tell the runner that the subscriber which this job may be waiting for is here."""
        try:
            await self._streams.subscriber_arrived(self.log.job_id)
        except StoreUnavailable:
            # The job starts by itself when its waiting time is over.
            _LOG.warning("subscriber not noted", extra={"job_id": self.log.job_id})

    # What is measured.

    def _note_latency(self) -> None:
        """Count what was just written, unless it was history when this stream began."""
        if self._live and self._newest_emitted_s is not None:
            latency_s = self._streams.clock.now() - self._newest_emitted_s
            self._streams.metrics.event_delivered(latency_s)
        self._newest_emitted_s = None

    def _caught_up(self) -> None:
        if not self._live:
            self._live = True
            self._streams.metrics.replay_finished(self._now() - self._opened_s)

    # When to look up.

    @property
    def _look_up_s(self) -> float:
        heartbeat_s = self._quiet_since_s + self._options.heartbeat_s
        if not self._options.max_s:
            return heartbeat_s
        return min(heartbeat_s, self._opened_s + self._options.max_s)

    @property
    def _heartbeat_due(self) -> bool:
        quiet_s = self._now() - self._quiet_since_s
        return quiet_s >= self._options.heartbeat_s and not self._complete

    @property
    def _quiet_since_s(self) -> float:
        return max(self._sent_s, self.reader.handed_s)


def _pieces(frames: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
    """The writes that carry these frames, each made when its turn comes.

    Small frames travel together; a large one is cut up without having been copied, so that many
    slow readers of it share the whole and pin a slice each.
    """
    together: list[bytes] = []
    size = 0
    for frame in frames:
        if together and size + len(frame) > WRITE_BYTES:
            yield together
            together, size = [], 0
        if len(frame) > WHOLE_FRAME_MAX_BYTES:
            for start in range(0, len(frame), WRITE_BYTES):
                yield [frame[start : start + WRITE_BYTES]]
        else:
            together.append(frame)
            size += len(frame)
    if together:
        yield together
