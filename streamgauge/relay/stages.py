"""What happens to a body on its way, byte by byte, without sockets or clocks.

Each stage takes bytes and gives back those that may go on now; `close` gives back the rest when the
target has ended the body. A cut is a stage as well: behind it nothing comes any more.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Protocol

from ..sse import Parser
from .powers import Powers

HELD_BYTES_MAX = 64 * 1024 * 1024
"""Nothing is held back beyond this; a body that is larger passes on."""
_GZIP = 16 + zlib.MAX_WBITS


class Stage(Protocol):
    """Bytes in, bytes out."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns what may go on."""

    def close(self) -> bytes:
        """The body has ended; returns what is left."""


class Gzip:
    """Compresses, and flushes only at the end."""

    def __init__(self) -> None:
        self._coder = zlib.compressobj(wbits=_GZIP)

    def feed(self, data: bytes) -> bytes:
        return self._coder.compress(data)

    def close(self) -> bytes:
        return self._coder.flush()


class Hold:
    """Holds back until it has `size` bytes, then lets all of them go; or only whole blocks."""

    def __init__(self, size: int, *, blocks: bool = False) -> None:
        self._size = size
        self._blocks = blocks
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._held += data
        if len(self._held) < self._size:
            return b""
        ready = len(self._held) - (len(self._held) % self._size if self._blocks else 0)
        out = bytes(self._held[:ready])
        del self._held[:ready]
        return out

    def close(self) -> bytes:
        out = bytes(self._held)
        self._held.clear()
        return out


class Cut:
    """Lets exactly the bytes before the cut through; `done` tells that it was reached."""

    def __init__(self, powers: Powers) -> None:
        self._left = powers.cut_after
        self._events = powers.cut_events
        self._before_id = powers.cut_before_id
        self._parser = Parser() if self._events is not None or self._before_id else None
        self._passed = 0
        self.done = self._left == 0 or self._events == 0

    def feed(self, data: bytes) -> bytes:
        if self.done:
            return b""
        if self._left is not None:
            data, self.done = data[: self._left], len(data) >= self._left
            self._left -= len(data)
        if self._parser is not None:
            data = self._by_events(data, self._parser)
        self._passed += len(data)
        return data

    def _by_events(self, data: bytes, parser: Parser) -> bytes:
        for block in parser.feed(data, 0.0):
            if self._before_id and block.own_id is not None:
                self.done = True
                # The byte that dispatches may be the first of this piece: then none of it goes on.
                return data[: block.end - 1 - self._passed]
            if self._events is not None and block.event is not None:
                self._events -= 1
                if self._events == 0:
                    self.done = True
                    return data[: block.end - self._passed]
        return data

    def close(self) -> bytes:
        return b""


class Pipeline:
    """The stages that an exchange's powers ask for, one behind the other."""

    def __init__(self, powers: Powers, *, compress: bool, hold_all: bool) -> None:
        self._cut = Cut(powers) if powers.cuts else None
        self._stages = _stages(powers, self._cut, compress=compress, hold_all=hold_all)

    @property
    def cut(self) -> bool:
        return self._cut is not None and self._cut.done

    def feed(self, data: bytes) -> bytes:
        for stage in self._stages:
            if not data:
                break
            data = stage.feed(data)
        return data

    def close(self) -> bytes:
        rest = b""
        for stage in self._stages:
            rest = (stage.feed(rest) if rest else b"") + stage.close()
        return rest


def _stages(powers: Powers, cut: Cut | None, *, compress: bool, hold_all: bool) -> Sequence[Stage]:
    stages: list[Stage] = []
    if compress:
        stages.append(Gzip())
    if hold_all:
        stages.append(Hold(HELD_BYTES_MAX))
    if powers.hold_bytes:
        stages.append(Hold(powers.hold_bytes))
    if powers.block_bytes:
        stages.append(Hold(powers.block_bytes, blocks=True))
    if cut is not None:
        stages.append(cut)
    return stages
