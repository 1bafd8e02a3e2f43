"""RT: streams live through pauses, hold nothing back over them, and do not fall behind.

Idle timeouts and buffers that wait for more show only when a job is quiet, and a reader that is
served too slowly only after many events.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.results import Exhibit
from streamgauge.timing import lag, moment, percentile
from streamgauge.verdict import Broken, Found, Unable

from .clocks import clock_offset, require_calm, slack_s
from .reading import exhibit, has_terminal, is_log, recycled, stream_log, streams

TREND_EVENTS_MIN = 40
CUT_IN_SILENCE_S = 2.0
"""A connection that ends sooner after an event was not cut for being idle."""
TREND_S = 0.5
SPARE_S = 0.25


@check("RT-05", "quiet", "gaps", "live")
def test_the_last_event_before_a_pause_is_not_held(run: Run) -> Found:
    """If a job pauses, then the event before the pause has arrived before the pause is over."""
    offset, zero = clock_offset(run), run.evidence.wall_at_zero
    bound = run.profile.declared.lag_p95_s + slack_s(run)
    judged = 0
    for recording in _pausing_readers(run):
        seen = stream_log(recording, run.profile)
        for event, following in pairwise(seen):
            this, then = moment(event.timestamp), moment(following.timestamp)
            # What is held until the next event must be late beyond doubt.
            if this is None or then is None or then - this < bound + offset.width_s + SPARE_S:
                continue
            late = lag(this, zero + event.at, offset)
            if late.least >= bound and not offset.contradictory:
                raise Broken(
                    f"{event.type} {event.id}, the last before a pause of {then - this:.0f} s, "
                    f"arrived {late.least:.1f} s late: it waited for something to push it out",
                    exhibit(recording, event, "held back over the pause"),
                    count=judged,
                    what="pauses",
                )
            judged += 1
    if not judged:
        raise Unable(_why_no_pause(run))
    return Found(judged, "pauses")


def _pausing_readers(run: Run) -> list[Recording]:
    """Readers that were open when their job paused; a joiner's replay shows no pause live."""
    bundle = run.evidence.bundles.get("quiet" if run.shaped else "live")
    return streams(bundle, "reader") if bundle is not None else []


def _why_no_pause(run: Run) -> str:
    quiet = run.evidence.bundles.get("quiet")
    reason = quiet.unable if quiet is not None else ""
    return reason if run.shaped and reason else "no pause was seen on a live stream"


@check("RT-06", "quiet", "live")
def test_a_quiet_stream_lives_on(run: Run) -> Found:
    """If a job is quiet for longer than the heartbeat interval, then its streams stay open."""
    lived, longest = 0, 0.0
    beat_s = run.profile.declared.heartbeat_s
    for recording in _pausing_readers(run) + (
        streams(run.bundle("quiet"), "tail") if run.shaped else []
    ):
        *silences, last = _silences(run, recording)
        if has_terminal(stream_log(recording, run.profile), run.profile):
            longest = max(longest, *silences)
            lived += max(silences) >= beat_s
            continue
        if recording.end in (End.LEFT, End.TIMEOUT) or recycled(recording, run.profile):
            continue
        if last < CUT_IN_SILENCE_S:
            continue
        raise Broken(
            f"a stream was cut after {last:.1f} s without an event ({recording.end.value})",
            Exhibit(recording, "cut in the silence"),
            count=lived,
            what="quiet streams",
        )
    if not lived:
        raise Unable(_why_no_pause(run))
    part = "" if run.long else "; beyond 60, 75 and 120 s only with --long"
    return Found(lived, "quiet streams", f"quiet for {longest:.0f} s{part}")


def _silences(run: Run, recording: Recording) -> list[float]:
    """The times between events of the log; the last is that before the end of the connection."""
    times = [event.at for event in stream_log(recording, run.profile)]
    marks = [recording.sent_at, recording.head_at or recording.sent_at, *times, recording.ended_at]
    return [after - before for before, after in pairwise(marks)]


@check("RT-07", "live")
def test_lag_does_not_grow(run: Run) -> Found:
    """If a stream stays open, then its events do not arrive later and later."""
    require_calm(run)
    judged = 0
    for recording in streams(run.bundle("live"), "reader"):
        late = [
            event.at - stamp
            for event in stream_log(recording, run.profile)
            if (stamp := moment(event.timestamp)) is not None
        ]
        if len(late) < TREND_EVENTS_MIN:
            continue
        quarter = len(late) // 4
        growth = median(late[-quarter:]) - median(late[:quarter])
        if growth > TREND_S and _steady(late):
            raise Broken(
                f"events of {recording.label!r} arrived {growth:.2f} s later at the end than at "
                "the beginning",
                Exhibit(recording),
                count=judged,
                what="events compared",
            )
        judged += len(late)
    worst = _skew(run)
    if worst > run.profile.declared.skew_s:
        raise Broken(
            f"the same event reached two readers {worst:.2f} s apart; declared is "
            f"{run.profile.declared.skew_s:g} s",
            count=judged,
            what="events compared",
        )
    if not judged:
        raise Unable(f"no stream showed {TREND_EVENTS_MIN} events live")
    part = "" if run.long else "; over five minutes only with --long"
    return Found(judged, "events compared", f"largest skew {worst * 1000:.0f} ms{part}")


def _steady(late: list[float]) -> bool:
    """Growth, not one burst at the end: events that all arrive together get *less* late."""
    middle = len(late) // 2
    return median(late[middle:]) > median(late[:middle])


def _skew(run: Run) -> float:
    """The largest distance between two readers' arrivals of one event (95th percentile)."""
    arrivals: dict[str, list[float]] = {}
    for recording in streams(run.bundle("live"), "reader"):
        if not any(is_log(b, run.profile) for b in recording.blocks):
            continue
        for event in stream_log(recording, run.profile):
            if event.id:  # without ids nobody knows which events are the same
                arrivals.setdefault(event.id, []).append(event.at)
    opened = max((r.sent_at for r in streams(run.bundle("live"), "reader")), default=0.0)
    skews = [
        max(times) - min(times)
        for times in arrivals.values()
        if len(times) > 1 and min(times) > opened + 1.0
    ]
    return percentile(skews, 0.95)
