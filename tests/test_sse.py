"""The parser says what WHATWG HTML §9.2.5 and §9.2.6 say, wherever the reads happen to be cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.sse import RETRY_DIGITS_MAX, Block, Parser, SseEvent, dispatched, parse

BOM = b"\xef\xbb\xbf"


def message(data: str, last_event_id: str = "", type: str = "message") -> SseEvent:
    return SseEvent(type, data, last_event_id)


def events(blocks: Iterable[Block]) -> list[SseEvent]:
    return [block.event for block in blocks if block.event is not None]


#: name: (body, what is dispatched)
CORPUS: dict[str, tuple[bytes, list[SseEvent]]] = {
    "spec-stock-ticker": (
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        [message("YHOO\n+2\n10")],
    ),
    "spec-four-blocks": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
        [message("first event", "1"), message("second event")],
    ),
    "spec-four-blocks-complete": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
        b"data:  third event\n\n",
        [message("first event", "1"), message("second event"), message(" third event")],
    ),
    "spec-empty-data": (b"data\n\ndata\ndata\n\ndata:", [message(""), message("\n")]),
    "spec-optional-space": (b"data:test\n\ndata: test\n\n", [message("test"), message("test")]),
    "spec-introduction": (
        b"data: This is the first message.\n\n"
        b"data: This is the second message, it\ndata: has two lines.\n\n"
        b"data: This is the third message.\n\n",
        [
            message("This is the first message."),
            message("This is the second message, it\nhas two lines."),
            message("This is the third message."),
        ],
    ),
    "spec-event-types": (
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
        [
            message("73857293", type="add"),
            message("2153", type="remove"),
            message("113411", type="add"),
        ],
    ),
    "bom": (BOM + b"data: a\n\n", [message("a")]),
    "bom-twice": (BOM + BOM + b"data: a\n\ndata: b\n\n", [message("b")]),
    "bom-later": (b"data: a\n\n" + BOM + b"data: b\n\ndata: c\n\n", [message("a"), message("c")]),
    "bom-in-data": (b"data: " + BOM + b"a\n\n", [message("\ufeffa")]),
    "bom-alone": (BOM, []),
    "bom-half": (BOM[:2] + b"\ndata: a\n\n", [message("a")]),
    "bom-then-empty-line": (BOM + b"\r\n\r\ndata: a\n\n", [message("a")]),
    "cr": (b"data: a\rid: 1\r\rdata: b\r\r", [message("a", "1"), message("b", "1")]),
    "crlf": (
        b"data: a\r\nid: 1\r\n\r\ndata: b\r\n\r\n",
        [message("a", "1"), message("b", "1")],
    ),
    "mixed-line-ends": (
        b"data: a\rdata: b\ndata: c\r\n\ndata: d\n\r\ndata: e\r\r\ndata: f\n\r",
        [message("a\nb\nc"), message("d"), message("e"), message("f")],
    ),
    "lf-cr-is-two-ends": (b"data: a\n\rdata: b\n\n", [message("a"), message("b")]),
    "other-breaks-are-data": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1eg\n\n".encode(),
        [message("a\u2028b\u2029c\u0085d\x0be\x0cf\x1eg")],
    ),
    "comments": (b":\n: a\n:data: b\n\n: c\ndata: d\n: e\n\n", [message("d")]),
    "comment-after-id": (b"id: 1\ndata: a\n\n: hb\n\n", [message("a", "1")]),
    "id-persists": (b"id: 7\ndata: a\n\ndata: b\n\n", [message("a", "7"), message("b", "7")]),
    "id-empty-resets": (b"id: 7\ndata: a\n\nid:\ndata: b\n\n", [message("a", "7"), message("b")]),
    "id-with-nul-is-ignored": (
        b"id: 7\ndata: a\n\nid: 8\x009\ndata: b\n\n",
        [message("a", "7"), message("b", "7")],
    ),
    "id-last-one-wins": (b"id: 1\nid: 2\nid: \x00\ndata: a\n\n", [message("a", "2")]),
    "id-alone-dispatches-nothing": (b"id: 5\n\ndata: a\n\n", [message("a", "5")]),
    "id-pending-at-the-end": (b"data: a\n\nid: 5\n", [message("a")]),
    "type-does-not-persist": (
        b"event: x\ndata: a\n\ndata: b\n\n",
        [message("a", type="x"), message("b")],
    ),
    "type-alone-dispatches-nothing": (b"event: x\n\ndata: a\n\n", [message("a")]),
    "type-empty-is-message": (b"event: x\nevent\ndata: a\n\n", [message("a")]),
    "data-with-empty-lines": (b"data: a\ndata\ndata:\ndata: \n\n", [message("a\n\n\n")]),
    "data-lone-colon": (b"data:\n\n", [message("")]),
    "one-space-only": (b"data:  a \ndata:\tb\n\n", [message(" a \n\tb")]),
    "colon-in-value": (b"data: a: b:c\n\n", [message("a: b:c")]),
    "names-are-exact": (b"Data: a\n data: b\ndata : c\ndatas: d\ndat: e\n\n", []),
    "unknown-fields": (b"foo: a\nbar\ndata: b\n\n", [message("b")]),
    "multibyte": (
        "id: é\nevent: 日本\ndata: 🙂€\n\n".encode(),
        [message("🙂€", "é", "日本")],
    ),
    "bad-utf8": (b"data: a\xff\xe2\x82\n\n", [message("a\ufffd\ufffd")]),
    "nul-in-data": (b"data: a\x00b\n\n", [message("a\x00b")]),
    "incomplete-line": (b"data: a\n\ndata: b", [message("a")]),
    "incomplete-block": (b"data: a\n\ndata: b\n", [message("a")]),
    "empty-lines-alone": (b"\n\n\r\n\r\r\n", []),
    "empty": (b"", []),
}


def feed(parser: Parser, pieces: Iterable[bytes]) -> list[Block]:
    """Feed pieces so that each arrives at the offset of its last byte."""
    blocks: list[Block] = []
    for piece in pieces:
        blocks += parser.feed(piece, float(parser.offset + len(piece) - 1))
    rest = parser.close(float(parser.offset))
    return [*blocks, rest] if rest is not None else blocks


def timeless(blocks: Iterable[Block]) -> list[object]:
    """All that blocks say apart from arrival times."""
    return [
        (
            block.start,
            block.end,
            [(line.offset, line.raw) for line in block.lines],
            block.event,
            block.own_id,
            block.complete,
        )
        for block in blocks
    ]


def cut(body: bytes, *positions: int) -> list[bytes]:
    edges = [0, *sorted(positions), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("name", CORPUS)
def test_exactly_what_the_specification_says_is_dispatched(name: str) -> None:
    """A body dispatches the events that the standard's algorithm gives, no more and no fewer."""
    body, expected = CORPUS[name]
    assert events(parse(body)) == expected


