"""The newest frames of one log, ready to be written, and the batches that are cut from them.

Bounded in number and in octets, and never with a hole: what is in here can be handed out without
asking the store.
"""

from __future__ import annotations

from collections import deque
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
    """The newest frames of one log without a hole, bounded in number and in bytes."""

    def __init__(self, events_max: int, bytes_max: int) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._frames: deque[tuple[bytes, str]] = deque()
        self._first = 1
        self.nbytes = 0

    @property
    def next(self) -> int:
        """The id that would go on without a hole."""
        return self._first + len(self._frames)

    def holds(self, event_id: int) -> bool:
        return self._first <= event_id < self.next

    def clear(self) -> None:
        self._frames.clear()
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
        self._frames.append((frame, event.timestamp))
        self.nbytes += len(frame)
        while len(self._frames) > self._events_max or self.nbytes > self._bytes_max:
            self.nbytes -= len(self._frames.popleft()[0])
            self._first += 1

    def batch(self, after: int, max_bytes: int) -> Batch:
        """Frames from `after` + 1 on, which the ring must hold: at least one."""
        data: list[bytes] = []
        size = 0
        timestamp = ""
        for index in range(after + 1 - self._first, len(self._frames)):
            frame, emitted = self._frames[index]
            if data and size + len(frame) > max_bytes:
                break
            data.append(frame)
            size += len(frame)
            timestamp = emitted
        return Batch(data, after + len(data), unix_seconds(timestamp))
