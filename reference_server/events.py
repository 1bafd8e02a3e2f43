"""The entries of a job's log: what an event is, before and after it has been stored.

An event's payload is turned into JSON text once, when it is emitted, and that text is what every
view shows afterwards: stream, snapshot and polling never serialise a payload again, so they cannot
disagree about it. Nothing here knows about HTTP, frames or stores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, NamedTuple

#: A job's states in the order in which they can follow each other (protocol §2).
QUEUED: Final = "queued"
STARTED: Final = "started"
RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELED: Final = "canceled"
TERMINAL_STATUSES: Final = frozenset({COMPLETED, FAILED, CANCELED})


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has been emitted and not yet been stored: it has no id."""

    type: str
    timestamp: str
    """RFC 3339, UTC, microseconds, the moment of emission."""
    data: str
    """The payload as JSON text."""


class Event(NamedTuple):
    """An event of the log. `id` -> (`type`, `timestamp`, `data`) never changes.

    A tuple, because replays make thousands of them, and it is the cheapest that cannot change.
    """

    id: int
    type: str
    timestamp: str
    data: str

    def envelope(self) -> str:
        """The JSON text that stands in every view: `{"id", "type", "timestamp", "data"}`."""
        return (
            f'{{"id":{self.id},"type":"{self.type}",'
            f'"timestamp":"{self.timestamp}","data":{self.data}}}'
        )


def to_json(value: object) -> str:
    """Serialise a payload: compact, UTF-8 as it is, never NaN."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