@pytest.mark.parametrize("name", CORPUS)
def test_no_split_point_changes_the_result(name: str) -> None:
    """Cut in two anywhere, in three anywhere, or in single bytes: the same blocks and offsets."""
    body, _ = CORPUS[name]
    whole = Parser()
    expected = timeless(feed(whole, [body]))
    for first in range(len(body) + 1):
        for second in (first, *range(first + 1, min(first + 4, len(body) + 1))):
            parser = Parser()
            assert timeless(feed(parser, cut(body, first, second))) == expected
            assert parser.last_event_id == whole.last_event_id
            assert parser.had_bom == whole.had_bom
    single = Parser()
    assert timeless(feed(single, cut(body, *range(1, len(body))))) == expected


@pytest.mark.parametrize("name", CORPUS)
def test_times_are_those_of_the_bytes(name: str) -> None:
    """In single bytes, each arriving at its own offset, every time equals its byte's offset."""
    body, _ = CORPUS[name]
    for block in feed(Parser(), cut(body, *range(1, len(body)))):
        assert block.first_at == block.start == block.lines[0].offset
        assert block.at == (block.end - 1 if block.complete else len(body))
        for line in block.lines:
            end = line.offset + len(line.raw)
            assert body[line.offset : end] == line.raw
            assert line.at == end


