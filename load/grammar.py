"""What a target's events mean: the profile's words, made ready for a loop that runs per event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from streamgauge.history import Entry, Key, Rules, canonical
from streamgauge.members import at_path, first_at
from streamgauge.profile import Profile
from streamgauge.timing import moment

NO_JSON: Final = object()
"""What a text that is no JSON means."""


@dataclass(slots=True, eq=False)
class Known:
    """An event of a job's log, as it was shown for the first time."""

    raw: bytes
    """Its lines on the wire with the empty one that dispatches them, without padding; b"" where
    it was not seen there."""
    id: str
    type: str
    value: Any
    """Its JSON, `NO_JSON` where it has none."""
    text: str
    stamp: str
    """Its timestamp as it stands there."""
    emitted_at: float | None
    """The same as Unix time of the target."""
    terminal: bool
    data: Any = field(default=None)

    @property
    def key(self) -> Key:
        """What it says, in the terms of the history checker."""
        return self.type, self.stamp, canonical(self.data)

    def entry(self, at: float) -> Entry:
        return Entry(self.id, self.key, at, terminal=self.terminal)


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """How events of one target are read."""

    profile: Profile
    control: frozenset[str] = field(init=False)
    terminal: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "control", self.profile.control_events)
        object.__setattr__(self, "terminal", frozenset(self.profile.events.terminal))

    @property
    def rules(self) -> Rules:
        """For a job that has ended."""
        ids = self.profile.ids
        if not self.numbered:
            return Rules(order="contiguous", first=1)
        return Rules(order=ids.order, first=ids.first)

    @property
    def numbered(self) -> bool:
        """Whether events should carry ids."""
        return self.profile.capabilities.resume is True

    def known(self, raw: bytes, own_id: str | None, kind: str, text: str) -> Known:
        """An event from what the parser saw; its id is "" where it has none."""
        profile = self.profile
        value = parsed(text)
        if profile.events.type_member:
            told = at_path(value, profile.events.type_member)
            kind = told if isinstance(told, str) and told else kind
        if profile.ids.member:
            told = at_path(value, profile.ids.member)
            own_id = str(told) if isinstance(told, str | int) and told is not True else None
        return self._made(raw, own_id or "", kind, value, text)

    def listed(self, item: Any) -> Known | None:
        """An event from a polling answer, None where it is none."""
        if not isinstance(item, Mapping) or "id" not in item:
            return None
        return self._made(b"", str(item["id"]), str(item.get("type", "")), item, "")

    def _made(self, raw: bytes, own_id: str, kind: str, value: Any, text: str) -> Known:
        events = self.profile.events
        stamp = first_at(value, events.timestamp_members) if value is not NO_JSON else None
        stamp = str(stamp) if isinstance(stamp, str | int | float) else ""
        data = text if value is NO_JSON else value
        if isinstance(value, Mapping) and events.data_member in value:
            data = value[events.data_member]
        known = Known(
            raw, own_id, kind, value, text, stamp, moment(stamp) if stamp else None,
            kind in self.terminal,
        )  # fmt: skip
        known.data = data
        return known

    def flaw(self, known: Known) -> str:
        """What an event contradicts itself in, "" where it does not."""
        events = self.profile.events
        if events.json_data and known.value is NO_JSON:
            return f"event {known.id!r} is no JSON: {known.text[:60]!r}"
        if events.envelope and isinstance(known.value, Mapping):
            told = known.value.get("id")
            if str(told) != known.id:
                return f"event {known.id!r} says in its JSON that its id is {told!r}"
            if known.value.get("type") != known.type:
                return f"event {known.id!r} says in its JSON that its type is not {known.type!r}"
        return ""


def parsed(text: str | bytes) -> Any:
    """A JSON text's value, `NO_JSON` where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return NO_JSON
