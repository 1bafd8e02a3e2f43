"""REPLAY: every event has an id, unique, in order, safe to send back, and always of one meaning.

The id is all that a reader keeps of where it was. If it is missing, stands twice or changes its
meaning, then no resume can be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from urllib.parse import quote, unquote

from streamgauge.check import Run, check
from streamgauge.history import Rules
from streamgauge.history import check as find_anomalies
from streamgauge.recording import Recording
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found

from .comparing import difference, suffix, view
from .finals import replayed_log
from .reading import Seen, all_streams, events_of, exhibit, listed, stream_log

ID_OCTETS_MAX = 128
#: Bytes that make a Last-Event-ID header need a CORS preflight (Fetch, CORS-unsafe).
UNSAFE = frozenset(b'"():<>?@[\\]{}\x7f') | frozenset(range(0x20)) - {0x09}


@check("REPLAY-01", "log", "live", "endings")
def test_every_event_carries_an_id(run: Run) -> Found:
    """If an event belongs to the log, then its block has an id."""
    seen = 0
    for recording in all_streams(run):
        for event in stream_log(recording, run.profile):
            if not run.profile.is_job_event(event.type):
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
        seen = events_of(recording, run.profile)
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
    final = replayed_log(run)
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


@check("REPLAY-15", "log")
def test_ids_are_short_and_safe(run: Run) -> Found:
    """If an id is sent, then it fits a header of any client and survives percent-encoding."""
    log = replayed_log(run)
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