def test_a_line_that_came_in_pieces_arrived_with_the_last_of_them() -> None:
    """A block begins with its first byte, a line is there with its end, an event with its last."""
    parser = Parser()
    assert parser.feed(b"data: a\n\nid", 1.0)[0].at == 1.0
    assert parser.feed(b": 1", 2.0) == []
    assert parser.feed(b"\ndata: b\n", 3.0) == []
    (block,) = parser.feed(b"\n", 4.0)
    assert (block.first_at, [line.at for line in block.lines], block.at) == (1.0, [3.0, 3.0], 4.0)


def test_a_cr_dispatches_without_waiting_for_what_follows() -> None:
    """A CR that ends a read ends its line at once; an LF in the next read ends no other line."""
    parser = Parser()
    (block,) = parser.feed(b"data: a\r\n\r", 1.0)
    assert (block.end, block.at) == (10, 1.0)
    assert parser.feed(b"\n", 2.0) == []
    (block,) = parser.feed(b"data: b\n\n", 3.0)
    assert (block.start, block.lines[0].offset, block.first_at) == (11, 11, 3.0)


def test_an_empty_read_changes_nothing() -> None:
    """A read of no bytes between CR and LF, or at the start, is as if it had not been."""
    parser = Parser()
    pieces = [b"", BOM[:1], b"", BOM[1:], b"data: a\r", b"", b"\n", b"", b"\r", b"", b"\n"]
    assert events(feed(parser, pieces)) == [message("a")]
    assert parser.had_bom


@pytest.mark.parametrize(
    ("line", "retry_ms"),
    [
        (b"retry: 2000", 2000),
        (b"retry:0", 0),
        (b"retry: 007", 7),
        (b"retry: 1.5", None),
        (b"retry: 1e3", None),
        (b"retry: -1", None),
        (b"retry: +1", None),
        (b"retry:  1", None),
        (b"retry: 1 ", None),
        (b"retry", None),
        ("retry: ٣".encode(), None),
        (b"Retry: 1", None),
    ],
)
def test_only_ascii_digits_set_the_retry_time(line: bytes, retry_ms: int | None) -> None:
    """A retry of anything but ASCII digits is ignored, also in a block that the end cuts off."""
    for rest in (b"\n\n", b"\n"):
        parser = Parser()
        feed(parser, [line + rest])
        assert parser.retry_ms == retry_ms


def test_a_retry_line_without_end_is_ignored() -> None:
    """A line that the end of the stream cut off may be half a number."""
    parser = Parser()
    feed(parser, [b"retry: 20"])
    assert parser.retry_ms is None


def test_an_absurd_retry_costs_no_time() -> None:
    """Any number of digits is read at once, and as a number of bounded size."""
    parser = Parser()
    feed(parser, [b"retry: " + b"9" * 1_000_000 + b"\n\n"])
    assert parser.retry_ms == int("9" * RETRY_DIGITS_MAX)


def test_what_clients_hide_is_kept() -> None:
    """Comments, unknown fields, and the offset of the first field behind padding stay visible."""
    first, second, third = parse(b": pad\n\n: x\nid: 1\nfoo: y\n\n: end\n")
    assert (first.first_field, first.own_id, len(first.comments)) == (None, None, 1)
    assert (second.start, second.first_field, second.end) == (7, 11, 25)
    assert [line.name for line in second.fields] == [b"id", b"foo"]
    assert [line.value for line in second.fields] == [b"1", b"y"]
    assert (second.own_id, second.event) == ("1", None)
    assert (third.complete, third.end) == (False, 31)


