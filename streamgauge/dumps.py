"""What `curl -i -N` printed, read back: heads and bodies of one transfer, with no times.

Only the last answer of a transfer is the one that was asked for; interim answers, redirects and
challenges may stand before it. What follows the head of an event stream is its body to the last
byte: were a second head in there, it would be a fault of the stream and no other answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_STATUS: Final = re.compile(rb"HTTP/(1\.[01]|2|2\.0|3|3\.0) ([1-5]\d\d)(?: [^\r\n]*)?\r?\n")
_HEAD_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*\r?\n")
_EMPTY: Final = re.compile(rb"\r?\n")
_CHUNK_SIZE: Final = re.compile(rb"\A[0-9A-Fa-f]{1,8}(;[^\r\n]*)?\r\n")
#: Answers that curl goes on from: a redirect, or a challenge of the target or of a proxy.
_GOES_ON: Final = (301, 302, 303, 307, 308, 401, 407)
HEAD_LINES_MAX: Final = 1000


class DumpError(Exception):
    """What is wrong with a dump, and where; without the file's name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a dump."""

    http_version: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return next((v for n, v in self.headers if n.lower() == name.lower()), "")


def answers(data: bytes) -> list[Answer]:
    """The answers of a dump in their order, interim ones left out.

    Raises:
        DumpError: it is not what `curl -i` prints.
    """
    found: list[Answer] = []
    position = 0
    while position < len(data):
        status, version, headers, position = _head(data, position)
        if 100 <= status < 200 or _STATUS.match(data, position):
            continue  # interim, or a proxy's answer to CONNECT: no body
        end = _body_end(data, position, status, headers)
        answer = Answer(version, status, headers, data[position:end])
        if "chunked" in answer.header("transfer-encoding") and _CHUNK_SIZE.match(answer.body):
            raise DumpError(
                f"line {_line(data, position)}: the body still has its chunk sizes: call curl "
                "without --raw"
            )
        found.append(answer)
        position = end
    if not found:
        raise DumpError("there is no answer in it")
    return found


def _head(data: bytes, start: int) -> tuple[int, str, tuple[tuple[str, str], ...], int]:
    first = _STATUS.match(data, start)
    if first is None:
        shown = data[start : start + 40].split(b"\n")[0]
        raise DumpError(
            f"line {_line(data, start)}: expected a status line such as 'HTTP/1.1 200 OK', got "
            f"{shown!r} (make it with: curl -i -N -s URL > FILE)"
        )
    headers: list[tuple[str, str]] = []
    position = first.end()
    while (end := _EMPTY.match(data, position)) is None:
        line = _HEAD_LINE.match(data, position)
        if line is None or len(headers) > HEAD_LINES_MAX:
            raise DumpError(
                f"line {_line(data, position)} (offset {position:,}): expected 'Name: value' or "
                f"the empty line that ends the head, got {data[position : position + 40]!r}"
            )
        headers.append((line[1].decode("ascii"), line[2].decode("latin-1")))
        position = line.end()
    version = first[1].decode("ascii").removesuffix(".0") if first[1] != b"1.0" else "1.0"
    return int(first[2]), f"HTTP/{version}", tuple(headers), end.end()


def _body_end(data: bytes, start: int, status: int, headers: tuple[tuple[str, str], ...]) -> int:
    length = next((v for n, v in headers if n.lower() == "content-length"), "")
    if length.isdecimal() and len(length) < 16:
        return min(start + int(length), len(data))
    if status in (204, 304):
        return start
    if status in _GOES_ON and (following := _STATUS.search(data, start)):
        return following.start()
    return len(data)


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
