"""How two logs differ, and a log in the terms of the history checker.

Every check that holds one view against another says where they part in the same words, so that a
reader of the report meets one description of a difference and not one for each section.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from streamgauge.history import Entry, View, canonical
from streamgauge.profile import Profile
from streamgauge.recording import Recording

from .reading import Seen, listed, stream_log


def suffix(log: Sequence[Seen], after: str) -> tuple[Seen, ...] | None:
    """The events after a cursor, None where the log has no such event."""
    for index, event in enumerate(log):
        if event.id == after:
            return tuple(log[index + 1 :])
    return None


def difference(expected: Sequence[Seen], got: Sequence[Seen]) -> tuple[str, Seen | None]:
    """The first difference between two logs in words, "" where there is none."""
    for index, (wanted, shown) in enumerate(zip(expected, got, strict=False)):
        if wanted.same(shown):
            continue
        if wanted.id != shown.id:
            return f"event {shown.id!r} where {wanted.id!r} belongs (position {index + 1})", shown
        return f"event {shown.id!r} has another content: {_unlike(wanted, shown)}", shown
    if len(got) < len(expected):
        missing = expected[len(got)]
        return f"event {missing.id!r} and what follows is missing", got[-1] if got else None
    if len(got) > len(expected):
        extra = got[len(expected)]
        return f"event {extra.id!r} stands behind the end of the log", extra
    return "", None


def _unlike(wanted: Seen, shown: Seen) -> str:
    if wanted.type != shown.type:
        return f"type {shown.type!r} instead of {wanted.type!r}"
    if wanted.timestamp != shown.timestamp:
        return f"timestamp {shown.timestamp!r} instead of {wanted.timestamp!r}"
    return f"data {_short(shown.data)} instead of {_short(wanted.data)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def entries(seen: Iterable[Seen], profile: Profile) -> tuple[Entry, ...]:
    """Events in the terms of the history checker."""
    return tuple(
        Entry(
            id=event.id,
            key=(event.type, event.timestamp, canonical(event.data)),
            at=event.at,
            offset=event.block.start if event.block else None,
            terminal=event.type in profile.events.terminal,
        )
        for event in seen
    )


def view(recording: Recording, profile: Profile, **more: Any) -> View:
    """A recording of one job in the terms of the history checker."""
    after = recording.info.get("after")
    if recording.is_stream:
        kind, seen = "live", stream_log(recording, profile)
    else:
        kind, seen = ("poll" if "after" in recording.info else "snapshot"), listed(recording)
    return View(
        name=recording.label,
        kind=kind,  # type: ignore[arg-type]
        entries=entries(seen, profile),
        after=str(after) if after else None,
        opened_at=recording.sent_at,
        closed_at=recording.ended_at,
        **more,
    )
