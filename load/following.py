"""One reader's way through a job's log, parsed and judged event by event as the bytes arrive.

Most deliveries under load are of events that another reader of the same job has been shown already.
So the first time an event is seen it is parsed, examined and remembered with its bytes; every
further time it has to stand at the same place with the same bytes, which is one comparison. What is
not exactly so makes the stream suspect: from there on its events are kept, and at the end the
history checker says what is wrong with them, or that nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from streamgauge.history import Anomaly, Entry, Gap, Rules, View, check
from streamgauge.sse import Block, Parser

from .grammar import Grammar, Known, parsed

_EVENT: Final = re.compile(
    rb"(?:id: ?([^\n\0]*)\n)?(?:event: ?([^\n]*)\n)?data: ?([^\n]*)\n\n"
).match
"""An event as nearly all servers write it; anything else goes to the standard's own parser."""
_BOM: Final = b"\xef\xbb\xbf"
_COLON: Final = 0x3A
_LF: Final = 0x0A
_BLANK: Final = (0x20, 0x0A)
PENDING_BYTES_MAX: Final = 64 * 1024 * 1024
OTHERS: Final = "what others were shown"
LOG: Final = "the log"


class TooLong(Exception):
    """A line or event that does not end; more is not kept."""


@dataclass(slots=True, eq=False)
class Truth:
    """What is known of a job's log: each event as it was first shown, in order."""

    events: list[Known] = field(default_factory=list)
    ended_at: float | None = None
    """When the terminal event had first arrived, Unix time."""

    @property
    def complete(self) -> bool:
        return self.ended_at is not None

    def view(self) -> View:
        """In the terms of the history checker."""
        return View(OTHERS, "replay", tuple(known.entry(0.0) for known in self.events))


@dataclass(slots=True)
class Shown:
    """What one connection showed."""

    after: str
    base: int
    opened_at: float
    taken: int = 0
    """So many events from `base` on were exactly those of the truth."""
    odd: list[Entry] = field(default_factory=list)
    """All that came since something was not."""
    gaps: list[Gap] = field(default_factory=list)
    closed_at: float = 0.0
    ended: bool = False
    """It said that the job is over."""
    kind: str = "live"

    def view(self, name: str, truth: Truth) -> View:
        exact = truth.events[self.base : self.base + self.taken]
        return View(
            name=name,
            kind=self.kind,  # type: ignore[arg-type]
            entries=(*(known.entry(self.opened_at) for known in exact), *self.odd),
            after=self.after or None,
            ended=self.ended,
            gaps=tuple(self.gaps),
            opened_at=self.opened_at,
            closed_at=self.closed_at,
        )


