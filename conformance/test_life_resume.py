"""LIFE: who comes back after the end is told to stop, in an answer without a body.

A browser reconnects for ever unless an answer stops it; and a byte behind a 204 or 304 is taken for
the next answer on the same connection.
"""

from __future__ import annotations

from statistics import median

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .reading import stream_log
from .stories import Story, all_stories, clock_margin_s, how_long, whole_logs

AT_ONCE_S = 2.0
"""What "at once" may take beyond the declared time to the first byte."""


@check("LIFE-07", "log", "endings")
def test_a_terminal_cursor_gets_the_declared_answer(run: Run) -> Found:
    """If a reader comes back with the terminal event's id, then it is told at once to stop."""
    declared = run.profile.declared.terminal_resume_status
    ends = {story.job: _last_ids(run, story) for story in all_stories(run)}
    opened = [
        r
        for name in ("log", "endings")
        if name in run.evidence.bundles
        for r in run.bundle(name).recordings
        if r.request.method == "GET"
        and r.request.header("Accept") == "text/event-stream"
        and r.end is not End.REFUSED
        and r.info.get("after") in ends.get(str(r.info.get("job")), ())
    ]
    heads = [r.head_at - r.sent_at for r in run.bundle("log").all("replay 1") if r.head_at]
    usual = median(heads) if heads else 0.0
    limit = run.profile.declared.first_byte_s + AT_ONCE_S + usual + clock_margin_s(run)
    for number, recording in enumerate(opened):
        fault = _resume_fault(run, recording, declared, limit)
        if fault:
            raise Broken(
                f"{recording.label} (Last-Event-ID {recording.info['after']}, the terminal event): "
                f"{fault}; declared is {declared}",
                recording,
                count=number,
                what="reconnects after the end",
            )
    if not opened:
        raise Unable(run.bundle("log").unable or "no terminal event with an id was seen to resume")
    return Found(len(opened), "reconnects after the end", shown=opened[0])


def _last_ids(run: Run, story: Story) -> set[str]:
    """The id of a job's last event, where that is the terminal one."""
    last = [log[-1] for _, log in whole_logs(run, story)]
    return {event.id for event in last if event.type in run.profile.events.terminal and event.id}


def _resume_fault(run: Run, recording: Recording, declared: int, limit: float) -> str:
    if recording.is_stream:
        seen = stream_log(recording, run.profile)
        if seen and _ignores_cursors(run):
            raise Unable(
                "resuming after any event gives the whole log again, so the answer to the terminal "
                "cursor tells nothing (see REPLAY-04)"
            )
        if seen:
            return f"{len(seen)} events were sent again"
        if not recording.ended_cleanly:
            return f"a stream was opened and stayed silent for {how_long(recording)}"
        if declared != 200:
            return "an empty stream was opened and ended, so that a browser reconnects for ever"
        return "" if recording.ended_at - recording.sent_at <= limit else "it did not end at once"
    if not recording.answered:
        return outcome(recording)
    if recording.status != declared:
        return f"answered with {outcome(recording)}"
    head_after = (recording.head_at or recording.ended_at) - recording.sent_at
    return f"answered only after {head_after:.1f} s" if head_after > limit else ""


def _ignores_cursors(run: Run) -> bool:
    """Whether resuming from the middle of the finished log gives all of it as well."""
    bundle = run.bundle("log")
    replay = bundle.get("replay 1")
    whole = stream_log(replay, run.profile) if replay is not None and replay.is_stream else ()
    resumed = [r for r in bundle.all("suffix") if r.is_stream]
    sample = resumed[len(resumed) // 4 :: max(1, len(resumed) // 3)][:3]
    return bool(whole and sample) and all(
        (seen := stream_log(r, run.profile)) and seen[0].id == whole[0].id for r in sample
    )


@check("LIFE-08", "inputs", "log")
def test_204_and_304_have_no_body(run: Run) -> Found:
    """If an answer's status is 204 or 304, then no byte follows its head and none is announced."""
    judged = []
    for label in ("bare terminal", "bare 304"):
        recording = run.bundle("inputs").get(label)
        if recording is None or recording.status not in (204, 304):
            continue
        judged.append(f"{recording.status} ({label})")
        if recording.surplus:
            raise Broken(
                f"{label}: {len(recording.surplus)} bytes follow the head of the "
                f"{recording.status}: {recording.surplus[:60]!r}; on a kept connection they are "
                "taken for the next answer",
                recording,
                count=len(judged),
                what="answers without body",
            )
    for recording in run.recordings():
        if recording.status != 204:
            continue
        announced = [
            f"{name}: {value}"
            for name, value in recording.headers
            if (name.lower() == "content-length" and value.strip() != "0")
            or name.lower() == "transfer-encoding"
        ]
        if announced:
            raise Broken(
                f"{recording.label}: a 204 that announces a body ({announced[0]})",
                recording,
                count=len(judged),
                what="answers without body",
            )
    if not judged:
        bundle = run.bundle("inputs")
        raise Unable(bundle.unable or "no answer had the status 204 or 304")
    return Found(len(judged), "answers without body", f"read to the last byte: {', '.join(judged)}")
