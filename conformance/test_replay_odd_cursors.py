"""REPLAY: cursors that are malformed, ahead of the log or another job's have a declared outcome.

Clients send them: after a restart, from an old page, or by mistake. A silent wrong answer is worse
than a refusal, as the reader then misses events without knowing.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End, Recording
from streamgauge.verdict import Broken, Found, Unable

from .comparing import difference
from .finals import log_of, running_log
from .reading import (
    Seen,
    control,
    control_data,
    events_of,
    exhibit,
    has_terminal,
    listed,
    recycled,
    stream_log,
)


@check("REPLAY-07", "inputs")
def test_malformed_cursors_have_one_outcome(run: Run) -> Found:
    """If a cursor is malformed, then stream and polling answer as declared, and at once."""
    bundle = run.bundle("inputs")
    declared = run.profile.declared.malformed_cursor_status
    whole = log_of(run, "inputs", "replay")
    tried = 0
    for recording in (
        bundle.all("malformed header")
        + bundle.all("malformed query")
        + tuple(r for r in bundle.all("malformed poll") if r.label != "malformed poll repeated")
    ):
        fault = _malformed_fault(run, recording, declared, whole)
        if fault:
            raise Broken(
                f"{recording.label}: {fault}", recording, count=tried, what="malformed cursors"
            )
        tried += 1
    return Found(tried, "malformed cursors", f"each answered {declared}")


def _malformed_fault(run: Run, recording: Recording, declared: int, whole: Sequence[Seen]) -> str:
    status = recording.status
    too_long = "8 KiB" in recording.label and status in (400, 414, 431)
    if status is None:
        if recording.end is End.TIMEOUT:
            return "no answer: the target hangs on it"
        return f"the connection ended without an answer ({recording.end.value})"
    if too_long or (declared != 200 and status == declared):
        return ""
    if declared == 200 and status == 200:
        seen = events_of(recording, run.profile)
        return "" if len(seen) == len(whole) else f"{len(seen)} of {len(whole)} events"
    return f"status {status}, declared is {declared}"


@check("REPLAY-08", "inputs", "live")
def test_a_cursor_ahead_of_the_log_is_answered(run: Run) -> Found:
    """If the cursor is ahead of the log, then that is signalled, and nothing is ever skipped."""
    declared = run.profile.declared.ahead
    tried = 0
    cases = [(r, log_of(run, "inputs", "replay")) for r in run.bundle("inputs").all("ahead")]
    live = run.evidence.bundles.get("live")
    if live is not None and live.all("ahead"):
        running = running_log(run, "live")
        cases += [(r, running) for r in live.all("ahead") if _still_ahead(run, live, r)]
    for recording, log in cases:
        if recording.label.startswith("ahead poll"):
            fault = _ahead_poll_fault(recording, declared, log)
        else:
            fault = _ahead_stream_fault(run, recording, declared, log)
        if fault:
            raise Broken(
                f"cursor {recording.info.get('after')} on a log that ends at {log[-1].id}: {fault}",
                recording,
                count=tried,
                what="cursors ahead of the log",
            )
        tried += 1
    if not tried:
        raise Unable("no cursor could be known to be ahead of the log when it was used")
    return Found(tried, "cursors ahead of the log")


def _still_ahead(run: Run, bundle: Bundle, recording: Recording) -> bool:
    """Whether a running job's log had not reached the cursor when it was used.

    What this reader's stream shows may be late: any view that knew the event before, and what the
    opening tells of the log, say that the target had it already.
    """
    after = str(recording.info.get("after"))
    head_at = recording.head_at or recording.ended_at
    for block in control(recording, run.profile.events.opening)[:1]:
        latest = str(control_data(block).get("latest"))
        if latest.isdigit() and after.isdigit() and int(latest) >= int(after):
            return False
    for other in bundle.recordings:
        seen = events_of(other, run.profile)
        if any(event.id == after and event.at <= head_at for event in seen):
            return False
    return True


def _ahead_stream_fault(run: Run, recording: Recording, declared: str, log: Sequence[Seen]) -> str:
    status = recording.status
    if status is None:
        return f"no answer ({recording.end.value})"
    if declared == "refused":
        return "" if 400 <= status < 500 else f"status {status} instead of a refusal"
    if not recording.is_stream:
        return f"status {status} instead of a gap signal and the whole log"
    gaps = control(recording, run.profile.events.gap)
    if not gaps:
        return "no gap signal"
    seen = stream_log(recording, run.profile)
    if recording.end in (End.LEFT, End.TIMEOUT) and not seen:
        return "a gap signal, and then silence instead of the whole log"
    fault, _ = difference(log[: len(seen)], seen)
    if not fault and not has_terminal(seen, run.profile) and recording.ended_cleanly:
        # A stream that was recycled has shown the beginning of the log and will be resumed.
        return "" if recycled(recording, run.profile) else "the log ends before its terminal event"
    return fault


def _ahead_poll_fault(recording: Recording, declared: str, log: Sequence[Seen]) -> str:
    status = recording.status
    if declared == "refused":
        return "" if status and 400 <= status < 500 else f"polling: status {status}"
    body = recording.json
    if status != 200 or not isinstance(body, dict):
        return f"polling answers {status} instead of a gap and the whole log"
    if not body.get("gap"):
        return "polling names no gap"
    seen = listed(recording)
    if not seen:
        return "polling lists nothing"
    # Which events, not what they say: views that disagree about that are POLL-02's matter.
    if [event.id for event in seen] == [event.id for event in log[: len(seen)]]:
        return ""
    return f"polling: {difference(log[: len(seen)], seen)[0]}"


@check("REPLAY-09", "inputs")
def test_another_jobs_id_is_only_a_number(run: Run) -> Found:
    """If a cursor was taken from another job, then nothing of that job is shown."""
    bundle = run.bundle("inputs")
    log = log_of(run, "inputs", "replay")
    tried = 0
    for recording in bundle.all("foreign cursor"):
        if recording.status is None:
            raise Broken(
                f"no answer to another job's cursor ({recording.end.value})",
                recording,
                count=tried,
                what="foreign cursors",
            )
        if recording.status >= 500:
            raise Broken(
                f"another job's cursor answers {recording.status}",
                recording,
                count=tried,
                what="foreign cursors",
            )
        for event in stream_log(recording, run.profile) if recording.is_stream else ():
            if not any(event.same(own) for own in log):
                raise Broken(
                    f"another job's cursor shows {event.type} {event.id}, which this job never "
                    "emitted",
                    exhibit(recording, event, "not of this job"),
                    count=tried,
                    what="foreign cursors",
                )
        tried += 1
    if not tried:
        raise Unable("a second job would be needed, and the target's own jobs cost too much")
    return Found(tried, "foreign cursors")
