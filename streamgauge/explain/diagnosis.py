"""From a run's recordings to the causes of its failures.

First all ordinary streams of the run are looked at together, because a limit or a size shows only
in what several have in common. Then each failure is given the explanation that can bring such a
failure about, and only if the run shows it. Nothing here changes a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..recording import Bundle, PackedReads, Recording
from ..results import CheckResult, Verdict
from .buffering import find_buffering
from .cuts import Life, find_cuts, life_of
from .flow import clock_bounds, flow_of
from .model import Cause, Explanation, Family, Sureness
from .platforms import fitting
from .resume import Resume, find_resumes, log_order, resume_of
from .wording import of_buffering, of_cuts, of_resumes

if TYPE_CHECKING:
    from ..check import Run

PATH = ("probe", "starts", "live", "gaps", "quiet", "endings", "opening", "waiting")
"""Scenarios whose streams went the way that users' streams go, at a pace that leaves room for
measuring. Those with a proxy of the suite's own in between, or hundreds at once, say nothing."""
RESUMING = ("live", "gaps", "quiet", "endings", "log")
PACKED_MAX = 24
"""Of hundreds of packed replays, so many are unpacked."""
RECORDINGS_MAX = 400

_BUFFERED = (
    *("RT-01", "RT-02", "RT-03", "RT-04", "RT-05", "RT-06", "RT-07"),
    *("HB-01", "HB-02", "HB-03", "LIFE-06", "LATE-01", "LATE-03"),
    *("PROXY-01", "PROXY-02", "PROXY-03", "PROXY-04"),
)
_CUT = (
    *("RT-03", "RT-06", "LIFE-02", "LIFE-05", "LIFE-06", "HB-01", "HB-02", "HB-03", "WIRE-02"),
    *("LATE-01", "LATE-02", "LATE-03", "REPLAY-06", "REPLAY-11", "PROXY-03", "PROXY-05"),
)
_RESUMED = (
    *("REPLAY-04", "REPLAY-05", "REPLAY-06", "REPLAY-08", "REPLAY-11", "REPLAY-16", "REPLAY-10"),
    *("LATE-01", "LATE-02", "LATE-04", "LATE-05", "LIFE-07", "SNAP-02", "POLL-05", "HDR-12"),
    *("RETRY-02", "RETRY-03", "RETRY-04", "RETRY-05", "BP-04", "MI-02", "PROXY-06", "PROXY-07"),
)
CAN_EXPLAIN: dict[Family, frozenset[str]] = {
    Family.BUFFERING: frozenset(_BUFFERED),
    Family.IDLE_CUT: frozenset(_CUT),
    Family.ABSOLUTE_CAP: frozenset(_CUT),
    Family.RESUME_BROKEN: frozenset(_RESUMED),
}
"""The checks whose failure each family can bring about."""
_ABOUT_ENDS = frozenset(("RT-06", "LIFE-02", "LIFE-05", "WIRE-02", "PROXY-05"))
_ENDS = (Family.IDLE_CUT, Family.ABSOLUTE_CAP)


def explain(
    run: Run, results: Sequence[CheckResult]
) -> tuple[tuple[CheckResult, ...], tuple[Cause, ...]]:
    """Give failures their explanation, and name the causes of several at once.

    Returns:
        The results, with explanations; and the causes, the one that explains most first.
    """
    broken = [r for r in results if r.verdict in (Verdict.FAIL, Verdict.WARN)]
    if not any(r.requirement.id in ids for r in broken for ids in CAN_EXPLAIN.values()):
        return tuple(results), ()
    found = diagnose(run)
    explained: dict[str, Explanation] = {}
    for result in broken:
        identifier = result.requirement.id
        # What is about ends is explained by what ends connections, before anything else.
        about_ends = identifier in _ABOUT_ENDS
        likely = sorted(
            found,
            key=lambda e: (about_ends and e.family not in _ENDS, e.sureness is not Sureness.SURE),
        )
        for explanation in likely:
            if identifier in CAN_EXPLAIN[explanation.family]:
                explained.setdefault(identifier, explanation)
    causes = [
        Cause(each, tuple(i for i, explanation in explained.items() if explanation is each))
        for each in found
    ]
    causes = sorted((c for c in causes if c.checks), key=lambda cause: -len(cause.checks))
    return (
        tuple(replace(r, explanation=explained.get(r.requirement.id)) for r in results),
        tuple(causes),
    )


