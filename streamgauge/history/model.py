"""What the checker is told and what it answers.

The words are those of the requirements; the exact meaning of each anomaly stands at its name, and
nowhere else, so that a report, a test and the code cannot drift apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Key = tuple[str, str, str]
"""What an event says apart from its id: type, timestamp, data in canonical form."""

Order = Literal["contiguous", "increasing", "opaque"]
Kind = Literal["live", "replay", "snapshot", "poll"]

#: Anomalies name at most this many ids: enough to look them up, whatever the fault.
IDS_MAX = 8


class AnomalyKind(StrEnum):
    """The faults that a history can have. Each entry is blamed once, for the most specific one.

    "The log" is the final log where one was read. Without one it is what the declared order
    demands (contiguous ids), or the union of all views in their order (all others).
    """

    GAP = "gap"
    """Events of the log are missing between the cursor a view asked for (or the start) and the
    first event that it showed."""
    GAP_INSIDE = "gap-inside"
    """Events of the log are missing between two events that one view showed."""
    DUPLICATE = "duplicate"
    """A view showed one event twice (a lone repetition); with `Rules.unique_content` also: two ids
    carry the same type, timestamp and data."""
    REORDER = "reorder"
    """A view showed an event only after another one that stands behind it in the log."""
    CURSOR_REGRESSION = "cursor-regression"
    """A view went back: it showed something at or before its own cursor, began a stretch of two or
    more events over again, or claimed to be current and ended before an event that somebody had
    been shown before it was opened."""
    PAYLOAD_DIVERGENCE = "payload-divergence"
    """One id, two contents, through the same kind of view (live and replay are one kind: the
    stream): the content changed with the time or the reader."""
    VIEW_DIVERGENCE = "view-divergence"
    """Kinds of view contradict each other though each is constant in itself: one id, one content
    by stream and another by snapshot or polling. Also, where ids are opaque and no final log tells
    who is right: two views disagree on which events there are, or on their order."""
    PHANTOM = "phantom"
    """A stream showed an event that the final log does not have; or an id that has no place in the
    declared order."""
    LOST_ACKNOWLEDGED = "lost-acknowledged"
    """A snapshot or a polling answer held an event that the final log does not have."""
    AFTER_TERMINAL = "after-terminal"
    """An event stands behind the terminal one."""
    TWO_TERMINALS = "two-terminals"
    """A second terminal event, with an id of its own."""
    NEVER_TERMINATED = "never-terminated"
    """The final log of a job that should have ended has no terminal event; or a view said that it
    was at the end of the job and had shown none."""
    CROSS_JOB = "cross-job"
    """An event that belongs to another job."""
    UNSIGNALLED_GAP = "unsignalled-gap"
    """All that a view skipped had been pruned, but it did not say so at that place. Where it does,
    exactly what was pruned before the announced earliest event is excused; what the final log
    still has never is."""
    LAG = "lag"
    """An event reached a live view later than the limit after its emission, or after it had reached
    any other view; the worst case of the view is named."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as one view showed it."""

    id: str
    key: Key
    at: float
    """When it had arrived (seconds of the run's clock)."""
    offset: int | None = None
    """Where in the body it stands, None where the view has no useful offset."""
    terminal: bool = False
    job: str | None = None
    """The job that it names itself, or whose canary it carries; None where it says nothing."""
    emitted_at: float | None = None
    """When it was emitted, on the run's clock, where that is known."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The target's own word that history is missing."""

    index: int
    """How many entries the view had shown before it."""
    earliest: str
    """The id from which on it says to have everything."""


@dataclass(frozen=True, slots=True)
class View:
    """What one connection or one answer showed of a job, in the order of arrival."""

    name: str
    kind: Kind
    entries: tuple[Entry, ...]
    after: str | None = None
    """The cursor that it asked for, None or empty for the start."""
    complete: bool = True
    """Shows everything between `after` and its last entry (False: a window, a sample)."""
    current: bool = False
    """Claims to reach the newest event there is (a snapshot, a poll without `has_more`)."""
    ended: bool = False
    """Says that the job is over (clean end of stream that is no recycling, `done`, a terminal
    status)."""
    gaps: tuple[Gap, ...] = ()
    opened_at: float = 0.0
    """When it was asked for."""
    closed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What the target declares, as far as it bears on histories."""

    order: Order = "contiguous"
    first: int = 1
    """The first id of a contiguous order."""
    job: str = ""
    """This job, as `Entry.job` names it; empty where entries are not to be told apart."""
    finished: bool = True
    """The job should have ended when the final log was read."""
    lag_limit_s: float | None = None
    unique_content: bool = False
    """No two events of a job have equal type, timestamp and data (timestamps are fine enough)."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One kind of fault in one view, with the first and smallest example of it."""

    kind: AnomalyKind
    view: str
    message: str
    ids: tuple[str, ...]
    """The ids to look at, at most `IDS_MAX`."""
    at: float
    offset: int | None
    count: int = 1
    """How many times the view has this fault; only the first is described."""


def canonical(value: Any) -> str:
    """A text that is equal for equal JSON values, whatever the order of members and the escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
