"""Chooses the streams that witnesses are given: a handful, each with something the others lack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from ..recording import Bundle, PackedReads, Recording
from .model import Stream

STREAMS_MAX = 6
"""What a browser opens at once over HTTP/1.1."""
STREAM_BYTES_MAX = 192 * 1024
CANDIDATES_MAX = 80
"""Of hundreds of streams, one of each sort is looked at."""

_BOM = b"\xef\xbb\xbf"


def sample(bundles: Iterable[Bundle]) -> tuple[Stream, ...]:
    """A few streams that together show everything which the run's streams have to show."""
    candidates = [(each, features(each)) for each in _sorts(bundles)]
    chosen: list[Stream] = []
    shown: set[str] = set()
    while candidates and len(chosen) < STREAMS_MAX:
        best = max(candidates, key=lambda each: len(each[1] - shown))
        if not best[1] - shown:
            break
        candidates.remove(best)
        shown |= best[1]
        chosen.append(best[0])
    return tuple(chosen)


def features(stream: Stream) -> set[str]:
    """What is special about a stream, for those who read it."""
    body = b"".join(stream.chunks)
    found = {f"event {name}" for name in stream.types} | {stream.name.partition("/")[0]}
    for name, there in (
        ("byte order mark", body.startswith(_BOM)),
        ("carriage returns", b"\r" in body),
        ("NUL", b"\0" in body),
        ("comments", body.startswith(b":") or b"\n:" in body),
        ("comment blocks", b"\n\n:" in body or b"\r\r:" in body),
        ("data in several lines", _has_lines(body)),
        ("octets beyond ASCII", not body.isascii()),
        ("odd content type", stream.content_type.lower() not in _USUAL),
        ("many pieces", len(stream.chunks) > len(stream.truth) + 2),
        ("events", bool(stream.truth)),
    ):
        if there:
            found.add(name)
    return found


_USUAL = (
    "text/event-stream",
    "text/event-stream; charset=utf-8",
    "text/event-stream;charset=utf-8",
)


def _has_lines(body: bytes) -> bool:
    lines = body.split(b"\n")
    return any(a.startswith(b"data") and b.startswith(b"data") for a, b in pairwise(lines))


def _sorts(bundles: Iterable[Bundle]) -> Iterator[Stream]:
    """The first stream of each sort: the same scenario, labels that begin with the same word."""
    known: set[tuple[str, str]] = set()
    for bundle in bundles:
        for recording in bundle.recordings:
            sort = (bundle.scenario, recording.label.split(" ")[0].split("/")[0])
            if sort in known or len(known) >= CANDIDATES_MAX or not _usable(recording):
                continue
            known.add(sort)
            yield Stream(
                f"{bundle.scenario}/{recording.label}",
                _pieces(recording),
                recording.header("content-type") or "text/event-stream",
            )


def _usable(recording: Recording) -> bool:
    coding = (recording.header("content-encoding") or "identity").strip().lower()
    plain = coding == "identity" and not isinstance(recording.reads, PackedReads)
    return recording.is_stream and plain and bool(recording.reads)


def _pieces(recording: Recording) -> tuple[bytes, ...]:
    """The stream as it arrived, up to a bound: the rest is as if the connection had ended."""
    pieces: list[bytes] = []
    left = STREAM_BYTES_MAX
    for read in recording.reads:
        pieces.append(read.data[:left])
        left -= len(pieces[-1])
        if left <= 0:
            break
    return tuple(pieces)
