"""WIRE: texts with line ends, blanks or nothing in them come back as they were emitted.

A text that is put into an event without care ends the event, forges another one, or loses its
blanks; users' texts hold all of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from streamgauge.check import Run, check
from streamgauge.recording import Recording
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, Unable

from .reading import events_of, exhibit, is_log, listed, stream_log, streams
from .scenarios.shapes import EMPTY_TEXT, INJECTION_TEXT, SPACES_TEXT


def _text_survives(run: Run, name: str, text: str) -> Found:
    """The chosen text comes back whole in every view of its job."""
    bundle = run.bundle("texts")
    if not run.profile.events.json_data:
        # Data lines cannot tell line ends apart: all of them reach the reader as LF.
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    kind, member = run.profile.events.text_type, run.profile.events.text_member
    compared = 0
    for recording in bundle.all(name):
        seen = events_of(recording, run.profile)
        of_kind = [event for event in seen if event.type == kind]
        for event in of_kind:
            got = event.data.get(member) if isinstance(event.data, dict) else event.data
            if got != text:
                raise Broken(
                    f"{recording.label}: the text of event {event.id!r} came back as "
                    f"{_shown(got)} instead of {_shown(text)}",
                    exhibit(recording, event, "the altered text"),
                    count=compared,
                    what="texts compared",
                )
            compared += 1
        if recording.is_stream and seen and not of_kind:
            stray = [e for e in seen if e.type not in run.profile.events.names]
            raise Broken(
                f"{recording.label}: no {kind} event was dispatched though the job emitted some"
                + (f"; instead there is {stray[0].type!r}" if stray else ""),
                exhibit(recording, stray[0] if stray else seen[-1]),
                count=compared,
                what="texts compared",
            )
        if recording.is_stream and (fault := _forged(run, recording)):
            raise Broken(fault[0], fault[1], count=compared, what="texts compared")
    if not compared:
        raise Unable(bundle.unable or f"no {kind} event of the job {name!r} was seen")
    return Found(compared, "texts compared", shown=bundle.get(f"{name} replay"))


def _forged(run: Run, recording: Recording) -> tuple[str, Exhibit] | None:
    """Events, ids or fields that only a text taken for lines can have made."""
    known = {*run.profile.events.names, *run.profile.control_events}
    numbers = []
    for block in recording.blocks:
        span = Exhibit(
            recording, "a line of the text was taken for a field", (block.start, block.end)
        )
        if block.event is not None and block.event.type not in known:
            return f"an event {block.event.type!r} was dispatched that nobody emitted", span
        if block.event is not None and is_log(block, run.profile) and block.own_id is None:
            return "an event without an id was dispatched out of the text", span
        if block.own_id is not None and block.own_id.isdigit():
            numbers.append(int(block.own_id))
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        return f"the ids are {numbers[:12]}: one of them stood in the text", Exhibit(recording)
    return None


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 120 else text[:117] + "..."


@check("WIRE-03", "texts", "live")
def test_line_ends_in_text_survive(run: Run) -> Found:
    """If a text holds LF, CRLF or CR, then it reaches the reader as one event, unchanged."""
    if not run.shaped:
        return _natural_texts(run, re.compile(r"[\r\n]"), "a line end")
    return _text_survives(run, "injection", INJECTION_TEXT)


@check("WIRE-04", "texts", "live")
def test_blanks_and_odd_characters_survive(run: Run) -> Found:
    """If a text holds leading blanks, tabs, U+0085, U+2028 or NUL, then all are still there."""
    if not run.shaped:
        return _natural_texts(
            run, re.compile("^[ \\t]|[\\t\u0085\u2028\u2029\0]"), "such characters"
        )
    return _text_survives(run, "spaces", SPACES_TEXT)


@check("WIRE-05", "texts", "live")
def test_an_empty_text_is_still_dispatched(run: Run) -> Found:
    """If an event's text is empty, then it has a data line all the same and is dispatched."""
    if not run.shaped:
        return _natural_texts(run, re.compile(r"\A\Z"), "no character at all")
    return _text_survives(run, "empty", EMPTY_TEXT)


def _natural_texts(run: Run, pattern: re.Pattern[str], what: str) -> Found:
    """Where texts can't be chosen: those of the target's own job, compared between its views."""
    log = {
        event.id: event
        for recording in streams(run.bundle("live"), "final replay", "reader")
        for event in stream_log(recording, run.profile)
    }
    compared = 0
    for page in run.bundle("live").all("final poll"):
        for event in listed(page):
            if not any(pattern.search(text) for text in _strings(event.data)):
                continue
            twin = log.get(event.id)
            if twin is not None and twin.data != event.data:
                raise Broken(
                    f"event {event.id!r} holds {what} and differs between the stream and polling",
                    page,
                    count=compared,
                    what="texts compared",
                )
            compared += twin is not None
    if not compared:
        raise Unable(f"no event of the target's own job holds {what}, and texts cannot be chosen")
    return Found(compared, "texts compared")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
