"""Turns events into the bytes that carry them on the wire (protocol §3).

This is the only place that knows what a frame looks like. A frame depends on nothing but the event
and the configured minimum, so it is encoded once per instance and shared by every reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .events import Event, to_json

_COLON: Final = b":"
_SPACE: Final = b" "
_LINE_END: Final = b"\n"
#: The smallest comment line that can be written: a colon and its line end.
_COMMENT_MIN_BYTES: Final = 2
#: One padding line is at most this long: some parsers limit the length of a line.
_COMMENT_MAX_BYTES: Final = 65_536
_RECYCLE: Final = b": recycle\n"


class FrameEncoder:
    """Encodes frames and fills each one up to the next multiple of `frame_min_bytes`."""

    def __init__(self, frame_min_bytes: int) -> None:
        self._block_bytes = frame_min_bytes

    def event(self, event: Event) -> bytes:
        """The frame of a stored event: id, event, data, empty line, then padding."""
        text = f"id: {event.id}\nevent: {event.type}\ndata: {event.envelope()}\n\n"
        return self._filled(text.encode())

    def control(self, name: str, timestamp: str, data: str, retry_ms: int | None = None) -> bytes:
        """The frame of a control event. It has no id, so it never moves a reader's cursor."""
        retry = "" if retry_ms is None else f"retry: {retry_ms}\n"
        text = (
            f"{retry}event: {name}\n"
            f'data: {{"type":{to_json(name)},"timestamp":{to_json(timestamp)},"data":{data}}}\n\n'
        )
        return self._filled(text.encode())

    def recycle(self) -> bytes:
        """The mark that ends a stream on purpose; its last line is the mark itself (§6)."""
        return padding(self._missing_bytes(len(_RECYCLE))) + _RECYCLE

    def _filled(self, frame: bytes) -> bytes:
        return frame + padding(self._missing_bytes(len(frame)))

    def _missing_bytes(self, used_bytes: int) -> int:
        if self._block_bytes == 0:
            return 0
        missing = -used_bytes % self._block_bytes
        while 0 < missing < _COMMENT_MIN_BYTES:
            missing += self._block_bytes
        return missing


def http_chunk(parts: Sequence[bytes]) -> bytes:
    """Frames as one chunk of HTTP/1.1's chunked coding (RFC 9112 §7.1), copied once; not empty."""
    return b"".join((b"%x\r\n" % sum(map(len, parts)), *parts, b"\r\n"))


def padding(size_bytes: int) -> bytes:
    """Comment lines of exactly `size_bytes` bytes; 0 or at least 2."""
    if _COMMENT_MIN_BYTES <= size_bytes <= _COMMENT_MAX_BYTES:
        return b":%b\n" % (_SPACE * (size_bytes - _COMMENT_MIN_BYTES))
    lines: list[bytes] = []
    while size_bytes > 0:
        line_bytes = min(size_bytes, _COMMENT_MAX_BYTES)
        if 0 < size_bytes - line_bytes < _COMMENT_MIN_BYTES:
            line_bytes -= _COMMENT_MIN_BYTES
        lines.append(_COLON + _SPACE * (line_bytes - _COMMENT_MIN_BYTES) + _LINE_END)
        size_bytes -= line_bytes
    return b"".join(lines)
