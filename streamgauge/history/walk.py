"""One view from its first entry to its last: does it go forward through the log, leaving out none?

What needs several views (contents, lost events, terminals) is judged elsewhere; entries that are
blamed there are passed over here, so that one fault has one name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from .model import Anomaly, AnomalyKind, Entry, View
from .reference import Reference


@dataclass(frozen=True, slots=True)
class Hole:
    """A step forward of more than one; whether something is missing is known at the end."""

    low: int
    high: int
    entry: Entry
    inside: bool
    excused_below: int | None


@dataclass(slots=True)
class Walk:
    """The state of one pass over a view, and what it found."""

    view: View
    reference: Reference
    passed_over: Collection[int]
    """Indexes of entries that are blamed elsewhere."""
    found: list[Anomaly] = field(default_factory=list)
    shown: dict[int, Entry] = field(default_factory=dict)
    base: int | None = None
    """The position of the view's cursor, None where nobody can know it."""
    high: int | None = None
    holes: list[Hole] = field(default_factory=list)

    def run(self, elsewhere: Collection[int] = ()) -> list[Anomaly]:
        """Walk, and return what was found.

        Args:
            elsewhere: positions whose absence is blamed elsewhere.
        """
        view, reference = self.view, self.reference
        self.base = reference.cursor(view.after) if view.after else reference.start
        self.high = self.base
        accepted = [
            (index, entry, place)
            for index, entry in enumerate(view.entries)
            if index not in self.passed_over and (place := reference.place(entry.id)) is not None
        ]
        gaps = sorted(view.gaps, key=lambda gap: gap.index)
        announced = 0
        again: int | None = None
        for at, (index, entry, place) in enumerate(accepted):
            floor: int | None = None
            while announced < len(gaps) and gaps[announced].index <= index:
                floor = self._announce(gaps[announced].earliest)
                announced += 1
            if place in self.shown:
                following = accepted[at + 1][2] if at + 1 < len(accepted) else None
                again = self._again(entry, place, again, following)
                continue
            again = None
            self._forward(entry, place, floor)
        if view.complete:
            self._judge_holes({*self.shown, *elsewhere})
        return self.found

    def _announce(self, earliest: str) -> int | None:
        floor = self.reference.place(earliest)
        if floor is not None and not self.shown and (self.base is None or floor <= self.base):
            # The cursor lay ahead of the log, and the target says that it begins anew.
            self.base = self.high = floor - 1
        return floor

    def _forward(self, entry: Entry, place: int, floor: int | None) -> None:
        """An entry that the view had not shown before."""
        if self.base is not None and place <= self.base:
            cursor = self.view.after or ""
            self._add(
                AnomalyKind.CURSOR_REGRESSION,
                f"asked for what comes after {cursor!r} and was shown {entry.id!r}",
                (cursor, entry.id),
                entry,
            )
        elif self.high is not None and place < self.high:
            before = self.reference.name(self.high)
            self._add(
                self._if_certain(AnomalyKind.REORDER),
                f"{entry.id!r} came only after {before!r}, behind which it never belongs",
                (before, entry.id),
                entry,
            )
        else:
            if self.high is not None and place > self.high + 1:
                self.holes.append(Hole(self.high, place, entry, bool(self.shown), floor))
            self.high = place
        self.shown[place] = entry

    def _again(self, entry: Entry, place: int, again: int | None, following: int | None) -> int:
        """An entry that the view had shown before: alone, or as the start of a stretch."""
        if self.shown[place].key != entry.key:
            return place  # Another content under the same id: judged as a divergence.
        if again is not None and place > again:
            return place  # The stretch goes on: it has been named.
        if following is not None and following > place and following in self.shown:
            before = self.reference.name(self.high if self.high is not None else place)
            self._add(
                AnomalyKind.CURSOR_REGRESSION,
                f"went back from {before!r} to {entry.id!r} and began over again from there",
                (before, entry.id),
                entry,
            )
            return place
        self._add(
            AnomalyKind.DUPLICATE, f"{entry.id!r} was shown a second time", (entry.id,), entry
        )
        return place

    def _judge_holes(self, there: set[int]) -> None:
        ordered = sorted(there)
        for hole in self.holes:
            missing = self.reference.missing(hole.low, hole.high, ordered, hole.excused_below)
            if missing is None:
                continue
            where = "inside the view" if hole.inside else "between its cursor and its first event"
            what = f"{missing.count} event{'s' if missing.count != 1 else ''} missing {where}"
            if missing.pruned:
                kind = AnomalyKind.UNSIGNALLED_GAP
                what += ", pruned and not announced"
            else:
                kind = AnomalyKind.GAP_INSIDE if hole.inside else AnomalyKind.GAP
                kind = self._if_certain(kind)
            message = f"{what}, before {hole.entry.id!r}: {', '.join(missing.ids)}"
            self._add(kind, message, missing.ids, hole.entry)

    def _if_certain(self, kind: AnomalyKind) -> AnomalyKind:
        return kind if self.reference.certain else AnomalyKind.VIEW_DIVERGENCE

    def _add(self, kind: AnomalyKind, message: str, ids: tuple[str, ...], entry: Entry) -> None:
        self.found.append(Anomaly(kind, self.view.name, message, ids, entry.at, entry.offset))


def judge_end(
    walk: Walk,
    terminals: Collection[int],
    known_before: Callable[[float], int | None],
    *,
    job_never_ended: bool,
) -> Anomaly | None:
    """Whether a view that claims to reach the end, or the newest event, does.

    Args:
        terminals: positions of terminal events.
        known_before: the highest position that anybody had been shown before a given time.
        job_never_ended: the log itself lacks its terminal event, which is said once and there.
    """
    view, reference = walk.view, walk.reference
    if walk.high is None:
        return None
    last = view.entries[-1] if view.entries else None
    shown_last = reference.name(walk.high) if walk.shown else view.after or ""
    offset = last.offset if last else None
    if view.ended:
        reached = any(entry.terminal for entry in view.entries) or any(
            place in walk.shown or (walk.base is not None and place <= walk.base)
            for place in terminals
        )
        is_tail = not (walk.shown or terminals)  # Its cursor may be the terminal event itself.
        if reached or job_never_ended or is_tail:
            return None
        message = f"said that the job was over after {shown_last!r} and showed no terminal event"
        ids = (shown_last,)
        kind = AnomalyKind.NEVER_TERMINATED
        return Anomaly(kind, view.name, message, ids, view.closed_at, offset)
    newest = known_before(view.opened_at) if view.current else None
    if newest is None or newest <= walk.high:
        return None
    name = reference.name(newest)
    message = f"ended with {shown_last!r} although {name!r} had been shown before it was asked for"
    return Anomaly(
        AnomalyKind.CURSOR_REGRESSION,
        view.name,
        message,
        (shown_last, name),
        view.closed_at,
        offset,
    )
