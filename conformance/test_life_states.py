"""LIFE: states and progress only move forward, and all places name the same end.

A page that shows a job's state may be fed from a snapshot now and from the stream next; if these
disagree or go back, what it shows flickers or stays wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import Recording
from streamgauge.verdict import Broken, Found, Inapplicable

from .reading import Seen, exhibit, has_terminal, listed, stream_log
from .states import ENDED, RANKS, final_status, goes_back, told_status, view_status
from .stories import (
    EVERYWHERE,
    Story,
    all_stories,
    end_seen_at,
    in_id_order,
    terminal_places,
    whole_logs,
)

GRACE_S = 1.0
"""So long after the terminal event was seen a view may still have to catch up."""


@check("LIFE-03", *EVERYWHERE)
def test_states_only_move_forward(run: Run) -> Found:
    """If a view has shown a state, then it never shows an earlier one afterwards."""
    if "job_status" not in run.profile.events.names:
        raise Inapplicable(f"the profile {run.profile.name!r} names no job_status events")
    judged = 0
    for story in all_stories(run):
        for recording in story.streams:
            judged += _in_log(run, recording, stream_log(recording, run.profile))
        for recording in story.views:
            judged += _in_log(run, recording, listed(recording))
            judged += _fits_its_events(run, recording)
        by_place: dict[str, list[Recording]] = {}
        for recording in story.views:
            by_place.setdefault(recording.request.url.partition("?")[0], []).append(recording)
        for place in by_place.values():
            judged += _over_time(place)
    return Found(judged, "states compared")


def _in_log(run: Run, recording: Recording, seen: Sequence[Seen]) -> int:
    """The states that a log goes through; events sorted by id, so that order is left to REPLAY."""
    moves = [
        (told_status(event.data), event)
        for event in in_id_order(seen, run.profile)
        if event.type == "job_status" and told_status(event.data) in RANKS
    ]
    for (before, _), (after, event) in pairwise(moves):
        if goes_back(before, after):
            raise Broken(
                f"{recording.label}: job_status {after!r} (event {event.id!r}) follows {before!r}",
                exhibit(recording, event, "back to an earlier state"),
                what="states compared",
            )
    return len(moves)


def _fits_its_events(run: Run, recording: Recording) -> int:
    """A snapshot's status against the events that the same snapshot lists."""
    body, status, events = recording.json, view_status(recording), listed(recording)
    is_snapshot = "has_more" not in body and "done" not in body
    complete = not events or str(body.get("cursor")) == events[-1].id
    if not is_snapshot or status not in RANKS or "events" not in body or not complete:
        return 0
    shown = {told_status(e.data) for e in events if e.type == "job_status"}
    ended = has_terminal(events, run.profile)
    ended_status = ended or any(RANKS.get(each) == ENDED for each in shown)
    fault = ""
    if status == "queued" and events:
        fault = f"says queued and lists {len(events)} events"
    elif RANKS[status] == ENDED and not ended_status:
        fault = f"says {status} and lists no end among its {len(events)} events"
    elif RANKS[status] < ENDED and ended:
        fault = f"says {status} and lists the terminal event"
    if fault:
        raise Broken(f"{recording.label}: the snapshot {fault}", recording, what="states compared")
    return 1


def _over_time(views: Sequence[Recording]) -> int:
    """One view, asked again and again: each answer against those that it followed."""
    told = [r for r in views if view_status(r) in RANKS]
    finished = sorted(told, key=lambda r: r.ended_at)
    best: Recording | None = None
    position = 0
    for recording in sorted(told, key=lambda r: r.sent_at):
        while position < len(finished) and finished[position].ended_at <= recording.sent_at:
            earlier = finished[position]
            if best is None or RANKS[view_status(earlier)] >= RANKS[view_status(best)]:
                best = earlier
            position += 1
        if best is not None and goes_back(view_status(best), view_status(recording)):
            raise Broken(
                f"{recording.label} says {view_status(recording)!r}, though {best.label} had said "
                f"{view_status(best)!r} {recording.sent_at - best.ended_at:.2f} s before",
                recording,
                best,
                what="states compared",
            )
    return len(told)


