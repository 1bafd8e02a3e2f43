"""An immutable record of one exchange with the target: what was asked, every byte that came, when.

All judgement works on recordings and on nothing else, so that it can be repeated from a saved trace
when the target is long gone. A recording knows no rule: it only answers questions about itself.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from typing import Any, overload

from .members import PLAIN, Members
from .sse import Block, Parser, SseEvent, dispatched


class End(StrEnum):
    """How an exchange ended. Only the first two are the target's orderly doing."""

    COMPLETE = "complete"
    """The message ended by its own framing: last chunk, Content-Length, END_STREAM."""
    CLOSED = "closed"
    """A body without length or chunks ended with the connection, as HTTP/1.0 does."""
    CUT = "cut"
    """The connection ended in the middle of the message."""
    RESET = "reset"
    """The connection was reset (RST, RST_STREAM)."""
    REFUSED = "refused"
    """No connection could be made."""
    PROTOCOL_ERROR = "protocol_error"
    """What came was not HTTP."""
    TIMEOUT = "timeout"
    """The instrument's own bound was reached while it was still open or silent."""
    LEFT = "left"
    """The instrument had seen enough and closed."""


@dataclass(frozen=True, slots=True)
class Read:
    """One read from the connection: body bytes, transfer coding removed."""

    at: float
    """Seconds since the run began (monotonic clock)."""
    data: bytes


class PackedReads(Sequence[Read]):
    """Reads of a body that is kept compressed: hundreds of padded replays fit into memory.

    Looking at it unpacks it anew each time; nothing is cached.
    """

    def __init__(self, times: Sequence[float], sizes: Sequence[int], packed: bytes) -> None:
        self.times = times
        self.sizes = sizes
        self.packed = packed
        """The body, deflated (zlib)."""

    @classmethod
    def pack(cls, reads: Sequence[Read]) -> PackedReads:
        body = b"".join(read.data for read in reads)
        return cls(
            [read.at for read in reads], [len(read.data) for read in reads], zlib.compress(body, 1)
        )

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Read]:
        body = memoryview(zlib.decompress(self.packed))
        position = 0
        for at, size in zip(self.times, self.sizes, strict=True):
            yield Read(at, bytes(body[position : position + size]))
            position += size

    @overload
    def __getitem__(self, index: int) -> Read: ...
    @overload
    def __getitem__(self, index: slice) -> list[Read]: ...
    def __getitem__(self, index: int | slice) -> Read | list[Read]:
        return list(self)[index]


