"""Streams as clients get them, what clients made of them, and how far that is from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import NamedTuple

from ..sse import parse

SHOWN_CHARS_MAX = 60
"""Of a text that a client heard, so much is repeated."""


class Heard(NamedTuple):
    """One event as a client dispatched it."""

    type: str
    data: str
    last_event_id: str


@dataclass(frozen=True)
class Stream:
    """A recorded stream: its bytes in the pieces in which they arrived."""

    name: str
    chunks: tuple[bytes, ...]
    content_type: str = "text/event-stream"

    @cached_property
    def truth(self) -> tuple[Heard, ...]:
        return truth(b"".join(self.chunks))

    @property
    def types(self) -> list[str]:
        """Names to listen to: clients hand out nothing that nobody asked for."""
        return sorted({"message", *(event.type for event in self.truth)})


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a client heard a stream wrongly."""

    stream: str
    kind: str
    """`extra`, `missed`, `changed`, or `failed` where the client gave up."""
    count: int
    example: str
    """The first of them, in words."""


@dataclass(frozen=True, slots=True)
class Witness:
    """One client's hearing of a run's streams."""

    client: str
    version: str = ""
    streams: int = 0
    events: int = 0
    """How many events the streams really have."""
    differences: tuple[Difference, ...] = ()
    left_out: str = ""
    """Why this client heard nothing, and how to let it; empty where it did."""


def truth(body: bytes) -> tuple[Heard, ...]:
    """What a client that follows the standard dispatches."""
    return tuple(
        Heard(block.event.type, block.event.data, block.event.last_event_id)
        for block in parse(body)
        if block.event is not None
    )


def differences(
    stream: str, expected: Sequence[Heard], heard: Sequence[Heard], failure: str = ""
) -> tuple[Difference, ...]:
    """How what was heard differs from the truth, one entry for each kind of difference.

    Args:
        stream: the stream's name.
        expected: the truth.
        heard: what the client dispatched.
        failure: why it stopped before the end, "" where it did not.
    """
    found: dict[str, list[str]] = {}
    matcher = SequenceMatcher(None, expected, heard, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            continue
        missed, extra = list(expected[i:j]), list(heard[k:m])
        for due in list(missed):
            twin = next((each for each in extra if _resembles(due, each)), None)
            if twin is not None:
                missed.remove(due)
                extra.remove(twin)
                found.setdefault("changed", []).append(_changed(due, twin))
        before = expected[i - 1].last_event_id if i else ""
        where = f"after id {before!r}" if before else "at the beginning"
        for due in missed:
            found.setdefault("missed", []).append(f"{_shown(due)}, {where}, is not heard")
        for each in extra:
            found.setdefault("extra", []).append(f"{_shown(each)}, {where}, is heard and is none")
    if failure:
        found["failed"] = [failure]
    return tuple(Difference(stream, kind, len(all_), all_[0]) for kind, all_ in found.items())


def _resembles(due: Heard, heard: Heard) -> bool:
    """The same event, heard with one thing wrong."""
    return sum(a == b for a, b in zip(due, heard, strict=True)) == len(due) - 1


def _changed(due: Heard, heard: Heard) -> str:
    for name, wanted, got in zip(("type", "data", "last event id"), due, heard, strict=True):
        if wanted != got:
            return f"{_shown(due)}: {name} is heard as {_cut(got)}"
    return _shown(due)


def _shown(event: Heard) -> str:
    return f"event {_cut(event.type)}, id {_cut(event.last_event_id)}, data {_cut(event.data)}"


def _cut(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…")