class Follower:
    """Parses what a reader gets and holds it against what is known of the job."""

    def __init__(
        self, truth: Truth, grammar: Grammar, on_known: Callable[[Known], str] | None = None
    ) -> None:
        """`on_known` looks at events that nobody had been shown, and says what is wrong or ""."""
        self.truth = truth
        self.on_known = on_known
        self._grammar = grammar
        self.place = 0
        """How many events of the truth this reader has been shown."""
        self.cursor = ""
        self.events = 0
        """All that it was shown, repetitions included."""
        self.shown: list[Shown] = []
        self.suspicion = ""
        """Why the history checker has to look; "" while all is exact."""
        self.flaws: list[str] = []
        """What events contradict themselves in."""
        self.over = False
        """The terminal event has been shown."""
        self.terminal_at = 0.0
        self.ages: list[float] = []
        """Arrival less emission of the events of the last feed, clocks uncorrected."""
        self.comment = b""
        """The last comment that says something."""
        self.first_stamp: float | None = None
        self._tail = b""
        self._spec: Parser | None = None
        self._begun = False

    def opened(self, at: float, kind: str = "live") -> None:
        """A connection begins, with this reader's cursor."""
        self.shown.append(Shown(self.cursor, self.place, at, kind=kind))
        self._tail, self._spec, self._begun, self.comment = b"", None, False, b""

    def closed(self, at: float, *, ended: bool) -> None:
        """It is over; `ended`: in good order, and not to come back."""
        if self.shown:
            self.shown[-1].closed_at = at
            self.shown[-1].ended = ended

    def feed(self, data: bytes, at: float) -> int:  # noqa: PLR0915  one loop: calls cost as much
        """Take bytes of the stream that arrived at `at` (Unix time); how many events came.

        Raises TooLong.
        """
        self.ages = ages = []
        before = self.events
        if self._spec is not None or not data:
            self._feed_slowly(data, at)
            return self.events - before
        if self._tail:
            data = self._tail + data
            self._tail = b""
        if b"\r" in data or (not self._begun and data[:1] == _BOM[:1]):
            self._spec = Parser(self.cursor, _begun=self._begun)
            self._feed_slowly(data, at)
            return self.events - before
        self._begun = True
        truth, grammar, on_known = self.truth, self._grammar, self.on_known
        known_events = truth.events
        is_plain, first_number = grammar.is_plain, grammar.first
        find, begins = data.find, data.startswith
        position, size, place = 0, len(data), self.place
        last: Known | None = None
        while position < size:
            first = data[position]
            if first == _COLON:
                end = find(b"\n", position)
                if end < 0:
                    break
                if data[position + 1] not in _BLANK or data[end - 1] not in (0x20, _COLON):
                    self.comment = data[position + 1 : end].strip()
                position = end + 1
                continue
            if first == _LF:
                position += 1
                continue
            if place < len(known_events) and not self.suspicion:
                known = known_events[place]
                if known.raw and begins(known.raw, position):
                    # The whole block, empty line included, is what was examined before.
                    position += len(known.raw)
                    place += 1
                    last = known
                    if known.emitted_at is not None:
                        ages.append(at - known.emitted_at)
                    if known.terminal:
                        self._end(at)
                    continue
            match = _EVENT(data, position)
            if match is not None:
                own_id, kind, text = match.groups()
                position = match.end()
                if (
                    is_plain
                    and place == len(known_events)
                    and not self.suspicion
                    and truth.ended_at is None
                    and kind
                    and own_id == b"%d" % (first_number + place)
                ):
                    fresh = grammar.plain(match[0], first_number + place, kind, text)
                    if fresh is not None:
                        # What `_take` and all that it calls would come to, without the calls.
                        known_events.append(fresh)
                        if on_known is not None and (flaw := on_known(fresh)):
                            self.flaws.append(flaw)
                        place += 1
                        last = fresh
                        if fresh.emitted_at is not None:
                            ages.append(at - fresh.emitted_at)
                        if fresh.terminal:
                            truth.ended_at = at
                            self._end(at)
                        continue
                self._advance(place, last)
                self._take(
                    match[0],
                    None if own_id is None else own_id.decode("utf-8", "replace"),
                    (kind or b"message").decode("utf-8", "replace"),
                    text.decode("utf-8", "replace"),
                    at,
                )
                place, last = self.place, None
                continue
            end = find(b"\n\n", position)
            if end < 0:
                break
            self._advance(place, last)
            for block in Parser(self.cursor, _begun=True).feed(data[position : end + 2], at):
                self._take_block(block, data[position : end + 2])
            place, last = self.place, None
            position = end + 2
        self._advance(place, last)
        if position < size:
            self._tail = data[position:]
            if len(self._tail) > PENDING_BYTES_MAX:
                raise TooLong(f"an event is longer than {PENDING_BYTES_MAX} octets")
        return self.events - before

    def _advance(self, place: int, last: Known | None) -> None:
        """Note the events that were taken as exact, up to `last`."""
        if last is not None:
            taken = place - self.place
            self.place = place
            self.events += taken
            self.shown[-1].taken += taken
            self.cursor = last.id

    def _feed_slowly(self, data: bytes, at: float) -> None:
        """By the standard's parser alone: line ends other than LF, or a byte order mark."""
        for block in self._spec.feed(data, at) if self._spec is not None else ():
            for line in block.comments:
                self.comment = line.raw[1:].strip() or self.comment
            self._take_block(block, b"")

    def _take_block(self, block: Block, raw: bytes) -> None:
        event = block.event
        if event is not None:
            self._take(raw, block.own_id, event.type, event.data, block.at)

    def _take(self, raw: bytes, own_id: str | None, kind: str, text: str, at: float) -> None:
        """An event that is not, byte for byte, the one expected here."""
        known = self._grammar.known(raw, own_id, kind, text)
        if known.type in self._grammar.control:
            self._control(known)
            return
        if not known.id and not self._grammar.numbered:
            # A target without ids: what is first is number one.
            known.id = str(self.place + len(self.shown[-1].odd) + 1)
        elif known.id:
            self.cursor = known.id
        if known.emitted_at is not None:
            self.ages.append(at - known.emitted_at)
        self.take_known(known, at)

    def take_known(self, known: Known, at: float) -> None:
        """Judge an event wherever it was read."""
        self.events += 1
        if not self.suspicion:
            self.suspicion = self._compare(known, at)
        if self.suspicion:
            self.shown[-1].odd.append(known.entry(at))
        if known.terminal:
            self._end(at)

    def _compare(self, known: Known, at: float) -> str:
        """Put an event to its place; why it does not belong there, "" where it does."""
        events, place = self.truth.events, self.place
        if place < len(events):
            expected = events[place]
            if known.id != expected.id:
                return f"event {known.id!r} came where {expected.id!r} belongs"
            if known.key != expected.key:
                return f"event {known.id!r} has another content than others were shown"
            if not expected.raw:
                expected.raw = known.raw
        else:
            if self.truth.complete:
                return f"event {known.id!r} came after the job's end"
            if not self._follows(known.id):
                return f"event {known.id!r} does not follow {self._previous_id() or 'the start'!r}"
            events.append(known)
            flaw = self._grammar.flaw(known) or (self.on_known(known) if self.on_known else "")
            if flaw:
                self.flaws.append(flaw)
            if known.terminal:
                self.truth.ended_at = at
        self.place = place + 1
        self.shown[-1].taken += 1
        return ""

    def _follows(self, event_id: str) -> bool:
        rules = self._grammar.rules
        if rules.order == "contiguous":
            return event_id == str(rules.first + self.place)
        previous = self._previous_id()
        if rules.order == "increasing" and previous.isdigit() and event_id.isdigit():
            return int(event_id) > int(previous)
        return bool(event_id) and event_id != previous

    def _previous_id(self) -> str:
        return self.truth.events[self.place - 1].id if self.place else ""

    def _end(self, at: float) -> None:
        if not self.over:
            self.over, self.terminal_at = True, at

    def _control(self, known: Known) -> None:
        if known.type != self._grammar.profile.events.gap:
            if self.first_stamp is None:
                self.first_stamp = known.emitted_at
            return
        told = known.data.get("earliest") if isinstance(known.data, dict) else None
        self.gap(str(told))

    def gap(self, earliest: str) -> None:
        """The target's own word that history is missing."""
        self.suspicion = self.suspicion or "history was pruned"
        shown = self.shown[-1]
        shown.gaps.append(Gap(shown.taken + len(shown.odd), earliest))

    def anomalies(self, name: str, log: View | None) -> tuple[Anomaly, ...]:
        """What is wrong, by the history checker; nothing where all was exact.

        Args:
            name: the stream's, for people.
            log: the job's final log, where it could be read.
        """
        ends_badly = any(shown.ended for shown in self.shown) and not self.over
        if not self.suspicion and not ends_badly:
            return ()
        views = [shown.view(f"{name}/{n}", self.truth) for n, shown in enumerate(self.shown, 1)]
        if self.truth.events:
            views.append(self.truth.view())
        rules = self._grammar.rules
        finished = self.truth.complete or self.over
        return check(views, log, Rules(order=rules.order, first=rules.first, finished=finished))


def log_view(answers: Sequence[Any], grammar: Grammar, at: float) -> View:
    """The final log from the pages of a polling view, in the terms of the history checker."""
    entries: list[Entry] = []
    gaps: list[Gap] = []
    for page in answers:
        told = page.get("gap")
        if isinstance(told, dict) and not entries:
            gaps.append(Gap(0, str(told.get("earliest"))))
        listed = map(grammar.listed, page.get("events", ()))
        entries += [known.entry(at) for known in listed if known is not None]
    return View(LOG, "poll", tuple(entries), gaps=tuple(gaps), opened_at=at, closed_at=at)


def page_of(body: bytes) -> dict[str, Any] | None:
    """A polling answer, None where it is none."""
    page = parsed(body)
    return page if isinstance(page, dict) and isinstance(page.get("events"), list) else None
