"""The states of a job, their order, and where a view tells which one it is in.

A job moves from queued over running to one of its ends and never back. Snapshots, pages and events
all tell of it, so what a state is and which of two is the earlier is said here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamgauge.profile import Profile
from streamgauge.recording import Recording

from .reading import Seen

RANKS = {"queued": 0, "started": 1, "running": 2, "completed": 3, "failed": 3, "canceled": 3}
ENDED = 3
FINAL = frozenset(name for name, rank in RANKS.items() if rank == ENDED)


def told_status(data: Any) -> str:
    return str(data.get("status", "")) if isinstance(data, dict) else ""


def view_status(recording: Recording) -> str:
    return told_status(recording.json)


def final_status(log: Sequence[Seen], profile: Profile) -> str:
    """How a log says that its job ended, "" where it does not; that `done` agrees is LIFE-11's."""
    told = {
        event.type: status
        for event in log
        if RANKS.get(status := told_status(event.data)) == ENDED
        and (event.type == "job_status" or event.type in profile.events.terminal)
    }
    return told.get("job_status") or next(iter(told.values()), "")


def goes_back(before: str, after: str) -> bool:
    if RANKS[before] == ENDED:
        return before != after
    return RANKS[after] < RANKS[before]