@check("LIFE-11", *EVERYWHERE)
def test_the_status_frames_the_log(run: Run) -> Found:
    """If a log is finished, then it begins with `started` and all places name the same end."""
    if "job_status" not in run.profile.events.names:
        raise Inapplicable(f"the profile {run.profile.name!r} names no job_status events")
    logs = views = 0
    for story in all_stories(run):
        faults = [(_frame_fault(run, log), r) for r, log in whole_logs(run, story)]
        if not faults:
            continue
        # A fault of the log shows on every stream of it; on some streams only, it is a replay's.
        if all(fault for fault, _ in faults):
            fault, recording = faults[-1]
            assert fault is not None
            raise Broken(
                f"{recording.label} ({story.job}): {fault[0]}",
                exhibit(recording, fault[1], "the fault"),
                count=logs,
                what="finished logs",
            )
        logs += 1
        views += _views_agree(run, story, logs)
    return Found(logs, "finished logs", f"compared with {views} answers of the other views")


def _frame_fault(run: Run, log: Sequence[Seen]) -> tuple[str, Seen] | None:
    first, end = log[0], terminal_places(log, run.profile)[0]
    begins = run.profile.ids.order != "contiguous" or first.id == str(run.profile.ids.first)
    if begins and (first.type != "job_status" or told_status(first.data) != "started"):
        return f"the log begins with {first.type} {told_status(first.data)!r}", first
    before, done = log[end - 1], log[end]
    if end == 0 or before.type != "job_status":
        name = before.type if end else "nothing"
        return f"directly before {done.type} stands {name}, not a job_status", done
    told, ended = told_status(before.data), told_status(done.data)
    if RANKS.get(told) != ENDED:
        return f"the job_status before {done.type} says {told!r}, which is no end", before
    if ended and ended != told:
        return f"job_status says {told!r}, {done.type} says {ended!r}", done
    return None


def _views_agree(run: Run, story: Story, logs: int) -> int:
    """Snapshots and pages from the end on against the log's own last status."""
    end = end_seen_at(run, story)
    status = final_status(whole_logs(run, story)[-1][1], run.profile)
    compared = 0
    for recording in story.views:
        told = view_status(recording)
        shows_end = has_terminal(listed(recording), run.profile)
        settled = shows_end or (end is not None and recording.sent_at > end + GRACE_S)
        wrong_end = RANKS.get(told) == ENDED and told != status
        if told in RANKS and (wrong_end or (settled and told != status)):
            raise Broken(
                f"{recording.label} ({story.job}) says {told!r} where the log says {status!r}",
                recording,
                count=logs,
                what="finished logs",
            )
        compared += settled and told in RANKS
    return compared


@check("LIFE-12", *EVERYWHERE)
def test_progress_only_grows(run: Run) -> Found:
    """If a step tells its progress, then it stays in 0..100, never falls, and reaches 100."""
    if "step_progress" not in run.profile.events.names:
        raise Inapplicable(f"the profile {run.profile.name!r} names no step_progress events")
    judged = 0
    for story in all_stories(run):
        for recording, log in whole_logs(run, story)[:1]:
            reached: dict[str, float] = {}
            for event, step, pct in _progress(log):
                if not 0 <= pct <= 100:
                    fault = f"is at {pct:g} %"
                elif pct < reached.get(step, 0.0):
                    fault = f"falls from {reached[step]:g} % to {pct:g} %"
                else:
                    reached[step], judged = pct, judged + 1
                    continue
                raise Broken(
                    f"{recording.label} ({story.job}): step {step!r} {fault}",
                    exhibit(recording, event, "the progress"),
                    count=judged,
                    what="progress events",
                )
            short = [(step, pct) for step, pct in reached.items() if pct < 100]
            if short and final_status(log, run.profile) == "completed":
                step, pct = short[0]
                raise Broken(
                    f"{recording.label} ({story.job}): the job completed, but its step {step!r} "
                    f"never came beyond {pct:g} %",
                    recording,
                    count=judged,
                    what="progress events",
                )
    return Found(judged, "progress events")


def _progress(log: Sequence[Seen]) -> Iterator[tuple[Seen, str, float]]:
    for event in log:
        if event.type != "step_progress" or not isinstance(event.data, dict):
            continue
        pct = event.data.get("pct")
        if isinstance(pct, int | float) and not isinstance(pct, bool):
            yield event, str(event.data.get("step", "")), pct
