"""The framing of HTTP/1.1 answers, as little of it as reading event streams takes.

Bytes in, bytes out: nothing here opens a socket, so that it serves those who read by the hundred,
whatever their event loop is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

HEAD_BYTES_MAX: Final = 65_536
CHUNK_LINE_MAX: Final = 256


Headers = Iterable[tuple[str, str]]


class WireError(Exception):
    """An exchange failed; the message says how, in one line."""


class NoConnection(WireError):
    """Nobody answered at the address."""


class Cut(WireError):
    """The connection ended before the answer did."""


class NotHttp(WireError):
    """What came is not HTTP/1.1."""


def said(error: BaseException | None) -> str:
    """What the system said of an error, without its number."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


class Body(Protocol):
    """A message's framing: bytes of the connection in, bytes of the body out."""

    ended: bool

    def feed(self, data: bytes) -> bytes:
        """Raises NotHttp."""

    def cut(self) -> bool:
        """The connection has ended: whether that cut the body off."""


class ChunkedBody:
    """Chunked transfer coding (RFC 9112 §7.1); extensions and trailers are passed over."""

    __slots__ = ("_left", "_line", "_size", "_tail", "ended")

    def __init__(self) -> None:
        self.ended = False
        self._left = 0
        """Bytes of the open chunk that are still to come, its line end included."""
        self._tail = b""
        self._line = b"\0"
        """The last chunk's first line: frames of one size make chunks of one size."""
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        if self._tail:
            data, self._tail = self._tail + data, b""
        parts: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.ended:
            left = self._left
            if not left and data.startswith(self._line, at):
                begin = at + len(self._line)
                end = begin + self._size
                if data[end : end + 2] == b"\r\n":
                    parts.append(data[begin:end])
                    at = end + 2
                    continue
            if left > 2:
                end = at + left - 2
                if end > size:
                    parts.append(data[at:])
                    self._left = left - (size - at)
                    return b"".join(parts)
                parts.append(data[at:end])
                at, self._left = end, 2
                continue
            if left:
                if size - at < 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise NotHttp(f"a chunk is followed by {data[at : at + 2]!r}")
                at, self._left = at + 2, 0
                continue
            at = self._begin(data, at)
            if at < 0:
                at = -at - 1
                break
        self._tail = data[at:] if at < size else b""
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _begin(self, data: bytes, at: int) -> int:
        """Read a chunk's first line; where the next byte is, or -1 - `at` where more must come."""
        end = data.find(b"\r\n", at, at + CHUNK_LINE_MAX)
        if end < 0:
            if len(data) - at >= CHUNK_LINE_MAX:
                raise NotHttp("a chunk's first line does not end")
            return -1 - at
        digits = data[at:end].split(b";", 1)[0].strip()
        try:
            length = int(digits, 16)
        except ValueError:
            raise NotHttp(f"a chunk's length is {digits[:20]!r}") from None
        if length:
            self._left = length + 2
            self._line, self._size = data[at : end + 2], length
            return end + 2
        trailer = data.find(b"\r\n\r\n", end)
        if trailer < 0:
            return -1 - at
        self.ended = True
        return trailer + 4

    def cut(self) -> bool:
        return not self.ended


class CountedBody:
    """A body whose length the head tells."""

    __slots__ = ("_left", "ended")

    def __init__(self, length: int) -> None:
        self._left = length
        self.ended = length == 0

    def feed(self, data: bytes) -> bytes:
        part = data[: self._left]
        self._left -= len(part)
        self.ended = self._left == 0
        return part

    def cut(self) -> bool:
        return not self.ended


class OpenBody:
    """A body that the end of the connection ends: nobody can tell a cut from an end."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        return data

    def cut(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's status line and header fields."""

    status: int
    fields: dict[str, str]
    """By lower-case name; repeated ones joined by a comma."""

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        """Raises NotHttp."""
        first, *lines = raw.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
            raise NotHttp(f"expected an HTTP/1.1 status line, got {first[:60]!r}")
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return cls(int(words[1]), fields)

    def body(self) -> Body:
        """How the answer's body is framed (RFC 9112 §6.3)."""
        if self.status in (204, 304) or self.status < 200:
            return CountedBody(0)
        if "chunked" in self.fields.get("transfer-encoding", "").lower():
            return ChunkedBody()
        length = self.fields.get("content-length", "")
        return CountedBody(int(length)) if length.isdigit() else OpenBody()


def take_head(raw: bytes) -> tuple[Head, bytes] | None:
    """The head of the final answer and the bytes behind it; None while it has not all come.

    Raises NotHttp.
    """
    while True:
        if not b"HTTP/1.".startswith(raw[:7]):
            raise NotHttp(f"expected HTTP/1.1, got {raw[:20]!r}")
        end = raw.find(b"\r\n\r\n")
        if end < 0:
            if len(raw) > HEAD_BYTES_MAX:
                raise NotHttp("the answer's head does not end")
            return None
        head = Head.parse(raw[:end])
        raw = raw[end + 4 :]
        if head.status >= 200:
            return head, raw


def request_bytes(
    authority: str, method: str, target: str, headers: Headers, body: bytes | None = None
) -> bytes:
    """A request as it is sent."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}", "User-Agent: streamgauge"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")
