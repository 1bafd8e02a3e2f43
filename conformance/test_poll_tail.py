"""POLL: at the tail a page is empty and prompt, or held as long as was asked, and `done` is true.

A client that follows a running job polls at its tail all the time: an answer that sleeps, skips or
claims the end too early stops it or lets it turn in circles.
"""

from __future__ import annotations

from functools import cache, partial

from streamgauge.check import Run, check
from streamgauge.recording import Recording
from streamgauge.verdict import Broken, Found, Unable

from .clocks import slack_s
from .finals import final_log, job_of, unanswered
from .polling import pages, refusal
from .reading import body_of, cursor_of, exhibit, listed, stream_log

PROMPT_S = 5.0
"""Without `wait` nothing is waited for; the rest is the network's and a busy host's."""
HELD_MARGIN_S = 1.5
HELD_EARLY_S = 0.05
"""Timers may fire a little early."""


@check("POLL-03", "log", "live", "quiet")
def test_the_tail_is_empty_and_prompt(run: Run) -> Found:
    """If nothing comes after a cursor, then the page is empty at once, with this very cursor."""
    tails = [
        *run.bundle("log").all("poll at the end"),
        *(run.bundle("quiet").all("poll at the tail") if "quiet" in run.evidence.bundles else ()),
    ]
    judged = 0
    for recording in tails:
        fault = refusal(recording)
        if not recording.answered and not fault:
            continue
        judged += 1
        if fault := fault or _tail_fault(recording):
            raise Broken(
                f"{recording.label} (after {recording.info.get('after')!r}, where nothing follows "
                f"yet): {fault}",
                recording,
                count=judged,
                what="pages at the tail",
            )
    if not judged:
        raise Unable(run.bundle("log").unable or "nothing was polled at the tail")
    return Found(judged, "pages at the tail", _done_is_true(run, judged))


def _tail_fault(recording: Recording) -> str:
    took, after = recording.ended_at - recording.sent_at, str(recording.info.get("after"))
    shown = [event.id for event in listed(recording)]
    if after in shown:
        raise Unable(f"polling after {after!r} shows {after!r} once more (see POLL-01)")
    if took > PROMPT_S:
        return f"answered only after {took:.1f} s, though no wait was asked for"
    if not shown and cursor_of(recording) != after:
        return (
            f"the cursor is {body_of(recording).get('cursor')!r}, not the one that was asked with"
        )
    return ""


def _done_is_true(run: Run, judged: int) -> str:
    """The half about `done`, on every page whose place in the log is known."""
    told = 0
    log_by_job = cache(partial(final_log, run))
    for recording in pages(run, "log", "live", "quiet"):
        log = log_by_job(job_of(recording))
        if log is None:
            continue
        shown, after = listed(recording), str(recording.info.get("after") or "")
        reached = shown[-1].id if shown else after
        at_end, done = reached == log.terminal.id, body_of(recording).get("done")
        told += 1
        if done is not at_end and (at_end or log.place(reached) is not None or not reached):
            why = "the terminal event" if at_end else "which is not the end of the log"
            raise Broken(
                f"{recording.label}: done is {done!r} on a page that reaches {reached or 0!r}, "
                f"{why} (the terminal event is {log.terminal.id!r})",
                recording,
                exhibit(log.recording, log.terminal, "the terminal event"),
                count=judged + told,
                what="pages whose done was judged",
            )
    return f"done was right on {told} pages"


@check("POLL-07", "quiet", part="long_poll")
def test_wait_holds_the_answer(run: Run) -> Found:
    """If `wait` is given, then the answer comes with news or when the time is over, not else."""
    bundle = run.bundle("quiet")
    held = [*run.bundle("probe").all("held poll"), *bundle.all("poll held")]
    margin = HELD_MARGIN_S + slack_s(run)
    judged, longest = 0, 0.0
    for recording in held:
        if not recording.answered and not unanswered(recording):
            continue
        judged += 1
        took = recording.ended_at - recording.sent_at
        longest = max(longest, took)
        if fault := _held_fault(run, recording, took, margin):
            raise Broken(
                f"{recording.label} (wait={recording.info.get('wait')}, after "
                f"{recording.info.get('after')!r}): {fault}",
                recording,
                bundle.get("reader"),
                count=judged,
                what="held polls",
            )
    if not judged:
        raise Unable(bundle.unable or "no poll was held")
    return Found(judged, "held polls", f"the longest was held for {longest:.1f} s")


def _is_over(recording: Recording) -> bool:
    """Nothing new will come: then there is nothing to wait for."""
    return isinstance(recording.json, dict) and bool(recording.json.get("done"))


def _held_fault(run: Run, recording: Recording, took: float, margin: float) -> str:
    if fault := refusal(recording):
        return fault
    wait, shown = float(recording.info.get("wait", 0)), listed(recording)
    if shown and shown[0].id == recording.info.get("after"):
        raise Unable(f"polling after {shown[0].id!r} shows it once more (see POLL-01)")
    if took > wait + margin:
        return f"answered after {took:.2f} s: later than was asked for"
    if not shown and took < wait - HELD_EARLY_S and not _is_over(recording):
        return f"answered empty-handed after {took:.2f} s, before the time was over"
    reader = run.bundle("quiet").get("reader")
    if not shown or reader is None or job_of(reader) != job_of(recording) or not reader.is_stream:
        return ""
    arrived = [e.at for e in stream_log(reader, run.profile) if e.id == shown[0].id]
    if arrived and recording.ended_at > max(arrived[0], recording.sent_at) + margin:
        late = recording.ended_at - arrived[0]
        return f"event {shown[0].id!r} came {late:.2f} s after a reader had it: the wait slept on"
    return ""
