"""When the events of a compressed stream can be decoded: a coder that is not flushed holds them."""

from __future__ import annotations

import gzip
import zlib

from streamgauge.recording import Recording
from streamgauge.sse import Parser

DECODABLE = ("gzip", "deflate")


def coding_of(recording: Recording) -> str:
    """The stream's content coding, "identity" for none."""
    return (recording.header("content-encoding") or "identity").strip().lower()


def decoded(recording: Recording, coding: str) -> list[tuple[str, float]]:
    """The ids of the events, each with the moment at which it could be decoded."""
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS if coding == "gzip" else zlib.MAX_WBITS)
    parser, found = Parser(), []
    for read in recording.reads:
        try:
            data = decoder.decompress(read.data)
        except (zlib.error, gzip.BadGzipFile):
            break
        found += [(b.own_id, read.at) for b in parser.feed(data, read.at) if b.own_id]
    return found