@dataclass(frozen=True, slots=True)
class Dispatch:
    """An event as a client's listener gets it, and when."""

    at: float
    event: SseEvent
    own_id: str | None
    """The id that its own block had."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Secrets are redacted before this exists."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


@dataclass(frozen=True, eq=False)
class Recording:
    """One exchange, from the first byte of the request to the end of the answer."""

    label: str
    """What this exchange was for, unique within its scenario: "reader-1", "resume after 17"."""
    request: Request
    sent_at: float
    status: int | None = None
    http_version: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """As sent: order, case (HTTP/1.1) and repetitions kept."""
    head_at: float | None = None
    reads: Sequence[Read] = ()
    end: End = End.REFUSED
    ended_at: float = 0.0
    error: str = ""
    """What the network or the HTTP library said, for `end` values that need it."""
    surplus: bytes = b""
    """Bytes that came after the message had ended, where the instrument waited for them."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able facts of the scenario about this exchange (the job, the cursor, the shape)."""
    members: Members = PLAIN
    """Where this target keeps types and ids."""

    def header(self, name: str) -> str | None:
        """The values of a header, joined by comma; None where it is absent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @cached_property
    def body(self) -> bytes:
        return b"".join(read.data for read in self.reads)

    @cached_property
    def json(self) -> Any:
        """The body as JSON, None where it is none."""
        try:
            return json.loads(self.body.decode("utf-8"))
        except (ValueError, RecursionError):
            return None

    @cached_property
    def media_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @cached_property
    def is_stream(self) -> bool:
        return self.status == 200 and self.media_type == "text/event-stream"

    @property
    def timed(self) -> bool:
        """Whether it is known when the bytes arrived."""
        return not self.info.get("untimed")

    @property
    def answered(self) -> bool:
        return self.status is not None

    @property
    def ended_cleanly(self) -> bool:
        return self.end in (End.COMPLETE, End.CLOSED)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The body parsed as an event stream, with arrival times; the last may be incomplete."""
        blocks: tuple[Block, ...] | None = self.__dict__.get("blocks")
        if blocks is None:
            blocks = self._parse()
            if not isinstance(self.reads, PackedReads):
                self.__dict__["blocks"] = blocks
        return blocks

    @cached_property
    def dispatches(self) -> tuple[Dispatch, ...]:
        """What the body dispatches, and no more: of a packed body this is kept, its blocks are
        not."""
        if not isinstance(self.reads, PackedReads) or self.members:
            return tuple(
                Dispatch(block.at, block.event, block.own_id)
                for block in self.blocks
                if block.event is not None
            )
        ends, times = list(accumulate(self.reads.sizes)), self.reads.times
        body = zlib.decompress(self.reads.packed)
        return tuple(
            Dispatch(times[bisect_left(ends, end)], event, own_id)
            for end, event, own_id in dispatched(body)
        )

    def _parse(self) -> tuple[Block, ...]:
        parser = Parser()
        blocks: list[Block] = []
        for read in self.reads:
            blocks.extend(parser.feed(read.data, read.at))
        rest = parser.close(self.ended_at)
        if rest is not None:
            blocks.append(rest)
        return tuple(self.members.translated(blocks))

    def arrival(self, offset: int) -> float:
        """When the byte at `offset` of the body arrived."""
        position = 0
        for read in self.reads:
            position += len(read.data)
            if offset < position:
                return read.at
        return self.ended_at


@dataclass(frozen=True, eq=False)
class Bundle:
    """All that one scenario saw: its recordings in the order they began, and its facts."""

    scenario: str
    recordings: tuple[Recording, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able."""
    unable: str = ""
    """Why the scenario could not be carried out (in full), empty when it was."""
    broken: str = ""
    """The suite's own fault: an exception that no target can be blamed for."""
    finished_at: float = 0.0

    def all(self, prefix: str = "") -> tuple[Recording, ...]:
        """Recordings whose label is `prefix`, or begins with it and a blank or slash."""
        return tuple(
            recording
            for recording in self.recordings
            if not prefix
            or recording.label == prefix
            or recording.label.startswith((f"{prefix} ", f"{prefix}/"))
        )

    def get(self, label: str) -> Recording | None:
        return next((r for r in self.recordings if r.label == label), None)

    def start_of(self, recording: Recording) -> Recording | None:
        """The start that made the job which `recording` is about, None where it is not here."""
        job = recording.info.get("job")
        if job is None:
            return None
        return next((r for r in self.recordings if _names_job(r, str(job))), None)


def _names_job(recording: Recording, job_id: str) -> bool:
    if "made" in recording.info:
        return str(recording.info["made"]) == job_id
    return (
        recording.request.method == "POST"
        and isinstance(recording.json, dict)
        and str(recording.json.get("job_id")) == job_id
        and "shape" in recording.info
    )


def outcome(recording: Recording) -> str:
    """What became of an exchange, in words."""
    if recording.status is None:
        said = f" ({recording.error})" if recording.error else ""
        words = {
            "refused": "no connection",
            "timeout": f"no answer within {recording.ended_at - recording.sent_at:.1f} s",
            "left": "no answer before the suite had to go on",
        }
        return words.get(recording.end.value, f"the connection ended: {recording.end.value}") + said
    excerpt = recording.body[:160].decode("utf-8", "replace").strip()
    more = f": {excerpt}" if excerpt and recording.status >= 300 else ""
    return f"status {recording.status}{more}"
