"""Does a client that comes back go on where it was, and if not, which way does it go wrong?

A resumed stream has one right beginning: the event after its cursor, in the log's own order. By how
far it misses, again and again, tells where the fault is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..recording import End, Recording
from .model import Sureness

SHARE_MIN = 0.75
"""Of the resumes that went wrong, so many have to go wrong in the same way."""
WRONG_MIN = 2
SURE_FROM = 4
SILENT_S = 2.0
"""A resumed stream that shows nothing for so long although there is something shows nothing."""


class Way(StrEnum):
    """Which way resuming goes wrong."""

    IGNORED = "ignored"
    """The whole log comes again."""
    HEADER_LOST = "header_lost"
    """The same, but the cursor in the query works: the header does not get there."""
    LIVE_ONLY = "live_only"
    """What was missed is never shown; only what is new is."""
    REPEATS_ONE = "repeats_one"
    SKIPS_ONE = "skips_one"
    UNKNOWN_JOB = "unknown_job"
    """Refused although the job exists: by an instance that does not know it."""
    SILENT = "silent"
    """Open, and nothing comes."""


@dataclass(frozen=True, slots=True)
class Resume:
    """One stream that was asked for with a cursor."""

    way: Way | None
    """None: it began where it had to."""
    query: bool
    """The cursor stood in the query and not in the header."""


@dataclass(frozen=True, slots=True)
class Resumes:
    """What resumed streams have in common."""

    way: Way
    wrong: int
    made: int
    sureness: Sureness


Ids = Callable[[Recording], Sequence[str]]


def log_order(recordings: Iterable[Recording], ids: Ids) -> dict[str, int]:
    """The place of each event in its job's log: the longest list that any view gave."""
    longest: Sequence[str] = ()
    for recording in recordings:
        shown = ids(recording)
        if len(set(shown)) == len(shown) and len(shown) > len(longest):
            longest = shown
    return {identifier: place for place, identifier in enumerate(longest)}


def resume_of(
    recording: Recording, order: Mapping[str, int], shown: Sequence[str]
) -> Resume | None:
    """How one resumed stream began; None where nothing can be said.

    Args:
        recording: a stream, or the refusal of one.
        order: the places of the job's events (`log_order`).
        shown: the ids that the stream showed.
    """
    header, query = recording.info.get("after"), recording.info.get("query")
    both = header is not None and "?" in recording.request.url
    cursor = str(header if header is not None else query if query is not None else "")
    place = order.get(cursor)
    if place is None or both:
        return None
    in_query = header is None
    due = len(order) - 1 - place
    if recording.status in (404, 410):
        return Resume(Way.UNKNOWN_JOB, in_query)
    if not recording.is_stream or due == 0:
        return None
    if not shown:
        waited = recording.ended_at - recording.sent_at
        silent = waited >= SILENT_S and recording.end in (End.TIMEOUT, End.LEFT)
        return Resume(Way.SILENT, in_query) if silent else None
    first = order.get(shown[0])
    if first is None:
        return None
    off = first - (place + 1)
    if off == 0:
        return Resume(None, in_query)
    if first == 0 and place > 0:
        return Resume(Way.IGNORED, in_query)
    if off == -1:
        return Resume(Way.REPEATS_ONE, in_query)
    if off == 1:
        return Resume(Way.SKIPS_ONE, in_query)
    return Resume(Way.LIVE_ONLY, in_query) if off > 1 else None


def find_resumes(resumes: Iterable[Resume]) -> Resumes | None:
    """The way in which resuming is broken, None where it works or nothing agrees."""
    made = list(resumes)
    ways = Counter(resume.way for resume in made if resume.way is not None)
    wrong = sum(ways.values())
    if wrong < WRONG_MIN:
        return None
    way, count = ways.most_common(1)[0]
    if count < WRONG_MIN or count < SHARE_MIN * wrong:
        return None
    by_query = [resume for resume in made if resume.query]
    if way is Way.IGNORED and by_query and all(resume.way is None for resume in by_query):
        way = Way.HEADER_LOST
    return Resumes(way, count, len(made), Sureness.SURE if count >= SURE_FROM else Sureness.LIKELY)
