"""Servers whose frames are too small for the buffers on the way, or padded in the wrong place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .hdr import gzipped
from .model import Mutant, put


def _filled_to(octets: int, *names: str) -> None:
    """Fill the frames of these types up to another size (0: not at all)."""
    from reference_server.frames import FrameEncoder, padding

    event, control = FrameEncoder.event, FrameEncoder.control

    def refilled(frame: bytes) -> bytes:
        head, end, _ = frame.partition(b"\n\n")
        missing = max(octets - len(head + end), 0)
        return head + end + padding(missing if missing != 1 else 2)

    def new_event(self: FrameEncoder, it: Any) -> bytes:
        frame = event(self, it)
        return refilled(frame) if it.type in names else frame

    def new_control(self: FrameEncoder, name: str, *more: Any, **named: Any) -> bytes:
        frame = control(self, name, *more, **named)
        return refilled(frame) if name in names else frame

    put(FrameEncoder, "event", new_event)
    put(FrameEncoder, "control", new_control)


def _measured(measure: Callable[[bytes], int]) -> None:
    """Fill frames up by another way of telling how long they are."""
    from reference_server.frames import FrameEncoder, padding

    def filled(self: FrameEncoder, frame: bytes) -> bytes:
        return frame + padding(self._missing_bytes(measure(frame)))

    FrameEncoder._filled = filled  # type: ignore[method-assign]


def _ascii_escaped(frame: bytes) -> int:
    return len(frame.decode().encode("ascii", "backslashreplace"))


def _spaces_in_data() -> None:
    from reference_server.frames import FrameEncoder

    def filled(self: FrameEncoder, frame: bytes) -> bytes:
        missing = self._missing_bytes(len(frame))
        return frame.removesuffix(b"\n\n") + b" " * missing + b"\n\n"

    FrameEncoder._filled = filled  # type: ignore[method-assign]


def _always_4_kib_more() -> None:
    from reference_server.frames import FrameEncoder, padding

    def filled(self: FrameEncoder, frame: bytes) -> bytes:
        return frame + padding(self._block_bytes)

    FrameEncoder._filled = filled  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="pad-to-4000",
        breaks=("PAD-01",),
        patch=partial(_filled_to, 4000, "metric_update"),
        about="Frames of one type are filled up to 4,000 octets.",
    ),
    Mutant(
        name="pad-all-to-4000",
        breaks=("PAD-01", "PAD-02", "PAD-03"),
        env={"FRAME_MIN_BYTES": "4000"},
        about="All frames are filled up to 4,000 octets: opening, heartbeats and texts as well.",
    ),
    Mutant(
        name="pad-bare-opening",
        breaks=("PAD-02",),
        follows=("PAD-01",),
        patch=partial(_filled_to, 0, "connection"),
        about="The opening is not padded; it is a frame, too.",
    ),
    Mutant(
        name="pad-bare-heartbeats",
        breaks=("PAD-03",),
        follows=("PAD-01",),
        patch=partial(_filled_to, 0, "heartbeat"),
        about="Heartbeats are not padded; they are frames, too.",
    ),
    Mutant(
        name="pad-spaces-in-data",
        breaks=("PAD-04",),
        patch=_spaces_in_data,
        about="Blanks behind the JSON text fill the data line.",
    ),
    Mutant(
        name="pad-ascii-escaped",
        breaks=("PAD-05",),
        follows=("PAD-01",),
        patch=partial(_measured, _ascii_escaped),
        about="Lengths are those of the escaped form: frames with other letters are short.",
    ),
    Mutant(
        name="pad-gzip",
        breaks=("PAD-06",),
        patch=partial(gzipped, flushed=True),
        about="Streams are compressed and flushed: padding takes 40 octets.",
    ),
    Mutant(
        name="pad-always-4-kib-more",
        breaks=("PAD-07",),
        patch=_always_4_kib_more,
        about="Every frame gets 4 KiB of padding, however large it is.",
    ),
]
