"""The framing of HTTP/1.1, without a socket."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.framing import (
    HEAD_BYTES_MAX,
    ChunkedBody,
    CountedBody,
    Head,
    NotHttp,
    OpenBody,
    take_head,
)

PARTS = [b"a", b"x" * 300, b"\r\n0\r\n\r\n", b"end"]
CODED = (
    b"".join(b"%x;note=1\r\n%s\r\n" % (len(part), part) for part in PARTS) + b"0\r\nT: 1\r\n\r\n"
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(points)]


@given(st.lists(st.integers(0, 10_000)))
def test_chunks_are_read_however_they_are_cut(cuts: list[int]) -> None:
    body = ChunkedBody()
    assert b"".join(map(body.feed, pieces(CODED, cuts))) == b"".join(PARTS)
    assert body.ended


def test_chunks_byte_by_byte_and_a_cut_before_the_end() -> None:
    body = ChunkedBody()
    for at in range(len(CODED) - 1):
        body.feed(CODED[at : at + 1])
        assert not body.ended
        assert body.cut()
    body.feed(CODED[-1:])
    assert body.ended
    assert not body.cut()


@pytest.mark.parametrize("coded", [b"zz\r\n", b"3\r\nabcd\r\n", b"1" * 300])
def test_what_is_no_chunk_is_refused(coded: bytes) -> None:
    with pytest.raises(NotHttp):
        ChunkedBody().feed(coded)


def test_a_counted_body_ends_with_its_length() -> None:
    body = CountedBody(5)
    assert body.feed(b"abc") == b"abc"
    assert body.cut()
    assert body.feed(b"defgh") == b"de"
    assert body.ended
    assert not body.cut()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", ChunkedBody),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3", CountedBody),
        (b"HTTP/1.1 204 No Content", CountedBody),
        (b"HTTP/1.0 200 OK\r\nA: b", OpenBody),
    ],
)
def test_the_head_tells_the_framing(head: bytes, kind: type) -> None:
    assert type(Head.parse(head).body()) is kind


def test_another_protocol_is_refused() -> None:
    with pytest.raises(NotHttp, match="SSH"):
        Head.parse(b"SSH-2.0-OpenSSH_9.2")


def test_a_head_is_taken_when_it_is_whole() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    raw = early + b"HTTP/1.1 200 OK\r\nA: b\r\nA: c\r\n\r\nbody"
    for at in range(len(raw) - len(b"body")):
        assert take_head(raw[:at]) is None
    head, rest = take_head(raw) or pytest.fail("the head is whole")
    assert (head.status, head.fields, rest) == (200, {"a": "b, c"}, b"body")


def test_a_head_without_an_end_is_refused() -> None:
    with pytest.raises(NotHttp, match="does not end"):
        take_head(b"HTTP/1.1 200 OK\r\nA: " + b"b" * HEAD_BYTES_MAX)
