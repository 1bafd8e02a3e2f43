"""The client of the fan-out benchmark: many streams on one processor, counted and not parsed.

The client must be cheaper than what it measures, so it searches for one mark in what arrives and
looks at nothing else. What the events say is for the conformance suite.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FRAME_BYTES: Final = 4096
#: An event's first field line. The JSON of an event holds no raw line end, so nothing else matches.
MARK: Final = b"\nid:"
#: The same directly behind another frame's padding and not at the start of an HTTP chunk: a write
#: that carried more than one event.
JOINED_MARK: Final = b" " + MARK
#: Too short to hold a whole mark, so that no mark is counted in two reads.
TAIL_BYTES: Final = len(MARK) - 1
READ_BYTES: Final = 262_144
#: Connections that are opened together; fewer than any listen queue holds.
CONNECT_AT_ONCE: Final = 50
WAIT_S: Final = 30.0


class BenchError(Exception):
    """There is no figure, and this is why."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Where a job can be read, and whose processor time counts."""

    address: tuple[str, int]
    path: str
    pid: int


@dataclass(slots=True)
class Reader:
    """One connection of the client."""

    sock: socket.socket
    tail: bytes = b"\0" * TAIL_BYTES
    octets: int = 0
    events: int = 0
    joined: int = 0


class Readers:
    """All readers of one job: they count events and look at nothing else."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._buffer = bytearray(TAIL_BYTES + READ_BYTES)
        self._view = memoryview(self._buffer)[TAIL_BYTES:]

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers.values():
            reader.sock.close()
        self._epoll.close()

    def connect(self, count: int) -> None:
        """Open the streams; returns when each has its first frame. Raises BenchError."""
        host, port = self._offer.address
        request = (
            f"GET {self._offer.path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Accept: text/event-stream\r\n\r\n"
        ).encode()
        for number in range(1, count + 1):
            sock = socket.create_connection(self._offer.address, timeout=WAIT_S)
            self._readers[sock.fileno()] = Reader(sock)
            sock.sendall(request)
            sock.setblocking(False)
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            if number % CONNECT_AT_ONCE == 0 or number == count:
                self._until(lambda reader: reader.octets >= FRAME_BYTES, "the first frame")

    def until_all_have(self, events: int) -> None:
        """Read until every reader has so many events. Raises BenchError."""
        self._until(lambda reader: reader.events >= events, f"{events} events")

    def stand_at(self, events: int) -> bool:
        """Whether no reader has more or fewer events."""
        return all(reader.events == events for reader in self._readers.values())

    @property
    def joined(self) -> int:
        """Events that travelled behind another one, all readers together."""
        return sum(reader.joined for reader in self._readers.values())

    def settle(self, seconds: float) -> None:
        """Take whatever else arrives until nothing did for so long, or until the limit."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and (ready := self._epoll.poll(seconds)):
            for fd, _ in ready:
                if self._read(fd) == 0:
                    self._epoll.unregister(fd)

    def _until(self, reached: Callable[[Reader], bool], what: str) -> None:
        waiting = {fd for fd, reader in self._readers.items() if not reached(reader)}
        deadline = time.monotonic() + WAIT_S
        while waiting:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise BenchError(
                    f"{len(waiting)} of {len(self._readers)} readers got no {what} in {WAIT_S:g} s"
                )
            for fd, _ in self._epoll.poll(left_s):
                if self._read(fd) == 0:
                    raise BenchError(f"a stream ended before {what}")
                if fd in waiting and reached(self._readers[fd]):
                    waiting.discard(fd)

    def _read(self, fd: int) -> int:
        reader = self._readers[fd]
        size = reader.sock.recv_into(self._view)
        if reader.octets == 0 and bytes(self._view[:12]) != b"HTTP/1.1 200":
            raise BenchError(f"expected a stream, got {bytes(self._view[: min(size, 60)])!r}")
        self._buffer[:TAIL_BYTES] = reader.tail
        found = self._buffer.count(MARK, 0, TAIL_BYTES + size)
        if found > 1:
            reader.joined += self._buffer.count(JOINED_MARK, 0, TAIL_BYTES + size)
        reader.events += found
        reader.tail = bytes(self._buffer[size : size + TAIL_BYTES])
        reader.octets += size
        return size
