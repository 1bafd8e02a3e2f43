"""POLL: cursors work in both views, and malformed parameters are refused as declared.

A client falls back from the stream to polling in mid-job, and later goes back; its cursor has to
mean the same place on both sides.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Recording
from streamgauge.verdict import Broken, Found, Unable

from .comparing import suffix
from .finals import FinalLog, scenario_log, unanswered
from .polling import pages, refusal
from .reading import cursor_of, listed, stream_log

PROBLEM = "application/problem+json"
UNREADABLE = frozenset({414, 431})
"""What an HTTP server may say to a request line of 8 KiB before anybody reads the cursor."""


@check("POLL-05", "log")
def test_stream_and_polling_share_their_cursors(run: Run) -> Found:
    """If a cursor comes from one view, then the other one goes on from it."""
    bundle, log = run.bundle("log"), scenario_log(run, "log")
    judged = 0
    for recording in bundle.all("after"):
        if recording.answered and recording.status != 200:
            raise Broken(
                f"the stream's id {recording.info.get('after')!r} as `after`: status "
                f"{recording.status} instead of 200",
                recording,
                log.recording,
                count=judged,
                what="cursors carried over",
            )
        judged += recording.answered
    for recording in pages(run, "log"):
        cursor = cursor_of(recording)
        if cursor and log.place(cursor) is None and not log.predates(cursor):
            raise Broken(
                f"{recording.label}: the page's cursor {cursor!r} is no id of the stream (which "
                f"runs from {log.events[0].id!r} to {log.terminal.id!r})",
                recording,
                log.recording,
                count=judged,
                what="cursors carried over",
            )
        resumed = bundle.get(f"suffix {cursor}") if cursor else None
        judged += _resumes(run, log, recording, resumed, judged)
    return Found(judged, "cursors carried over")


def _resumes(
    run: Run, log: FinalLog, page: Recording, resumed: Recording | None, judged: int
) -> int:
    """Whether the stream went on behind a page's cursor."""
    if resumed is None or not resumed.answered:
        return 0
    cursor = cursor_of(page)
    if not resumed.is_stream:
        raise Broken(
            f"the page's cursor {cursor!r} as Last-Event-ID: status {resumed.status}, not a stream",
            resumed,
            page,
            count=judged,
            what="cursors carried over",
        )
    shown, due = stream_log(resumed, run.profile), suffix(log.events, cursor)
    if due and shown and shown[0].id != due[0].id:
        raise Unable(
            f"the stream does not go on behind the cursor {cursor!r}, which is an id of its own "
            "(see REPLAY-04)"
        )
    return 1


@check("POLL-06", "inputs")
def test_malformed_parameters_are_refused(run: Run) -> Found:
    """If a parameter is malformed, then it is refused as declared; unknown ones are ignored."""
    bundle = run.bundle("inputs")
    judged = 0
    for recording in [*bundle.all("malformed poll"), *bundle.all("poll")]:
        if not recording.answered and not unanswered(recording):
            continue
        judged += 1
        name = recording.label.removeprefix("malformed ").removeprefix("poll ")
        fault = _torture_fault(run, recording, name)
        if fault:
            query = recording.request.url.partition("?")[2]
            raise Broken(
                f"{name} (?{query if len(query) <= 60 else query[:57] + '...'}): {fault}",
                recording,
                count=judged,
                what="odd parameters",
            )
    if not judged:
        raise Unable(bundle.unable or "no odd parameters could be sent")
    return Found(judged, "odd parameters")


def _torture_fault(run: Run, recording: Recording, name: str) -> str:
    status, declared = recording.status, run.profile.declared
    if status is None:
        return unanswered(recording)
    if status >= 500:
        return f"status {status}: no input of a client may lead to a server error"
    opaque = run.profile.ids.order == "opaque"
    if name == "empty after":
        return refusal(recording) or _first_fault(run, recording)
    if name == "unknown parameter":
        return "" if opaque else refusal(recording)
    if name == "empty wait" and not _has_long_poll(run):
        return ""  # there it is an unknown parameter
    if name in ("empty limit", "empty wait"):
        return _problem_fault(recording, (400,))
    if opaque and name != "repeated":
        return ""  # what is malformed is the target's own secret
    due = (
        declared.repeated_cursor_status if name == "repeated" else declared.malformed_cursor_status
    )
    if due == 200:
        return refusal(recording) or ("" if name == "repeated" else _first_fault(run, recording))
    if name == "8 KiB" and status in UNREADABLE:
        return ""
    return _problem_fault(recording, (due,))


def _has_long_poll(run: Run) -> bool:
    absent = run.profile.capabilities.long_poll is False
    return not absent and not run.evidence.found.get("long_poll", "not looked for")


def _problem_fault(recording: Recording, due: tuple[int, ...]) -> str:
    if recording.status not in due:
        return f"status {recording.status} instead of {due[0]}"
    if recording.media_type != PROBLEM:
        return f"status {recording.status}, but as {recording.media_type!r} instead of {PROBLEM}"
    if not isinstance(recording.json, dict):
        return f"status {recording.status}, but its body is not a JSON object"
    return ""


def _first_fault(run: Run, recording: Recording) -> str:
    """Whether a page begins with the log."""
    due = scenario_log(run, "inputs").events
    shown = listed(recording)
    if not shown or shown[0].id != due[0].id:
        got = repr(shown[0].id) if shown else "no event at all"
        return f"the page begins with {got} instead of {due[0].id!r}"
    return ""
