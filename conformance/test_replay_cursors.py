"""REPLAY: each cursor of a finished log gives exactly what follows it, as often as it is asked.

Every cursor is tried, since a fault often sits at one place: the first event, the last one, or the
edge of a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.verdict import Broken, Found

from .comparing import difference, suffix
from .finals import log_of, replayed_log
from .reading import Seen, exhibit, stream_log


@check("REPLAY-03", "log")
def test_reading_consumes_nothing(run: Run) -> Found:
    """If a log is replayed twice, then both replays are the same."""
    log = replayed_log(run)
    for label in ("replay 1", "replay 2"):
        recording = run.need("log", label)
        seen = stream_log(recording, run.profile)
        fault, place = difference(log, seen)
        if fault:
            raise Broken(
                f"two replays of one log differ: {fault}",
                exhibit(recording, place, "differs from the first replay"),
                count=len(log),
                what="events compared",
            )
    return Found(2 * len(log), "events compared", f"digest {_digest(log)}")


def _digest(log: Sequence[Seen]) -> str:
    return sha256("\n".join(f"{e.id} {e.type} {e.text}" for e in log).encode()).hexdigest()[:16]


@check("REPLAY-04", "log")
def test_every_cursor_yields_exactly_what_follows(run: Run) -> Found:
    """If a reader resumes after event k, then it gets exactly the events after k, for every k."""
    bundle = run.bundle("log")
    if bundle.unable and (while_it_goes_on := bundle.all("open suffix")):
        return _of_an_open_log(run, run.need("log", "open reader"), while_it_goes_on)
    log = replayed_log(run)
    cursors = 0
    for recording in bundle.all("suffix"):
        if recording.end is End.LEFT:
            continue
        after = str(recording.info["after"])
        expected = suffix(log, after)
        if expected is None:
            continue
        fault, place = _suffix_fault(run, recording, expected)
        if fault:
            raise Broken(
                f"Last-Event-ID: {after}: {fault}",
                exhibit(recording, place, f"resumed after {after}"),
                count=cursors,
                what="cursors tried",
            )
        cursors += 1
    return Found(cursors, "cursors tried", f"on a log of {len(log)} events")


def _of_an_open_log(run: Run, reader: Recording, resumed: Sequence[Recording]) -> Found:
    """The same for a log that goes on: what had been shown must come, and in the same order."""
    log = stream_log(reader, run.profile)
    cursors = 0
    for recording in resumed:
        after = str(recording.info["after"])
        expected = suffix(log, after) or ()
        due = [event for event in expected if event.at <= recording.sent_at]
        seen = stream_log(recording, run.profile) if recording.is_stream else ()
        # Either of the two may have been left a little earlier than the other.
        both = max(len(due), min(len(expected), len(seen)))
        fault, place = _suffix_fault(run, recording, expected[:both], both)
        if fault:
            raise Broken(
                f"Last-Event-ID: {after}: {fault}, though another reader had been shown it",
                exhibit(recording, place, f"resumed after {after}"),
                reader,
                count=cursors,
                what="cursors tried",
            )
        cursors += 1
    return Found(cursors, "cursors tried", "the newest ones of a log that goes on")


def _suffix_fault(
    run: Run, recording: Recording, expected: Sequence[Seen], most: int | None = None
) -> tuple[str, Seen | None]:
    """What is wrong with a resumed stream; `most`: of more than so many events, only these."""
    if recording.status is None:
        return f"no answer ({recording.end.value} {recording.error})", None
    if not recording.is_stream:
        return f"status {recording.status} {recording.media_type}", None
    seen = stream_log(recording, run.profile)[:most]
    fault, place = difference(expected, seen)
    if fault and seen and expected and len(seen) > len(expected):
        fault = f"{len(seen)} events instead of {len(expected)}, from {seen[0].id}; {fault}"
    return fault, place


@check("REPLAY-05", "log")
def test_no_cursor_means_from_the_first(run: Run) -> Found:
    """If the header is absent or empty, then the stream begins with the first event."""
    log = replayed_log(run)
    compared = 0
    for label in ("replay 1", "replay empty header"):
        recording = run.need("log", label)
        if not recording.is_stream:
            raise Broken(
                f"{label}: status {recording.status} instead of the whole log",
                recording,
                count=compared,
                what="events compared",
            )
        fault, place = difference(log, stream_log(recording, run.profile))
        if fault:
            raise Broken(
                f"{label}: {fault}",
                exhibit(recording, place),
                count=compared,
                what="events compared",
            )
        compared += len(log)
    return Found(compared, "events compared", shown=run.need("log", "replay empty header"))


@check("REPLAY-10", "inputs", "log")
def test_the_header_wins_over_the_query(run: Run) -> Found:
    """If header and query name a cursor, then the header's counts; a repeated one is refused."""
    bundle = run.bundle("inputs")
    log = log_of(run, "inputs", "replay")
    tried = 0
    for label, after in (
        ("header over query", None),
        ("header over bad query", None),
        ("empty header, query", 2),
    ):
        recording = bundle.get(label)
        if recording is None:
            continue
        cursor = log[after].id if after is not None else str(recording.info["after"])
        expected = suffix(log, cursor) or ()
        if not recording.is_stream:
            fault, place = f"status {recording.status}", None
        else:
            fault, place = difference(expected, stream_log(recording, run.profile))
        if fault:
            raise Broken(
                f"{label}: {fault}", exhibit(recording, place), count=tried, what="combinations"
            )
        tried += 1
    tried += _queries(run)
    declared = run.profile.declared.repeated_cursor_status
    for label in ("repeated header", "repeated query"):
        recording = bundle.get(label)
        if recording is not None and recording.status != declared:
            raise Broken(
                f"{label}: status {recording.status}, declared is {declared}",
                recording,
                count=tried,
                what="combinations",
            )
        tried += recording is not None
    return Found(tried, "combinations")


def _queries(run: Run) -> int:
    """The query cursor alone works like the header."""
    log = replayed_log(run)
    recording = run.bundle("log").get("query cursor")
    if recording is None:
        return 0
    expected = suffix(log, str(recording.info["query"])) or ()
    seen = stream_log(recording, run.profile) if recording.is_stream else ()
    fault, place = difference(expected, seen)
    if fault:
        raise Broken(
            f"cursor in the query: {fault}", exhibit(recording, place), what="combinations"
        )
    return 1
