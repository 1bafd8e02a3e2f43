"""All views of one job side by side: what was lost, what changed, what came too late.

The order of the steps is the rule against cascades: an entry that one step blames is passed over by
all later ones, so a fault is named once, by its most specific name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from .compare import Sighting, Sightings, divergent, equal_content, late
from .model import Anomaly, AnomalyKind, Entry, Rules, View
from .reference import Reference, build, log_reference
from .walk import Walk, judge_end

_ACKNOWLEDGING = ("snapshot", "poll")


def check(
    views: Iterable[View], log: View | None = None, rules: Rules | None = None
) -> tuple[Anomaly, ...]:
    """Name every anomaly of a job's history; a clean history has none.

    Args:
        views: all that was observed of the job, apart from the log.
        log: the final log, read from the start after all else; None where none could be read.
        rules: what the target declares about its ids and events.

    Returns:
        At most one anomaly per kind and view, by time, with the number of its kind in that view.
    """
    others = tuple(view for view in views if view is not log)
    history = _History(others, log, rules or Rules())
    history.find_foreign()
    history.find_misplaced()
    history.find_steps()
    compared = [*divergent(history.sightings, history.truth)]
    if history.rules.unique_content:
        compared += equal_content(history.sightings, history.truth)
    if history.rules.lag_limit_s is not None:
        compared += late(history.views, history.sightings, history.rules.lag_limit_s)
    return _summed([*history.found, *compared])


@dataclass(slots=True)
class _History:
    views: tuple[View, ...]
    log: View | None
    rules: Rules
    found: list[Anomaly] = field(default_factory=list)
    reference: Reference = field(init=False)
    blamed: dict[int, set[int]] = field(init=False)
    """Indexes of entries that have been named, by the identity of their view."""
    sightings: Sightings = field(default_factory=dict)
    truth: dict[str, Entry] = field(default_factory=dict)
    """What each id most credibly is."""
    terminals: list[int] = field(default_factory=list)
    """Positions of terminal events, sorted."""
    lost: set[int] = field(default_factory=set)
    """Positions that the log should have and whose absence has been named."""
    lost_terminal: bool = False

    def __post_init__(self) -> None:
        self.blamed = {id(view): set() for view in self.everyone}
        self.reference = build(self.views, self.log, self.rules)

    @property
    def everyone(self) -> tuple[View, ...]:
        return self.views if self.log is None else (self.log, *self.views)

    def add(
        self, kind: AnomalyKind, sighting: Sighting, message: str, ids: tuple[str, ...] = ()
    ) -> None:
        self.found.append(sighting.blame(kind, message, ids))

    def find_foreign(self) -> None:
        """Take out what belongs to another job; what is left is gathered by id."""
        for view in self.everyone:
            for index, entry in enumerate(view.entries):
                sighting = Sighting(view, index, entry)
                if self.rules.job and entry.job is not None and entry.job != self.rules.job:
                    self.blamed[id(view)].add(index)
                    message = f"{entry.id!r} belongs to another job, {entry.job!r}"
                    self.add(AnomalyKind.CROSS_JOB, sighting, message)
                else:
                    self.sightings.setdefault(entry.id, []).append(sighting)
        if self.found:
            self.reference = build(*self._without_foreign(), self.rules)
        for event_id, seen in self.sightings.items():
            seen.sort(key=lambda sighting: (sighting.view is not self.log, sighting.entry.at))
            self.truth[event_id] = _credible(seen, self.log)
        places = (
            self.reference.place(event_id)
            for event_id, entry in self.truth.items()
            if entry.terminal and self.reference.has(event_id)
        )
        self.terminals = sorted(place for place in places if place is not None)

    def _without_foreign(self) -> tuple[list[View], View | None]:
        def own(view: View) -> View:
            blamed = self.blamed[id(view)]
            kept = (entry for index, entry in enumerate(view.entries) if index not in blamed)
            return replace(view, entries=tuple(kept))

        return [own(view) for view in self.views], own(self.log) if self.log else None

    def find_misplaced(self) -> None:
        """Entries behind the terminal one, and entries that the log does not have."""
        for event_id, seen in self.sightings.items():
            place = self.reference.place(event_id)
            in_log = self.reference.has(event_id)
            behind = self._is_behind_terminal(place, seen)
            if in_log and place is not None and not behind:
                continue
            if not in_log and all(self._is_excused(sighting, place) for sighting in seen):
                continue
            self._blame(event_id, seen, place, in_log=in_log, behind=behind)

    def _blame(
        self, event_id: str, seen: list[Sighting], place: int | None, *, in_log: bool, behind: bool
    ) -> None:
        second = self.truth[event_id].terminal and bool(self.terminals)
        answers = [sighting for sighting in seen if sighting.view.kind in _ACKNOWLEDGING]
        if second and place not in self.terminals[:1]:
            first = self.reference.name(self.terminals[0])
            message = f"{event_id!r} is a second terminal event, after {first!r}"
            self.add(AnomalyKind.TWO_TERMINALS, seen[0], message, (first, event_id))
        elif behind:
            first = self.reference.name(self.terminals[0])
            message = f"{event_id!r} stands behind the terminal event {first!r}"
            self.add(AnomalyKind.AFTER_TERMINAL, seen[0], message, (first, event_id))
        elif place is None and self.rules.order != "opaque":
            message = f"{event_id!r} has no place in an order that is {self.rules.order}"
            self.add(AnomalyKind.PHANTOM, seen[0], message)
        else:
            self.lost_terminal = self.lost_terminal or self.truth[event_id].terminal
            if place is not None:
                self.lost.add(place)
            kind = AnomalyKind.LOST_ACKNOWLEDGED if answers else AnomalyKind.PHANTOM
            sighting = answers[0] if answers else seen[0]
            message = f"{event_id!r} was shown and is not in the final log"
            self.add(kind, sighting, message)
        if not in_log:
            for sighting in seen:
                self.blamed[id(sighting.view)].add(sighting.index)

    def _is_behind_terminal(self, place: int | None, seen: Sequence[Sighting]) -> bool:
        if not self.terminals:
            return False
        if place is not None:
            return place > self.terminals[0]
        terminal = self.reference.name(self.terminals[0])
        return any(
            sighting.index > other.index
            for sighting in seen
            for other in self.sightings[terminal]
            if other.view is sighting.view
        )

    def _is_excused(self, sighting: Sighting, place: int | None) -> bool:
        """Whether the log need not have it: pruned since, or newer than a log of a running job."""
        log = self.log
        if log is None:
            return False
        if log.gaps and place is not None and self.reference.is_pruned(place):
            return True
        if log.gaps and self.rules.order == "opaque":
            shown_before = sighting.view.entries[: sighting.index]
            if not any(self.reference.has(entry.id) for entry in shown_before):
                return True
        newest = max(self.reference.kept, default=self.reference.start)
        is_newer = place is None or place > newest
        return is_newer and not self.rules.finished and sighting.entry.at >= log.opened_at

    def find_steps(self) -> None:
        """Walk through every view: gaps, repetitions, wrong order, and where it ends."""
        never_ended = False
        if self.log is not None:
            walk = Walk(self.log, log_reference(self.reference), self.blamed[id(self.log)])
            self.found += walk.run(elsewhere=self.lost)
            has_terminal = bool(self.terminals) or self.lost_terminal
            never_ended = self.rules.finished and not has_terminal
            if never_ended:
                self.found.append(_endless(self.log))
        known_before = self._known_before()
        for view in self.views:
            walk = Walk(view, self.reference, self.blamed[id(view)])
            self.found += walk.run()
            anomaly = judge_end(walk, self.terminals, known_before, job_never_ended=never_ended)
            if anomaly is not None:
                self.found.append(anomaly)

    def _known_before(self) -> Callable[[float], int | None]:
        """The highest position that any view had shown before a time."""
        arrivals: list[tuple[float, int]] = []
        for event_id, seen in self.sightings.items():
            place = self.reference.place(event_id)
            if place is not None and self.reference.has(event_id):
                arrivals += [(s.entry.at, place) for s in seen if s.view is not self.log]
        arrivals.sort()
        times = [at for at, _ in arrivals]
        highest: list[int] = []
        for _, place in arrivals:
            highest.append(max(place, highest[-1]) if highest else place)

        def known_before(at: float) -> int | None:
            index = bisect_left(times, at)
            return highest[index - 1] if index else None

        return known_before


def _credible(seen: Sequence[Sighting], log: View | None) -> Entry:
    """The log's content; without it the most frequent one, the earliest of those."""
    if seen[0].view is log:
        return seen[0].entry
    frequency = Counter(sighting.entry.key for sighting in seen)
    return max((s.entry for s in seen), key=lambda entry: frequency[entry.key])


def _endless(log: View) -> Anomaly:
    last = log.entries[-1] if log.entries else None
    return Anomaly(
        AnomalyKind.NEVER_TERMINATED,
        log.name,
        f"the final log has no terminal event among its {len(log.entries)}",
        (last.id,) if last else (),
        log.closed_at,
        last.offset if last else None,
    )


def _summed(found: Iterable[Anomaly]) -> tuple[Anomaly, ...]:
    """One anomaly per kind and view: the earliest, with their number."""
    together: dict[tuple[str, AnomalyKind], Anomaly] = {}
    for anomaly in sorted(found, key=lambda anomaly: anomaly.at):
        slot = (anomaly.view, anomaly.kind)
        first = together.get(slot)
        together[slot] = replace(first, count=first.count + anomaly.count) if first else anomaly
    return tuple(together.values())