def diagnose(run: Run) -> tuple[Explanation, ...]:
    """What the run's ordinary streams show, the most telling family first."""
    bundles = [bundle for name in PATH if (bundle := run.evidence.bundles.get(name)) is not None]
    recordings = [r for bundle in bundles for r in bundle.recordings][:RECORDINGS_MAX]
    headers = _headers(recordings)
    found: list[Explanation] = []
    cuts = find_cuts(_lives(run, bundles))
    if cuts is not None:
        hints = fitting(cuts.family, headers, seconds=cuts.seconds)
        found.append(of_cuts(cuts, hints))
    zero = run.evidence.wall_at_zero
    offset = clock_bounds(recordings, zero)
    if not offset.contradictory:
        flows = (flow_of(recording, offset, zero) for recording in recordings)
        buffering = find_buffering(
            (flow for flow in flows if flow is not None),
            run.evidence.loop_lag_max_s,
            run.evidence.loop_lag_s,
        )
        if buffering is not None:
            sizes = (buffering.low or 0, buffering.high) if buffering.high else None
            hints = fitting(Family.BUFFERING, headers, kind=buffering.kind.value, sizes=sizes)
            found.insert(0, of_buffering(buffering, hints))
    resumes = find_resumes(_resumes(run))
    if resumes is not None:
        found.append(of_resumes(resumes))
    return tuple(found)


def _headers(recordings: Iterable[Recording]) -> tuple[tuple[str, str], ...]:
    """The response headers of all streams, each once."""
    return tuple(dict.fromkeys(pair for r in recordings if r.is_stream for pair in r.headers))


def _lives(run: Run, bundles: Iterable[Bundle]) -> list[Life]:
    """The lives of streams whose job provably went on after they had ended, and of all others."""
    terminal = run.profile.events.terminal
    gone = run.evidence.vanished_at
    lives = []
    for bundle in bundles:
        for job in _by_job(bundle.recordings):
            order = log_order(job, lambda recording: _ids(run, recording))
            for recording in job:
                if not recording.is_stream or (gone is not None and recording.ended_at > gone):
                    continue
                shown = _ids(run, recording)
                types = {b.event.type for b in recording.blocks if b.event is not None}
                last = order.get(shown[-1], -1) if shown else -1
                missed = len(order) - 1 > last
                over = not missed or bool(types & set(terminal)) or _recycled(run, recording)
                if (life := life_of(recording, over=over)) is not None:
                    lives.append(life)
    return lives


def _recycled(run: Run, recording: Recording) -> bool:
    mark = run.profile.events.recycle.encode()
    last = recording.blocks[-1] if recording.blocks else None
    lines = last.lines if last is not None else ()
    return bool(mark) and any(line.is_comment and mark in line.raw for line in lines[-3:])


def _resumes(run: Run) -> list[Resume]:
    """All streams that were asked for with a cursor of their own job."""
    found = []
    for name in RESUMING:
        bundle = run.evidence.bundles.get(name)
        if bundle is None:
            continue
        packed = 0
        for job in _by_job(bundle.recordings):
            order = log_order(
                (r for r in job if not isinstance(r.reads, PackedReads)),
                lambda recording: _ids(run, recording),
            )
            seen = _first_seen(run, job)
            for recording in job:
                cursor = recording.info.get("after", recording.info.get("query"))
                if cursor is None or seen.get(str(cursor), recording.sent_at) >= recording.sent_at:
                    continue  # no cursor, or one that nobody had seen yet
                if any(
                    b.event and b.event.type == run.profile.events.gap for b in recording.blocks
                ):
                    continue  # it says itself that it does not begin there
                packed += isinstance(recording.reads, PackedReads)
                if packed > PACKED_MAX and isinstance(recording.reads, PackedReads):
                    continue
                resume = resume_of(recording, order, _ids(run, recording))
                if resume is not None:
                    found.append(resume)
    return found


def _first_seen(run: Run, job: Iterable[Recording]) -> dict[str, float]:
    """When each event was first shown, by any view that is not packed."""
    seen: dict[str, float] = {}
    for recording in job:
        if isinstance(recording.reads, PackedReads):
            continue
        if recording.is_stream:
            shown = [(b.own_id, b.at) for b in recording.blocks if b.own_id and run.is_log(b)]
        else:
            shown = [(identifier, recording.ended_at) for identifier in _ids(run, recording)]
        for identifier, at in shown:
            seen[identifier] = min(at, seen.get(identifier, at))
    return seen


def _by_job(recordings: Iterable[Recording]) -> list[list[Recording]]:
    jobs: dict[str, list[Recording]] = {}
    for recording in recordings:
        job = recording.info.get("job")
        if job is not None and recording.request.method == "GET":
            jobs.setdefault(str(job), []).append(recording)
    return list(jobs.values())


def _ids(run: Run, recording: Recording) -> list[str]:
    """The ids of the log's events that a view shows, in its order."""
    if recording.is_stream:
        return [b.own_id for b in recording.blocks if b.own_id and run.is_log(b)]
    body = recording.json if recording.status == 200 else None
    events = body.get("events") if isinstance(body, dict) else None
    listed = events if isinstance(events, list) else []
    return [str(e["id"]) for e in listed if isinstance(e, dict) and "id" in e]
