"""What a job's events are and in which order: the yardstick that every view is held against.

Ids become positions (integers) here, so that nothing else has to know how a target numbers. A
contiguous order needs no list of what should be there; all others take it from the final log or,
without one, from the union of the views.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .model import IDS_MAX, Rules, View

#: Longer numbers are no ids that anybody counts with, and slow to read.
_DIGITS_MAX = 40
_INTEGER = re.compile(rf"0|-?[1-9][0-9]{{0,{_DIGITS_MAX - 1}}}")


@dataclass(frozen=True, slots=True)
class Missing:
    """Positions that a view left out."""

    ids: tuple[str, ...]
    count: int
    pruned: bool
    """All of them are history that the target no longer has."""


@dataclass(slots=True)
class Reference:
    """Positions of ids, and what must be shown."""

    rules: Rules
    start: int = 0
    """A position before all others."""
    certain: bool = True
    """False where the order is only what views say: nobody knows then which of two is wrong."""
    log_ids: frozenset[str] | None = None
    places: dict[str, int] = field(default_factory=dict)
    """Positions of opaque ids."""
    names: list[str] = field(default_factory=list)
    """Opaque ids by position."""
    members: list[int] = field(default_factory=list)
    """Sorted positions that must be shown."""
    kept: frozenset[int] = frozenset()
    """Those of the members that the final log has: no announcement excuses leaving them out."""
    dense_below: int | None = None
    """Below this every integer from `start` on must be shown as well; None: up to the end."""
    pruned_below: int | None = None
    """Before this position history was pruned, by the word of the target."""

    def place(self, event_id: str) -> int | None:
        """The position of an id, None where it has none in the declared order."""
        position = self.cursor(event_id)
        if position is None or (self.rules.order == "contiguous" and position < self.rules.first):
            return None
        return position

    def cursor(self, event_id: str) -> int | None:
        """The position of a cursor, which may lie outside the log."""
        if self.rules.order == "opaque":
            return self.places.get(event_id)
        return int(event_id) if _INTEGER.fullmatch(event_id) else None

    def name(self, position: int) -> str:
        return self.names[position] if self.rules.order == "opaque" else str(position)

    def has(self, event_id: str) -> bool:
        """Whether the final log has it; without one, whether it has a place."""
        if self.log_ids is not None:
            return event_id in self.log_ids
        return self.place(event_id) is not None

    def positions(self, ids: Iterable[str]) -> set[int]:
        places = map(self.place, ids)
        return {place for place in places if place is not None}

    def is_pruned(self, position: int) -> bool:
        return self.pruned_below is not None and position < self.pruned_below

    def missing(
        self, low: int, high: int, shown: Sequence[int], excused_below: int | None
    ) -> Missing | None:
        """What must be shown between two positions and is not in `shown` (sorted).

        Args:
            excused_below: the position that the view announced as the earliest it has.
        """
        real: list[int] = []
        pruned: list[int] = []
        for at in range(bisect_right(self.members, low), bisect_left(self.members, high)):
            position = self.members[at]
            if _holds(shown, position):
                continue
            if position not in self.kept:
                if excused_below is not None and position < excused_below:
                    continue
                if self.is_pruned(position):
                    pruned.append(position)
                    continue
            real.append(position)
        floor = max(low, self.start, low if excused_below is None else excused_below - 1) + 1
        ceiling = high if self.dense_below is None else min(high, self.dense_below)
        cut = floor if self.pruned_below is None else max(floor, self.pruned_below)
        dense = _absent(cut, ceiling, shown)
        dense_pruned = _absent(floor, min(ceiling, cut), shown)
        for positions, (more, count), is_pruned in (
            (real, dense, False),
            (pruned, dense_pruned, True),
        ):
            if positions or count:
                named = sorted([*positions[:IDS_MAX], *more])[:IDS_MAX]
                ids = tuple(map(self.name, named))
                return Missing(ids, len(positions) + count, is_pruned)
        return None


def build(views: Sequence[View], log: View | None, rules: Rules) -> Reference:
    """The reference for judging `views`; `log_reference` makes the one for the log itself."""
    reference = Reference(rules, certain=rules.order != "opaque" or log is not None)
    source = views if log is None else [log]
    if rules.order == "opaque":
        reference.names = _merge(source)
        reference.places = {name: at for at, name in enumerate(reference.names)}
    told = reference.positions(entry.id for view in source for entry in view.entries)
    ever = told | reference.positions(entry.id for view in views for entry in view.entries)
    dense = rules.order == "contiguous"
    reference.start = rules.first - 1 if dense else min(ever, default=0) - 1
    everyone = views if log is None else [*views, log]
    announced = reference.positions(gap.earliest for view in everyone for gap in view.gaps)
    if log is None:
        reference.members = [] if dense else sorted(told)
        reference.dense_below = None if dense else reference.start
    else:
        reference.log_ids = frozenset(entry.id for entry in log.entries)
        reference.kept = frozenset(told)
        log_first = min(told, default=reference.start) if log.gaps else reference.start
        announced.add(log_first)
        reference.members = sorted(told if dense else told | {at for at in ever if at < log_first})
        reference.dense_below = log_first if dense else reference.start
    reference.pruned_below = max(announced, default=None)
    return reference


def log_reference(reference: Reference) -> Reference:
    """The yardstick for the final log itself: the declared order alone."""
    dense = reference.rules.order == "contiguous"
    return Reference(
        reference.rules,
        start=reference.start,
        log_ids=reference.log_ids,
        places=reference.places,
        names=reference.names,
        dense_below=None if dense else reference.start,
        pruned_below=reference.pruned_below,
    )


def _holds(ordered: Sequence[int], value: int) -> bool:
    at = bisect_left(ordered, value)
    return at < len(ordered) and ordered[at] == value


def _absent(low: int, high: int, shown: Sequence[int]) -> tuple[list[int], int]:
    """The integers in [low, high) that are not shown: the first few of them, and how many."""
    if low >= high:
        return [], 0
    there = bisect_left(shown, high) - bisect_left(shown, low)
    count = high - low - there
    some: list[int] = []
    position = low
    while len(some) < min(count, IDS_MAX):
        if not _holds(shown, position):
            some.append(position)
        position += 1
    return some, count


def _merge(views: Iterable[View]) -> list[str]:
    """One order out of many views: each new id stands behind what its view showed before it."""
    following: dict[str | None, str | None] = {None: None}
    waiting = sorted(views, key=lambda view: -len(view.entries))
    while waiting:
        ready = [view for view in waiting if (view.after or None) in following]
        for view in ready or waiting[:1]:
            # A cursor that nobody ever showed has no place; behind all others it disturbs nobody.
            previous = (view.after or None) if ready else _last(following)
            for entry in view.entries:
                if entry.id not in following:
                    following[entry.id] = following[previous]
                    following[previous] = entry.id
                previous = entry.id
        done = ready or waiting[:1]
        waiting = [view for view in waiting if all(view is not other for other in done)]
    return list(_chain(following))


def _chain(following: Mapping[str | None, str | None]) -> Iterator[str]:
    name = following[None]
    while name is not None:
        yield name
        name = following[name]


def _last(following: Mapping[str | None, str | None]) -> str | None:
    names = list(_chain(following))
    return names[-1] if names else None
