"""Servers whose bytes are no proper event stream."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from .model import Mutant, put


def on_frames(change: Callable[[bytes, str], bytes], *names: str) -> None:
    """Change the encoded frames of the event types that are named (all log events: none named).

    `change` gets the frame without its padding and the type, and returns it anew; padding follows.
    """
    from reference_server.frames import FrameEncoder

    event, control = FrameEncoder.event, FrameEncoder.control

    def changed(encoder: FrameEncoder, frame: bytes, name: str) -> bytes:
        head, end, _ = frame.partition(b"\n\n")
        return encoder._filled(change(head + end, name))

    def new_event(self: FrameEncoder, it: Any) -> bytes:
        frame, name = event(self, it), it.type
        return changed(self, frame, name) if not names or name in names else frame

    def new_control(self: FrameEncoder, name: str, *more: Any, **named: Any) -> bytes:
        frame = control(self, name, *more, **named)
        return changed(self, frame, name) if name in names else frame

    put(FrameEncoder, "event", new_event)
    put(FrameEncoder, "control", new_control)


def _on_padding(change: Callable[[bytes], bytes]) -> None:
    """Change the comment lines that fill frames."""
    from reference_server import frames

    padding = frames.padding
    put(frames, "padding", lambda size: change(padding(size)))


def _on_texts(change: Callable[[str], str]) -> None:
    """Change the free text of events before it is stored, so that all views agree about it."""
    from reference_server import payloads
    from reference_server.redaction import redact

    put(payloads, "redact", lambda text: change(redact(text)))


def _latin1_padding() -> None:
    _on_padding(lambda comment: comment.replace(b":   ", b": \xe9 ", 1))


def _latin1_payload() -> None:
    on_frames(lambda frame, _: frame.replace("ö".encode(), b"\xf6"), "agent_chunk")


def _pending_field() -> None:
    from reference_server import stream

    chunks = stream.Stream.chunks

    async def with_rest(self: stream.Stream) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks(self):
            yield chunk
        if self._complete:
            yield b"retry: 2000\n"

    stream.Stream.chunks = with_rest  # type: ignore[method-assign]


def _raw_newlines() -> None:
    from reference_server.frames import FrameEncoder

    event = FrameEncoder.event

    def f_string(self: FrameEncoder, it: Any) -> bytes:
        frame = event(self, it).partition(b"\n\n")[0]
        raw = frame.replace(rb"\r", b"\r").replace(rb"\n", b"\n")
        return self._filled(raw + b"\n\n")

    put(FrameEncoder, "event", f_string)


def _unix_line_ends() -> None:
    _on_texts(lambda text: text.replace("\r\n", "\n").replace("\r", "\n"))


def _stripped() -> None:
    _on_texts(str.strip)


def _c_string() -> None:
    _on_texts(lambda text: text.replace("\0", ""))


def _no_data_when_empty() -> None:
    def without(frame: bytes, _name: str) -> bytes:
        if b'"text":""' not in frame:
            return frame
        return frame.partition(b"data: ")[0] + b"\n"

    on_frames(without, "agent_chunk")


def _nul_in_id() -> None:
    on_frames(lambda frame, _: b"id: open\0\n" + frame, "connection")


def _upper_case_field() -> None:
    on_frames(lambda frame, _: frame.replace(b"retry:", b"Retry:"), "connection")


def _own_field() -> None:
    on_frames(lambda frame, name: b"source: " + name.encode() + b"\n" + frame)


def _fractional_retry() -> None:
    on_frames(lambda frame, _: frame.replace(b"retry: 2000", b"retry: 1.5s"), "connection")


def _bom_before_events() -> None:
    on_frames(lambda frame, _: b"\xef\xbb\xbf\n" + frame)


def _python_repr() -> None:
    def as_repr(frame: bytes, _name: str) -> bytes:
        head, data, text = frame.partition(b"data: ")
        return head + data + repr(json.loads(text)).encode() + b"\n\n"

    on_frames(as_repr, "heartbeat")


def _off_schema() -> None:
    from reference_server import payloads
    from reference_server.events import to_json

    def urgent(value: object) -> str:
        return to_json(value).replace('"importance":"high"', '"importance":"urgent"')

    put(payloads, "to_json", urgent)


def _chunk_is_event() -> None:
    """Events without text end with their chunk only."""

    def unended(frame: bytes) -> bytes:
        return frame.removesuffix(b"\n") if b'"text":""' in frame else frame

    on_frames(lambda frame, _: unended(frame), "agent_chunk")


def plain_text(*, widest: int) -> None:
    """Make `agent_chunk` carry its text alone, in every view, with lines of at most `widest`.

    Line ends other than LF cannot be carried by data lines: they become LF before anything is
    stored, as such a target has to do it.
    """
    from reference_server import events, frames

    def envelope(self: events.Event) -> str:
        if self.type != "agent_chunk":
            return with_text(self)
        return f'{{"id":{self.id},"type":"agent_chunk","data":{events.to_json(text_of(self))}}}'

    def text_of(event: events.Event) -> str:
        return str(json.loads(event.data)["text"])

    def encoded(self: frames.FrameEncoder, event: events.Event) -> bytes:
        if event.type != "agent_chunk":
            return as_json(self, event)
        lines = "".join(f"data: {line}\n" for line in text_of(event).split("\n"))
        return self._filled(f"id: {event.id}\nevent: agent_chunk\n{lines}\n".encode())

    def wrapped(text: str) -> str:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return "\n".join(
            line[start : start + widest]
            for line in lines
            for start in range(0, max(len(line), 1), widest)
        )

    with_text, as_json = events.Event.envelope, frames.FrameEncoder.event
    events.Event.envelope = envelope  # type: ignore[method-assign]
    frames.FrameEncoder.event = encoded  # type: ignore[method-assign]
    _on_texts(wrapped)


def _long_lines() -> None:
    plain_text(widest=10**9)


MUTANTS: list[Mutant] = [
    Mutant(
        name="wire-latin1-padding",
        breaks=("WIRE-01",),
        patch=_latin1_padding,
        about="A Latin-1 letter stands in the padding.",
    ),
    Mutant(
        name="wire-latin1-payload",
        breaks=("WIRE-01",),
        follows=("POLL-02", "REPLAY-12", "SNAP-03"),
        patch=_latin1_payload,
        about="Texts are sent in Latin-1, so that the stream's differ from the other views'.",
    ),
    Mutant(
        name="wire-pending-field",
        breaks=("WIRE-02",),
        patch=_pending_field,
        about="A stream ends with a field line that no empty line follows.",
    ),
    Mutant(
        name="wire-raw-newlines",
        breaks=("WIRE-03",),
        follows=("WIRE-07", "WIRE-10", "PAD-01", "SNAP-03", "POLL-02", "SEC-01"),
        patch=_raw_newlines,
        about=(
            "Line ends of a text are written raw: its lines become fields and short frames, and "
            "what is left of the event is not what the other views show."
        ),
    ),
    Mutant(
        name="wire-unix-line-ends",
        breaks=("WIRE-03",),
        patch=_unix_line_ends,
        about="CRLF and CR in texts become LF.",
    ),
    Mutant(
        name="wire-stripped",
        breaks=("WIRE-04",),
        patch=_stripped,
        about="Texts lose their blanks at both ends.",
    ),
    Mutant(
        name="wire-c-string",
        breaks=("WIRE-04",),
        patch=_c_string,
        about="NUL is dropped from texts.",
    ),
    Mutant(
        name="wire-no-data-when-empty",
        breaks=("WIRE-05",),
        follows=("SNAP-03", "SNAP-05", "POLL-02"),
        patch=_no_data_when_empty,
        about=(
            "An event without text has no data line and is never dispatched: readers of the "
            "stream lack what the other views list."
        ),
    ),
    Mutant(
        name="wire-nul-in-id",
        breaks=("WIRE-06",),
        patch=_nul_in_id,
        about="The opening event carries an id with a NUL in it.",
    ),
    Mutant(
        name="wire-upper-case-field",
        breaks=("WIRE-07",),
        patch=_upper_case_field,
        about="`Retry:` instead of `retry:`.",
    ),
    Mutant(
        name="wire-own-field",
        breaks=("WIRE-07",),
        patch=_own_field,
        about="Events carry a field of the server's own invention.",
    ),
    Mutant(
        name="wire-fractional-retry",
        breaks=("WIRE-08",),
        patch=_fractional_retry,
        about="`retry: 1.5s`.",
    ),
    Mutant(
        name="wire-bom-before-events",
        breaks=("WIRE-09",),
        follows=("WIRE-07",),
        patch=_bom_before_events,
        about="A byte order mark precedes each event: the line that it makes is no known field.",
    ),
    Mutant(
        name="wire-python-repr",
        breaks=("WIRE-10",),
        patch=_python_repr,
        about="Heartbeats carry a Python repr instead of JSON.",
    ),
    Mutant(
        name="wire-off-schema",
        breaks=("WIRE-10",),
        patch=_off_schema,
        about="A member has a value that its schema does not know, in all views alike.",
    ),
    Mutant(
        name="wire-chunk-is-event",
        breaks=("WIRE-11",),
        follows=("WIRE-05", "WIRE-10", "SNAP-03", "SNAP-05", "POLL-02"),
        patch=_chunk_is_event,
        about=(
            "An event without text ends with its chunk and has no empty line: it runs into the "
            "next one, and readers of the stream lack what the other views list."
        ),
    ),
    Mutant(
        name="wire-long-lines",
        breaks=("WIRE-12",),
        patch=_long_lines,
        profile="plain.toml",
        about="Plain text of 200 KB stands in one line.",
    ),
]