def test_padding_behind_an_event_opens_the_next_block() -> None:
    """A frame reaches from field to field, so its own padding is the head of the next block."""
    frame = b"id: 1\ndata: a\n\n:" + b" " * 80 + b"\n"
    blocks = parse(frame * 3)
    starts = [block.first_field for block in blocks[:3]]
    assert starts == [0, len(frame), 2 * len(frame)]
    assert not blocks[3].complete and blocks[3].first_field is None


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
def test_a_long_line_in_small_pieces_takes_linear_time(end: bytes) -> None:
    """A megabyte that comes in pieces of 16 bytes is joined once, not once a piece."""
    body = b"data: " + b"x" * (1 << 20) + end + end
    pieces = [body[at : at + 16] for at in range(0, len(body), 16)]
    (block,) = [block for block in feed(Parser(), pieces) if block.event]
    assert block.event == message("x" * (1 << 20))


# --- properties -----------------------------------------------------------------------------------

lines = st.one_of(
    st.sampled_from([b"", b"", b"data", b"data:", b"id", b":", b"event: x", b"retry: 5", BOM]),
    st.builds(
        lambda name, colon, value: name + colon + value,
        st.sampled_from([b"data", b"id", b"event", b"retry", b"foo", b"", b"Data"]),
        st.sampled_from([b":", b": ", b":  ", b""]),
        st.sampled_from([b"a", b"1", b"\x00", b"\xff", "é€🙂".encode(), b":", b" "]),
    ),
)
bodies = st.one_of(
    st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=12).map(
        lambda pairs: b"".join(line + end for line, end in pairs)
    ),
    st.binary(max_size=60),
)
#: Bodies that the quick way does not leave to the parser.
lf_bodies = st.lists(lines, max_size=16).map(b"\n".join)


def naive(body: bytes) -> tuple[list[SseEvent], int | None]:
    """The standard's algorithm, written down as it stands there and without a thought for speed."""
    text = body.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    data, event_type, id_buffer, retry = "", "", "", None
    found: list[SseEvent] = []
    for line in text.split("\n")[:-1]:
        if line == "":
            if data:
                found.append(message(data[:-1], id_buffer, event_type or "message"))
            data, event_type = "", ""
            continue
        name, colon, value = line.partition(":")
        if colon and not name:
            continue
        value = value.removeprefix(" ")
        if name == "data":
            data += value + "\n"
        elif name == "event":
            event_type = value
        elif name == "id" and "\x00" not in value:
            id_buffer = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry = int(value)
    return found, retry


@settings(max_examples=300, deadline=None)
@given(body=st.one_of(bodies, bodies.map(lambda body: BOM + body)), data=st.data())
def test_any_body_in_any_pieces_is_what_the_plain_algorithm_says(
    body: bytes, data: st.DataObject
) -> None:
    """Any bytes, cut anywhere, dispatch the standard's events and yield the blocks of one piece."""
    positions = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    parser = Parser()
    blocks = feed(parser, cut(body, *positions))
    assert (events(blocks), parser.retry_ms) == naive(body)
    assert timeless(blocks) == timeless(parse(body))
    assert timeless(feed(Parser(), cut(body, *range(1, len(body))))) == timeless(blocks)


@settings(max_examples=100, deadline=None)
@given(body=bodies)
def test_blocks_stand_in_order_and_overlap_nowhere(body: bytes) -> None:
    """Offsets lead back to the very bytes, each of which belongs to one block at most."""
    behind = 0
    for block in parse(body):
        assert behind <= block.start == block.lines[0].offset
        behind = block.start
        for line in block.lines:
            assert line.offset >= behind
            behind = line.offset + len(line.raw)
            assert body[line.offset : behind] == line.raw
        assert behind <= block.end <= len(body)
        behind = block.end


@settings(max_examples=300, deadline=None)
@given(body=st.one_of(bodies, bodies.map(lambda body: BOM + body), lf_bodies))
def test_the_quick_way_dispatches_what_the_parser_does(body: bytes) -> None:
    """If only the events of a body are asked for, then they are those of its blocks."""
    assert list(dispatched(body)) == [
        (block.end, block.event, block.own_id) for block in parse(body) if block.event is not None
    ]
