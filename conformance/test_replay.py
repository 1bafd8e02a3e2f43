"""REPLAY: does Last-Event-ID give exactly what comes after it, always and for everybody?"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from urllib.parse import quote, unquote

from streamgauge.check import Run, check
from streamgauge.history import Rules
from streamgauge.history import check as find_anomalies
from streamgauge.recording import Bundle, End, Recording
from streamgauge.results import Exhibit
from streamgauge.timing import percentile
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .reading import (
    Seen,
    all_streams,
    control,
    control_data,
    difference,
    exhibit,
    has_terminal,
    listed,
    log_of,
    stream_log,
    streams,
    suffix,
    view,
)

ID_OCTETS_MAX = 128
#: Bytes that make a Last-Event-ID header need a CORS preflight (Fetch, CORS-unsafe).
UNSAFE = frozenset(b'"():<>?@[\\]{}\x7f') | frozenset(range(0x20)) - {0x09}
JOINS_WANTED = 1000
WITNESS_LATE_S = 1.0


def _final(run: Run) -> tuple[Seen, ...]:
    return log_of(run, "log", "replay 1", "replay 2", "reader")


@check("REPLAY-01", "log", "live", "endings")
def test_every_event_carries_an_id(run: Run) -> Found:
    """If an event belongs to the log, then its block has an id."""
    seen = 0
    for recording in all_streams(run):
        for event in stream_log(recording, run.profile):
            if event.type not in run.profile.events.names:
                continue
            if not event.id:
                raise Broken(
                    f"a {event.type} event has no id: a reader that is cut after it cannot resume",
                    exhibit(recording, event, "no id"),
                    count=seen,
                    what="events looked at",
                )
            seen += 1
    return Found(seen, "events looked at")


@check("REPLAY-02", "log", "live", "endings", "history")
def test_ids_are_unique_and_in_order(run: Run) -> Found:
    """If a view shows several events, then their ids are unique and rise as declared."""
    judged = 0
    for recording in run.recordings():
        seen = stream_log(recording, run.profile) if recording.is_stream else listed(recording)
        ids = [event.id for event in seen if event.id]
        if fault := _order_fault(run, ids):
            place = next((e for e in seen if e.id == fault[1]), None)
            raise Broken(
                f"{recording.label}: {fault[0]}",
                exhibit(recording, place, "out of order"),
                count=judged,
                what="ids in order",
            )
        judged += len(ids)
    final = _final(run)
    order = run.profile.ids.order
    if order == "contiguous" and final[0].id != str(run.profile.ids.first):
        raise Broken(
            f"the log begins with id {final[0].id}, declared is {run.profile.ids.first}",
            count=judged,
            what="ids in order",
        )
    if order == "contiguous" and (hole := _hole(run, final)):
        raise Broken(
            f"id {hole.id} follows an id that is not the one before it, in every view; declared "
            "are ids without holes",
            exhibit(run.need("log", "replay 1"), hole, "behind the hole"),
            count=judged,
            what="ids in order",
        )
    return Found(judged, "ids in order", f"declared order: {order}")


def _hole(run: Run, log: Sequence[Seen]) -> Seen | None:
    """The first event whose number does not follow on; not where another view has what is missing,
    which is a lost event and no hole in the numbering."""
    pages = run.bundle("log").all("page") + run.bundle("log").all("snapshot")
    known = {event.id for page in pages for event in listed(page)}
    return next(
        (
            later
            for earlier, later in pairwise(log)
            if int(later.id) != int(earlier.id) + 1 and str(int(earlier.id) + 1) not in known
        ),
        None,
    )


def _order_fault(run: Run, ids: Sequence[str]) -> tuple[str, str] | None:
    order = run.profile.ids.order
    if len(set(ids)) != len(ids):
        twice = next(x for n, x in enumerate(ids) if x in ids[:n])
        return f"id {twice} stands twice", twice
    if order == "opaque":
        return None
    for before, after in pairwise(ids):
        if not before.isdigit() or not after.isdigit():
            return f"id {after!r} is no integer", after
        if int(after) <= int(before):
            return f"id {after} comes after {before}", after
    return None


@check("REPLAY-03", "log")
def test_reading_consumes_nothing(run: Run) -> Found:
    """If a log is replayed twice, then both replays are the same."""
    log = _final(run)
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
    log = _final(run)
    bundle = run.bundle("log")
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


def _suffix_fault(
    run: Run, recording: Recording, expected: Sequence[Seen]
) -> tuple[str, Seen | None]:
    if recording.status is None:
        return f"no answer ({recording.end.value} {recording.error})", None
    if not recording.is_stream:
        return f"status {recording.status} {recording.media_type}", None
    seen = stream_log(recording, run.profile)
    fault, place = difference(expected, seen)
    if fault and seen and expected and len(seen) > len(expected):
        fault = f"{len(seen)} events instead of {len(expected)}, from {seen[0].id}; {fault}"
    return fault, place


@check("REPLAY-05", "log")
def test_no_cursor_means_from_the_first(run: Run) -> Found:
    """If the header is absent or empty, then the stream begins with the first event."""
    log = _final(run)
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
        log = _log_of_running(run, name)
        for recording in tails:
            after = str(recording.info["after"])
            expected = suffix(log, after)
            if expected is None:
                continue
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


def _log_of_running(run: Run, name: str) -> tuple[Seen, ...]:
    return log_of(run, name, "final replay", "reader 0", "reader")


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
        seen = stream_log(recording, run.profile) if recording.is_stream else listed(recording)
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
        running = _log_of_running(run, "live")
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
        seen = stream_log(other, run.profile) if other.is_stream else listed(other)
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
        return "" if _recycled(run, recording) else "the log ends before its terminal event"
    return fault


def _recycled(run: Run, recording: Recording) -> bool:
    mark = run.profile.events.recycle.encode()
    return bool(mark) and any(
        line.raw.lstrip(b": ").startswith(mark) for b in recording.blocks for line in b.comments
    )


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
    log = _final(run)
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
        logs["natural"] = _final(run)
    return logs


@check("REPLAY-12", "log", "live", "inputs", "endings")
def test_what_an_id_stands_for_never_changes(run: Run) -> Found:
    """If two views show the same id, then they show the same type, timestamp and data."""
    compared = 0
    for name, final in (("log", "replay 1"), ("live", "final replay"), ("endings", "")):
        bundle = run.evidence.bundles.get(name)
        if bundle is None:
            continue
        by_job: dict[str, list[Recording]] = {}
        for recording in bundle.recordings:
            if recording.info.get("job") and (recording.is_stream or listed(recording)):
                by_job.setdefault(str(recording.info["job"]), []).append(recording)
        for recordings in by_job.values():
            compared += _constant(run, recordings, final)
    others = len(run.bundle("log").all("instance"))
    where = f"on {others + 1} instances" if others else "on one instance"
    return Found(compared, "events compared", f"{where}; across restarts only with hooks")


def _constant(run: Run, recordings: Sequence[Recording], final: str) -> int:
    views = [view(recording, run.profile, complete=False) for recording in recordings]
    log = next((v for v in views if v.name == final), None)
    rules = Rules(run.profile.ids.order, run.profile.ids.first, finished=False)
    for anomaly in find_anomalies([v for v in views if v is not log], log, rules):
        if anomaly.kind.value not in ("payload-divergence", "view-divergence"):
            continue
        recording = next(r for r in recordings if r.label == anomaly.view)
        span = (anomaly.offset, anomaly.offset + 1) if anomaly.offset is not None else None
        raise Broken(
            f"{anomaly.kind.value}: {anomaly.message}",
            Exhibit(recording, anomaly.kind.value, span),
            what="events compared",
        )
    return sum(len(each.entries) for each in views)


@check("REPLAY-13", "history")
def test_pruned_history_is_announced(run: Run) -> Found:
    """If history has been pruned, then a reader that asks for it is told so."""
    bundle = run.bundle("history")
    emitted = int(bundle.facts.get("emitted", 0))
    judged = 0
    for recording in bundle.all("replay") + bundle.all("early page"):
        seen = stream_log(recording, run.profile) if recording.is_stream else listed(recording)
        if not seen:
            continue
        first = run.profile.ids.first if recording.is_stream else run.profile.ids.first + 1
        pruned = seen[0].id.isdigit() and int(seen[0].id) > first
        gaps = recording.status == 410 or (
            bool(control(recording, run.profile.events.gap))
            if recording.is_stream
            else bool((recording.json or {}).get("gap"))
        )
        if pruned and not gaps:
            raise Broken(
                f"{recording.label}: the log begins at {seen[0].id}, and nothing says that earlier "
                "events are gone",
                exhibit(recording, seen[0], "the first that is left"),
                count=judged,
                what="reads of pruned history",
            )
        if pruned and recording.is_stream:
            _gap_is_true(run, recording, seen[0], judged)
        judged += pruned
    if not judged:
        if not bundle.all("replay"):
            raise Unable(bundle.unable or "no long history was replayed")
        raise Inapplicable(f"the target keeps a log of {emitted:,} events whole")
    return Found(judged, "reads of pruned history")


def _gap_is_true(run: Run, recording: Recording, first: Seen, judged: int) -> None:
    told = control_data(control(recording, run.profile.events.gap)[0])
    if "earliest" in told and str(told["earliest"]) != first.id:
        raise Broken(
            f"the gap signal says that {told['earliest']} is the earliest event kept, and the "
            f"log begins with {first.id}",
            exhibit(recording, first),
            count=judged,
            what="reads of pruned history",
        )


@check("REPLAY-14", "history", "live")
def test_long_replays_are_quick_and_disturb_nobody(run: Run) -> Found:
    """If a long history is replayed, then it is quick, goes over to live, and nobody notices."""
    bundle = run.bundle("history")
    within = run.profile.declared.replay_s
    judged, told = 0, ""
    joined = bundle.get("running join")
    if joined is not None and joined.answered:
        _reaches_live(run, bundle, joined)
        judged += len(stream_log(joined, run.profile))
    replays = [r for r in bundle.all("replay") if r.end is not End.LEFT]
    quickest = min(replays, key=lambda r: r.ended_at - r.sent_at, default=None)
    if quickest is not None:
        judged += (count := _quick(run, quickest, within, judged))
        told = f"{count:,} events in {quickest.ended_at - quickest.sent_at:.2f} s"
    _witness_undisturbed(run, bundle)
    return Found(judged, "events replayed", told, shown=quickest)


def _quick(run: Run, recording: Recording, within: float, judged: int) -> int:
    """Events of a long history that came in time; the quickest of several replays is judged."""
    seen = stream_log(recording, run.profile) if recording.is_stream else ()
    took = recording.ended_at - recording.sent_at
    complete = has_terminal(seen, run.profile)
    if complete and took <= within + 4 * run.evidence.loop_lag_s:
        return len(seen)
    if complete and _path_is_slow(run, recording, took):
        raise Unable(f"{len(recording.body):,} octets took {took:.1f} s: the path carries no more")
    raise Broken(
        f"replaying {len(seen):,} events took {took:.1f} s"
        + ("" if complete else " and did not reach the end")
        + f"; declared is {within:g} s",
        recording,
        count=judged,
        what="events replayed",
    )


def _reaches_live(run: Run, bundle: Bundle, joined: Recording) -> None:
    seen = stream_log(joined, run.profile)
    reader = bundle.get("running reader")
    log = stream_log(reader, run.profile) if reader is not None else ()
    if has_terminal(seen, run.profile) or not has_terminal(log, run.profile):
        return
    if _recycled(run, joined) or joined.end is End.LEFT:
        return
    raise Broken(
        f"a reader that joined with more than 100 events behind it got {len(seen)} events and "
        f"then nothing more ({joined.end.value}), while the job went on",
        exhibit(joined, seen[-1] if seen else None, "the last that came"),
        what="events replayed",
    )


def _path_is_slow(run: Run, recording: Recording, took: float) -> bool:
    """Whether smaller transfers of this run were no quicker, octet for octet."""
    rate = len(recording.body) / max(took, 1e-6)
    others = [
        len(r.body) / max(r.ended_at - (r.head_at or r.sent_at), 1e-6)
        for r in streams(run.bundle("history"), "replay")
        if r is not recording and r.ended_cleanly
    ]
    silent = max(
        (b.at - a.at for a, b in pairwise(recording.reads)),
        default=0.0,
    )
    return silent < took / 10 and all(other < 2 * rate for other in others) and rate < 5_000_000


def _witness_undisturbed(run: Run, bundle: Bundle) -> None:
    witness = bundle.get("witness")
    if witness is None or not witness.is_stream:
        return
    replays = [(r.sent_at, r.ended_at) for r in bundle.all("replay")]
    seen = stream_log(witness, run.profile)
    waits = [
        later.at - earlier.at
        for earlier, later in pairwise(seen)
        if any(began <= earlier.at <= ended for began, ended in replays)
    ]
    worst = percentile(waits, 0.95)
    if worst > WITNESS_LATE_S + 4 * run.evidence.loop_lag_s:
        raise Broken(
            f"while a long history was replayed, another job's events came {worst:.1f} s apart "
            "(emitted every 0.04 s)",
            Exhibit(witness, "another reader meanwhile"),
            what="events replayed",
        )


@check("REPLAY-15", "log")
def test_ids_are_short_and_safe(run: Run) -> Found:
    """If an id is sent, then it fits a header of any client and survives percent-encoding."""
    log = _final(run)
    for event in log:
        raw = event.id.encode()
        if len(raw) > ID_OCTETS_MAX:
            raise Broken(f"an id has {len(raw)} octets, more than {ID_OCTETS_MAX}", count=1)
        if unsafe := sorted({chr(octet) for octet in raw if octet in UNSAFE}):
            raise Broken(
                f"the id {event.id!r} holds {''.join(unsafe)!r}: browsers then send a preflight",
                count=len(log),
                what="ids",
            )
        if unquote(quote(event.id, safe="")) != event.id:
            raise Broken(f"the id {event.id!r} does not survive percent-encoding", what="ids")
    escaped = run.bundle("log").get("query escaped")
    if escaped is not None and escaped.answered:
        expected = suffix(log, str(escaped.info["query"])) or ()
        plain = run.bundle("log").get("query cursor")
        works = (
            plain is not None
            and plain.is_stream
            and not difference(expected, stream_log(plain, run.profile))[0]
        )
        fault, place = f"status {escaped.status} instead of the log after it", None
        if escaped.is_stream:
            fault, place = difference(expected, stream_log(escaped, run.profile))
        if fault and works:
            raise Broken(
                f"percent-encoded in the query: {fault}", exhibit(escaped, place), what="ids"
            )
    return Found(len(log), "ids")
