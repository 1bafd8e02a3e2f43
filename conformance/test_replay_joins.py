"""REPLAY: who joins a running job passes from what was to what comes without gap or repeat.

Between the history that is read and the events that are then pushed lies the seam at which
implementations lose or repeat events; only joins in mid-burst show it.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End
from streamgauge.verdict import Broken, Found, Unable

from .comparing import difference, suffix
from .finals import replayed_log, running_log
from .reading import Seen, exhibit, has_terminal, stream_log

JOINS_WANTED = 1000


@check("REPLAY-06", "live", "quiet")
def test_the_newest_cursor_replays_nothing(run: Run) -> Found:
    """If the cursor is the running job's newest event, then only what is emitted later follows."""
    judged = 0
    for name in ("live", "quiet"):
        bundle = run.evidence.bundles.get(name)
        if bundle is None:
            continue
        tails = [r for r in bundle.all("tail") if r.end is not End.REFUSED]
        if not tails:
            continue
        log = running_log(run, name)
        for recording in tails:
            after = str(recording.info["after"])
            expected = suffix(log, after)
            if not expected:
                continue  # unknown, or the job's last event: then it ran no more
            if not recording.is_stream:
                raise Broken(
                    f"Last-Event-ID: {after} on a running job answers {recording.status}",
                    recording,
                    count=judged,
                    what="resumes at the newest event",
                )
            seen = stream_log(recording, run.profile)
            fault, place = difference(expected[: len(seen)], seen)
            # A stream that broke off says nothing about what would have followed (see RT-06).
            cut_short = not has_terminal(seen, run.profile) and not recording.ended_cleanly
            if not fault and len(seen) < len(expected) and not cut_short:
                fault = f"nothing after {seen[-1].id if seen else after}, though the job went on"
            if fault:
                raise Broken(
                    f"resumed at the newest event {after}: {fault}",
                    exhibit(recording, place, f"resumed after {after}"),
                    count=judged,
                    what="resumes at the newest event",
                )
            judged += bool(seen) or not cut_short
    return Found(judged, "resumes at the newest event")


@check("REPLAY-11", "race", "log")
def test_joins_racing_a_burst_miss_nothing(run: Run) -> Found:
    """If a reader joins while events burst, then replay passes into live without gap or repeat."""
    bundle = run.bundle("race")
    logs = _race_logs(run, bundle)
    crossed = 0
    for recording in bundle.all("join"):
        seen = stream_log(recording, run.profile) if recording.is_stream else ()
        name = recording.label.split("/")[0].removeprefix("join ")
        log = logs.get(name)
        if not seen or log is None:
            continue
        after = recording.info.get("after")
        start = suffix(log, str(after)) if after else log
        if start is None:
            continue
        fault, place = difference(start[: len(seen)], seen)
        if fault:
            raise Broken(
                f"a join {'after ' + str(after) if after else 'without a cursor'} in mid-burst: "
                f"{fault}",
                exhibit(recording, place, "at the edge between replay and live"),
                count=crossed,
                what="joins that crossed the edge",
            )
        crossed += 1
    if not crossed:
        raise Unable(bundle.unable or "no join showed an event while the job was running")
    if crossed < JOINS_WANTED // 2 and run.shaped:
        raise Unable(f"only {crossed} of {JOINS_WANTED} joins could be made in the time there was")
    return Found(crossed, "joins that crossed the edge")


def _race_logs(run: Run, bundle: Bundle) -> dict[str, tuple[Seen, ...]]:
    logs = {}
    for recording in bundle.all("replay"):
        seen = stream_log(recording, run.profile) if recording.is_stream else ()
        if has_terminal(seen, run.profile):
            logs[recording.label.removeprefix("replay ")] = seen
    if not run.shaped:
        logs["natural"] = replayed_log(run)
    return logs
