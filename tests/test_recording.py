"""Recordings answer questions about themselves, and only from what was recorded."""

from __future__ import annotations

import pytest

from streamgauge.recording import Bundle, End, PackedReads, Read, Recording, Request

GET = Request("GET", "http://target/stream", (("Accept", "text/event-stream"),))


def recorded(*pieces: bytes, end: End = End.COMPLETE, **more: object) -> Recording:
    """A recording whose n-th read came at second n + 1."""
    reads = tuple(Read(at + 1.0, piece) for at, piece in enumerate(pieces))
    return Recording("r", GET, 0.0, 200, reads=reads, end=end, ended_at=9.0, **more)  # type: ignore[arg-type]


def test_repeated_headers_are_joined_in_order_whatever_their_case() -> None:
    """A header that was sent in several lines reads as one list, as RFC 9110 §5.3 says."""
    recording = recorded(headers=(("Vary", "Origin"), ("X-A", "1"), ("vary", "Accept")))
    assert recording.header("VARY") == "Origin, Accept"
    assert recording.header("x-a") == "1"
    assert recording.header("absent") is None


def test_an_empty_header_is_not_an_absent_one() -> None:
    """A header without value reads as an empty text, not as None."""
    assert recorded(headers=(("Pragma", ""),)).header("pragma") == ""


def test_a_request_header_is_found_whatever_its_case() -> None:
    """Field names of requests are compared without regard to case."""
    assert GET.header("accept") == "text/event-stream"
    assert GET.header("cookie") is None


@pytest.mark.parametrize(
    ("status", "content_type", "is_stream"),
    [
        (200, "text/event-stream", True),
        (200, "Text/Event-Stream ; charset=utf-8", True),
        (200, "text/event-streams", False),
        (200, None, False),
        (404, "text/event-stream", False),
        (None, None, False),
    ],
)
def test_a_stream_is_a_200_of_its_media_type(
    status: int | None, content_type: str | None, is_stream: bool
) -> None:
    """Only a 200 whose media type, without parameters, is text/event-stream is a stream."""
    headers = (("Content-Type", content_type),) if content_type else ()
    recording = Recording("r", GET, 0.0, status, headers=headers)
    assert recording.is_stream is is_stream
    assert recording.answered is (status is not None)


@pytest.mark.parametrize("end", list(End))
def test_only_complete_and_closed_are_clean_ends(end: End) -> None:
    """A message that was cut, reset, refused, timed out or left did not end by itself."""
    assert recorded(end=end).ended_cleanly is (end in (End.COMPLETE, End.CLOSED))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"", None),
        (b"<html>", None),
        (b'"\xff"', None),
        (b"[" * 100_000, None),
    ],
    ids=["object", "empty", "html", "no-utf8", "too-deep"],
)
def test_a_body_that_is_no_json_reads_as_none(body: bytes, value: object) -> None:
    """Whatever the body holds, asking for its JSON raises nothing."""
    assert recorded(body).json == value


def test_blocks_carry_the_times_of_the_reads_that_completed_them() -> None:
    """An event that is split over reads begins with the first and is dispatched by the last."""
    recording = recorded(b"id: 1\nda", b"ta: a\n", b"\nid: 2\n")
    first, rest = recording.blocks
    assert (first.first_at, first.at) == (1.0, 3.0)
    assert [line.at for line in first.lines] == [1.0, 2.0]
    assert first.event is not None and first.event.data == "a"
    assert (rest.complete, rest.event, rest.at) == (False, None, 9.0)


def test_blocks_are_parsed_once_unless_they_are_packed() -> None:
    """Looking twice at a recording costs one parse; a packed one holds on to nothing."""
    loose = recorded(b"data: a\n\n")
    packed = Recording("r", GET, 0.0, 200, reads=PackedReads.pack(loose.reads))
    assert loose.blocks is loose.blocks
    assert packed.blocks == loose.blocks
    assert packed.blocks is not packed.blocks


def test_packed_reads_are_the_same_sequence() -> None:
    """Packing changes where the bytes are kept and nothing else."""
    reads = [Read(0.5, b"id: 1\n"), Read(0.75, b""), Read(1.0, b":" + b" " * 5000)]
    packed = PackedReads.pack(reads)
    assert list(packed) == reads
    assert (len(packed), packed[2], packed[-1], packed[:2]) == (3, reads[2], reads[2], reads[:2])


def test_arrival_is_the_time_of_the_read_that_holds_the_byte() -> None:
    """Each offset belongs to exactly one read; offsets behind the body to the end of it all."""
    recording = recorded(b"ab", b"", b"c")
    assert [recording.arrival(offset) for offset in range(4)] == [1.0, 1.0, 3.0, 9.0]


def test_a_body_that_never_came_has_no_blocks() -> None:
    """A refused connection is a recording like any other."""
    recording = Recording("r", GET, 0.0)
    assert (recording.body, recording.blocks, recording.json) == (b"", (), None)
    assert recording.arrival(0) == 0.0


def test_a_bundle_finds_recordings_by_label_and_by_family() -> None:
    """A prefix is the label, or stands before a blank or slash: no mere beginning of a word."""
    names = ["reader", "reader 1", "reader/2", "readers", "resume 3"]
    bundle = Bundle("s", tuple(Recording(name, GET, 0.0) for name in names))
    assert [r.label for r in bundle.all("reader")] == names[:3]
    assert len(bundle.all()) == 5
    assert bundle.get("readers") is bundle.recordings[3]
    assert bundle.get("read") is None
