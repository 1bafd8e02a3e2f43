"""What different views say of the same event: its content, and when it came.

Apart from the order of events, which `walk` judges, this is all that views can disagree on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .model import Anomaly, AnomalyKind, Entry, Key, View


@dataclass(frozen=True, slots=True)
class Sighting:
    """One entry in the view that showed it."""

    view: View
    index: int
    entry: Entry

    def blame(self, kind: AnomalyKind, message: str, ids: tuple[str, ...] = ()) -> Anomaly:
        entry = self.entry
        ids = ids or (entry.id,)
        return Anomaly(kind, self.view.name, message, ids, entry.at, entry.offset)


Sightings = dict[str, list[Sighting]]
"""Every entry by id, the log's own first, then by time."""


def divergent(sightings: Sightings, truth: Mapping[str, Entry]) -> Iterator[Anomaly]:
    """Ids with more than one content, each named at the first entry that is not the truth."""
    for event_id, seen in sightings.items():
        key = truth[event_id].key
        wrong = [sighting for sighting in seen if sighting.entry.key != key]
        if not wrong:
            continue
        by_channel: dict[str, set[Key]] = {}
        for sighting in seen:
            by_channel.setdefault(_channel(sighting.view), set()).add(sighting.entry.key)
        constant = all(len(keys) == 1 for keys in by_channel.values())
        right = next(sighting for sighting in seen if sighting.entry.key == key)
        first = min(wrong, key=lambda sighting: sighting.entry.at)
        pairs = zip(("type", "timestamp", "data"), key, first.entry.key, strict=True)
        what = " and ".join(name for name, one, other in pairs if one != other)
        yield first.blame(
            AnomalyKind.VIEW_DIVERGENCE if constant else AnomalyKind.PAYLOAD_DIVERGENCE,
            f"{event_id!r} has another {what} here than in {right.view.name!r}",
        )


def equal_content(sightings: Sightings, truth: Mapping[str, Entry]) -> Iterator[Anomaly]:
    """Where contents are declared unique: one content under two ids."""
    first: dict[Key, str] = {}
    for event_id, entry in truth.items():
        original = first.setdefault(entry.key, event_id)
        if original != event_id:
            message = f"{event_id!r} says what {original!r} says, at the same moment"
            sighting = sightings[event_id][0]
            yield sighting.blame(AnomalyKind.DUPLICATE, message, (original, event_id))


def late(views: Sequence[View], sightings: Sightings, limit_s: float) -> Iterator[Anomaly]:
    """The worst lag of each live view, over events that were emitted while it was open."""
    origins = {event_id: _origin(seen) for event_id, seen in sightings.items()}
    firsts: dict[int, list[tuple[float, Sighting]]] = {}
    for event_id, seen in sightings.items():
        views_done: set[int] = set()
        for sighting in seen:
            view, lag = sighting.view, sighting.entry.at - origins[event_id]
            # A repetition is no late arrival: only the first showing in each view counts.
            if id(view) in views_done:
                continue
            views_done.add(id(view))
            if view.kind == "live" and origins[event_id] >= view.opened_at and lag > limit_s:
                firsts.setdefault(id(view), []).append((lag, sighting))
    for view in views:
        if slow := firsts.get(id(view)):
            lag, worst = max(slow, key=lambda pair: pair[0])
            message = f"{worst.entry.id!r} came {lag:.3f} s late, the limit is {limit_s:g} s"
            yield replace(worst.blame(AnomalyKind.LAG, message), count=len(slow))


def _origin(seen: Sequence[Sighting]) -> float:
    """When the event existed at the latest: its emission, or its first arrival anywhere."""
    emitted = (s.entry.emitted_at for s in seen if s.entry.emitted_at is not None)
    return min((*emitted, *(s.entry.at for s in seen)))


def _channel(view: View) -> str:
    return "stream" if view.kind in ("live", "replay") else view.kind
