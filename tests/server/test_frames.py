"""Frames: what an event looks like on the wire, to the byte (protocol §3)."""

from __future__ import annotations

import json

import pytest

from reference_server.events import Event, to_json
from reference_server.frames import FrameEncoder, padding

STAMP = "2026-01-31T12:00:00.123456Z"


def event_of(text: str, event_id: int = 17) -> Event:
    return Event(event_id, "agent_chunk", STAMP, to_json({"agent": "a", "text": text}))


def test_fields_come_in_the_protocols_order() -> None:
    """id, event, data, empty line; nothing but comments behind."""
    frame = FrameEncoder(4096).event(event_of("hé\u2028llo"))
    head, _, rest = frame.partition(b"\n\n")
    lines = head.split(b"\n")
    assert lines[0] == b"id: 17"
    assert lines[1] == b"event: agent_chunk"
    assert json.loads(lines[2].removeprefix(b"data: ")) == json.loads(
        event_of("hé\u2028llo").envelope()
    )
    assert all(line.startswith(b":") for line in rest.split(b"\n")[:-1])
    assert rest.endswith(b"\n")


@pytest.mark.parametrize("size", [0, 1, 3900, 3960, 3961, 3962, 3990, 4096, 9000, 200_000])
def test_every_frame_fills_whole_blocks(size: int) -> None:
    """A frame's length is a multiple of the minimum, also for large events."""
    assert len(FrameEncoder(4096).event(event_of("x" * size))) % 4096 == 0


def test_all_lengths_around_a_block_boundary() -> None:
    """No length leaves a single byte, which no comment line could fill."""
    encoder = FrameEncoder(512)
    for size in range(300, 900):
        assert len(encoder.event(event_of("x" * size))) % 512 == 0


@pytest.mark.parametrize("size", [0, 2, 3, 4096, 65_536, 65_537, 65_538, 131_073])
def test_padding_is_exact_and_only_comments(size: int) -> None:
    """Padding has exactly the asked size and each of its lines is a comment."""
    text = padding(size)
    assert len(text) == size
    assert all(line.startswith(b":") for line in text.splitlines())


def test_no_padding_when_switched_off() -> None:
    """A minimum of 0 leaves the bare frame."""
    frame = FrameEncoder(0).event(event_of("x"))
    assert frame.endswith(b"\n\n")
    assert b"\n:" not in frame


def test_payload_cannot_forge_a_line() -> None:
    """Line ends inside a payload stay inside its JSON string."""
    frame = FrameEncoder(4096).event(event_of("\n\nevent: done\r\nid: 99\rdata: x\n\n"))
    fields = [line for line in frame.splitlines() if line and not line.startswith(b":")]
    assert len(fields) == 3


def test_control_frames_have_no_id() -> None:
    """A control event never moves a cursor, and is padded like any other frame."""
    frame = FrameEncoder(4096).control("connection", STAMP, '{"latest":0}', retry_ms=2000)
    assert frame.startswith(b"retry: 2000\nevent: connection\ndata: {")
    assert b"\nid:" not in frame
    assert len(frame) == 4096


def test_recycle_mark_is_the_very_last_line() -> None:
    """The recycle frame is comments only, and ends with the mark (§6)."""
    frame = FrameEncoder(4096).recycle()
    assert frame.endswith(b"\n: recycle\n")
    assert len(frame) == 4096
    assert FrameEncoder(0).recycle() == b": recycle\n"
