"""The newest frames of one log, ready to be written, and the batches that are cut from them.

Bounded in number and in octets, and never with a hole: what is in here can be handed out without
asking the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from .clock import unix_seconds
from .events import Event


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive frames for one write. Readers at the same place share one: leave it unchanged."""

    data: list[bytes]
    last: int
    """Id of the last event in it; the `after` that was asked for where it is empty."""
    newest_emitted: float | None
    """Unix seconds of the last event's emission."""


class HotRing:
    """The newest frames of one log without a hole, bounded in number and in bytes.

    A list with a dead head, which is cut off when it is the longer part: unlike a deque it finds
    its middle at once, where late joiners read.
    """

    def __init__(self, events_max: int, bytes_max: int) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._frames: list[bytes] = []
        self._emitted: list[str] = []
        self._dead = 0
        self._first = 1
        self.nbytes = 0

    @property
    def next(self) -> int:
        """The id that would go on without a hole."""
        return self._first + len(self._frames) - self._dead

    def holds(self, event_id: int) -> bool:
        return self._first <= event_id < self.next

    def clear(self) -> None:
        self._frames.clear()
        self._emitted.clear()
        self._dead = 0
        self.nbytes = 0

    def push(self, event: Event, frame: bytes) -> None:
        """Append; a hole in front of the event, or a frame over the bound, starts anew."""
        if event.id != self.next or len(frame) > self._bytes_max:
            self.clear()
        if not self._frames:
            self._first = event.id
        if len(frame) > self._bytes_max:
            self._first = event.id + 1
            return
        self._frames.append(frame)
        self._emitted.append(event.timestamp)
        self.nbytes += len(frame)
        while len(self._frames) - self._dead > self._events_max or self.nbytes > self._bytes_max:
            self._drop_first()

    def batch(self, after: int, max_bytes: int) -> Batch:
        """Frames from `after` + 1 on, which the ring must hold: at least one."""
        start = end = after + 1 - self._first + self._dead
        size = 0
        while end < len(self._frames):
            size += len(self._frames[end])
            if end > start and size > max_bytes:
                break
            end += 1
        data = self._frames[start:end]
        return Batch(data, after + len(data), unix_seconds(self._emitted[end - 1]))

    def _drop_first(self) -> None:
        self.nbytes -= len(self._frames[self._dead])
        self._frames[self._dead] = b""
        self._dead += 1
        self._first += 1
        if 2 * self._dead > len(self._frames):
            del self._frames[: self._dead], self._emitted[: self._dead]
            self._dead = 0
