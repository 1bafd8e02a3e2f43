"""What a target's events mean: the profile's words, made ready for a loop that runs per event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from streamgauge.history import Entry, Key, Rules, canonical
from streamgauge.members import at_path, first_at
from streamgauge.profile import Profile
from streamgauge.timing import moment

NO_JSON: Final = object()
"""What a text that is no JSON means."""
_TO_SECONDS: Final = len("2026-01-31T12:00:00")


class Later:
    """Reads what an event says from its lines when somebody asks.

    Hundreds of thousands of parsed values that nobody looks at again would keep the garbage
    collector busier than the reading of events is.
    """

    def __init__(self, member: str) -> None:
        self._member = member

    def of(self, raw: bytes) -> Any:
        """The member of the JSON on the `data:` line of an event that has just one."""
        line = next(line for line in raw.split(b"\n") if line.startswith(b"data:"))
        return orjson.loads(line[len(b"data:") :])[self._member]


class Known:
    """An event of a job's log, as it was shown for the first time."""

    __slots__ = ("_data", "emitted_at", "id", "raw", "stamp", "terminal", "text", "type", "value")

    def __init__(
        self,
        raw: bytes,
        event_id: str,
        kind: str,
        value: Any,
        text: str,
        stamp: str,
        emitted_at: float | None,
        terminal: bool,
        data: Any,
    ) -> None:
        """`data`: what it says; a `Later` where that is not worth keeping."""
        self.raw = raw
        """Its lines on the wire with the empty one that dispatches them, without padding; b"" where
        it was not seen there."""
        self.id = event_id
        self.type = kind
        self.value = value
        """Its JSON, `NO_JSON` where it has none."""
        self.text = text
        self.stamp = stamp
        """Its timestamp as it stands there."""
        self.emitted_at = emitted_at
        """The same as Unix time of the target."""
        self.terminal = terminal
        self._data = data

    @property
    def data(self) -> Any:
        """What of its JSON it says."""
        return self._data.of(self.raw) if type(self._data) is Later else self._data

    @property
    def key(self) -> Key:
        """What it says, in the terms of the history checker."""
        return self.type, self.stamp, canonical(self.data)

    def entry(self, at: float) -> Entry:
        return Entry(self.id, self.key, at, terminal=self.terminal)


class Grammar:
    """How events of one target are read."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        events, ids = profile.events, profile.ids
        self.control = profile.control_events
        self.terminal = frozenset(events.terminal)
        self.numbered = profile.capabilities.resume is True
        """Whether events should carry ids."""
        self.rules = Rules(order="contiguous", first=1)
        """For a job that has ended."""
        if self.numbered:
            self.rules = Rules(order=ids.order, first=ids.first)
        self.first = ids.first
        self.is_plain = (
            events.envelope
            and self.numbered
            and ids.order == "contiguous"
            and events.timestamp_members == ("timestamp",)
            and not (events.type_member or ids.member)
        )
        """Events are as protocol §2 has them, so that `plain` can read them."""
        self._data_member = events.data_member
        self._later = Later(events.data_member)
        self._words: dict[bytes, str] = {}
        self._second, self._second_at = "", 0.0

    def plain(self, raw: bytes, number: int, kind: bytes, text: bytes) -> Known | None:
        """What `known` says of a sound event of protocol §2, at a fifth of the cost.

        Args:
            raw, kind, text: the event's lines, its type and its data.
            number: the id that its `id:` line gave.

        Returns:
            None where it is a control event, or anything about it asks for a closer look.
        """
        word = self._words.get(kind)
        if word is None:
            word = kind.decode("utf-8", "replace")
            if word in self.control:
                return None
            self._words[kind] = word
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if type(value) is not dict or value.get("id") != number or value.get("type") != word:
            return None
        stamp = value.get("timestamp")
        if type(stamp) is not str or self._data_member not in value:
            return None
        return Known(
            raw, str(number), word, None, "", stamp, self._moment(stamp), word in self.terminal,
            self._later,
        )  # fmt: skip

    def _moment(self, stamp: str) -> float | None:
        """As `moment`, with the second of the event before kept: most are of the same."""
        if stamp[:_TO_SECONDS] == self._second and stamp[-1:] == "Z":
            fraction = stamp[_TO_SECONDS:-1]
            if fraction[1:].isdigit() and fraction[0] == ".":
                return self._second_at + float(fraction)
        told = moment(stamp)
        if told is not None and stamp.endswith("Z"):
            second = moment(f"{stamp[:_TO_SECONDS]}Z")
            if second is not None:
                self._second, self._second_at = stamp[:_TO_SECONDS], second
        return told

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
        emitted_at = moment(stamp) if stamp else None
        return Known(raw, own_id, kind, value, text, stamp, emitted_at, kind in self.terminal, data)

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
