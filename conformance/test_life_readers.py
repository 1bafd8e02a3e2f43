"""LIFE: a job goes on when nobody reads it, and waits for its first reader where that is offered.

Leaving is not cancelling: a page that is reloaded must find its job further on. Waiting is the one
case in which a reader does matter to the job, and then it has to be the only one.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording
from streamgauge.verdict import Broken, Found, Unable

from .reading import exhibit, has_terminal, listed, recycled, stream_log
from .states import final_status
from .stories import MARGIN_S, clock_margin_s, in_id_order, shows_whole

SELF_START_MARGIN_S = 3.0


@check("LIFE-09", "endings")
def test_a_job_goes_on_without_readers(run: Run) -> Found:
    """If nobody reads a job, or its only reader leaves, then it goes on to its end."""
    if not run.shaped:
        raise Unable("needs a job that is known to last for a while after its reader has left")
    bundle = run.bundle("endings")
    judged, missing = 0, []
    for name in ("unread", "left"):
        replay = bundle.get(f"{name} replay")
        if replay is None or not replay.is_stream:
            missing.append(f"{name}: no replay was had")
            continue
        _require_went_on(run, bundle, name, replay)
        judged += 1
    if not judged:
        raise Unable(bundle.unable or "; ".join(missing))
    return Found(judged, "jobs without a reader", "; ".join(missing))


def _require_went_on(run: Run, bundle: Bundle, name: str, replay: Recording) -> None:
    snapshot, reader = bundle.get(f"{name} snapshot"), bundle.get(f"{name} reader")
    shown = listed(snapshot) if snapshot is not None else ()
    seen = stream_log(replay, run.profile)
    status = final_status(in_id_order((*shown, *seen), run.profile), run.profile)
    alone = "without ever having had a reader" if reader is None else "after its reader had left"
    if status.startswith("cancel") or status == "failed":
        raise Broken(
            f"the job {name!r} ended as {status!r} {alone}: nobody had asked for that",
            exhibit(replay, seen[-1] if seen else None, "the end"),
            reader,
        )
    base = len(stream_log(reader, run.profile)) if reader is not None else 0
    # What a replay shows at once was there before it was opened.
    opened_at = replay.reads[0].at if replay.reads else replay.sent_at
    early = sum(event.at <= opened_at + 0.3 for event in seen)
    had = max(len(shown), early)
    ended = has_terminal(shown, run.profile) or (
        has_terminal(seen, run.profile) and early == len(seen)
    )
    if not ended and had < base + 3:
        since = reader.ended_at if reader is not None else _started(bundle, name)
        waited = replay.sent_at - since
        raise Broken(
            f"the job {name!r} stood still {alone}: {base} events before, {had} events "
            f"{waited:.1f} s later, although it emits one each 0.1 s",
            replay,
            snapshot,
        )


def _started(bundle: Bundle, name: str) -> float:
    start = bundle.get(f"{name} start")
    return start.ended_at if start is not None else 0.0


@check("LIFE-13", "waiting", part="wait_for_subscriber")
def test_a_job_waits_for_its_subscriber(run: Run) -> Found:
    """If a job waits for a subscriber, then only a first stream, or time, lets it begin."""
    bundle = run.bundle("waiting")
    held = begun = 0
    soonest = run.profile.declared.subscriber_wait_s - MARGIN_S
    for recording in bundle.all("snapshot"):
        if not isinstance(recording.json, dict) or recording.status != 200:
            continue
        start = bundle.start_of(recording)
        if start is None or recording.ended_at - start.sent_at > soonest:
            continue  # looked at so late that the job may have begun by itself
        held += 1
        if shown := listed(recording):
            raise Broken(
                f"{recording.label}: {len(shown)} events were emitted before any stream was opened",
                recording,
                count=held,
                what="looks at waiting jobs",
            )
    for number in range(len(bundle.all("opened"))):
        begun += _got_the_first(run, bundle, number)
    note = _self_start(run, bundle)
    if not held and not begun:
        raise Unable(bundle.unable or "no job that waits for a subscriber was seen")
    return Found(held + begun, "looks at waiting jobs", note)


def _got_the_first(run: Run, bundle: Bundle, number: int) -> int:
    """Whether the first stream of a job showed its first event; 0 where that can't be told."""
    opened, replay = bundle.get(f"opened {number}"), bundle.get(f"replay {number}")
    if opened is None or replay is None or not (opened.is_stream and replay.is_stream):
        return 0
    log = in_id_order(stream_log(replay, run.profile), run.profile)
    if not log or not shows_whole(replay, run.profile) or recycled(opened, run.profile):
        return 0
    if log[0].id not in {event.id for event in stream_log(opened, run.profile)}:
        raise Broken(
            f"the stream that {opened.label!r} began with did not get the job's first event "
            f"({log[0].type} {log[0].id!r}), which a replay shows",
            opened,
            exhibit(replay, log[0], "the first event"),
        )
    return 1


def _self_start(run: Run, bundle: Bundle) -> str:
    """The job that nobody opens: nothing before the declared time, everything soon after it."""
    wait_s = run.profile.declared.subscriber_wait_s
    start = bundle.get("start unopened")
    looks = [r for r in bundle.all("unopened") if r.status == 200 and isinstance(r.json, dict)]
    if start is None or not looks:
        return "a start without any stream was not judged: the job was not watched"
    began = next((r for r in looks if listed(r)), None)
    if began is not None:
        # The job cannot be older than the moment in which it was asked for.
        age = began.ended_at - start.sent_at
        if age < wait_s - MARGIN_S:
            raise Broken(
                f"the job began by itself at most {age:.1f} s after its start, without a stream; "
                f"declared are {wait_s:g} s",
                began,
                start,
            )
        return f"without a stream the job had begun by itself {age:.1f} s after its start"
    waited = looks[-1].sent_at - start.ended_at
    if waited < wait_s + SELF_START_MARGIN_S - clock_margin_s(run):
        return f"a start without any stream was not judged: it was watched for {waited:.0f} s only"
    raise Broken(
        f"without a stream the job had not begun {waited:.1f} s after its start; declared are "
        f"{wait_s:g} s",
        looks[-1],
        start,
    )
