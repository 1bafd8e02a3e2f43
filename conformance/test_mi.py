"""MI: a job belongs to the deployment, not to the instance that happened to start it.

Every instance is asked by its own address (`--instance`), so that a failure names the one that did
not know. Without further addresses these rules are not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, NotRun, Unable

from .clocks import require_calm, slack_s
from .comparing import difference, suffix
from .finals import log_of
from .quotas import is_refused
from .reading import (
    Seen,
    cursor_of,
    exhibit,
    has_gap,
    has_terminal,
    listed,
    stream_log,
    succeeded,
)


@check("MI-01", "elsewhere")
def test_any_instance_serves_any_job(run: Run) -> Found:
    """If one instance starts a job, then every other shows the same log in every view."""
    bundle = _bundle(run)
    compared, asked = 0, 0
    for home in _homes(bundle):
        log = _log(run, home)
        for recording in _views(bundle, home):
            where = f"{recording.label}: a job of instance {home.removeprefix('home ')}"
            seen = _seen(run, recording, where, compared)
            early = " early " in recording.label
            # What was asked for while the job ran may end anywhere; the rest may not.
            due = log[: len(seen)] if early else log
            fault, place = difference(due, seen)
            if fault and not _pruned(run, recording):
                raise Broken(
                    f"{where} is shown otherwise than there: {fault}",
                    exhibit(recording, place),
                    count=compared,
                    what="events compared",
                )
            compared += len(seen)
            asked += 1
    return Found(compared, "events compared", f"{asked} views on other instances")


@check("MI-02", "elsewhere")
def test_cursors_work_on_every_instance(run: Run) -> Found:
    """If a reader has an event from one instance, then any other goes on right after it."""
    bundle = _bundle(run)
    judged = 0
    for home in _homes(bundle):
        log = _log(run, home)
        for recording in bundle.all(f"{home} after"):
            after = str(recording.info.get("after"))
            rest = suffix(log, after)
            where = f"{recording.label}: resumed after {after}"
            seen = _seen(run, recording, where, judged)
            if rest is None or _pruned(run, recording):
                continue
            if (found := difference(rest, seen))[0]:
                raise Broken(
                    f"{where}: {found[0]}",
                    exhibit(recording, found[1]),
                    count=judged,
                    what="cursors",
                )
            judged += 1
    return Found(judged, "cursors")


@check("MI-03", "elsewhere")
def test_hopping_readers_move_forward(run: Run) -> Found:
    """If a client asks another instance each time, then it never falls back, and misses nothing."""
    bundle = _bundle(run)
    polled = _pages_move_forward(run, bundle)
    hops = [r for r in bundle.recordings if r.label.startswith("hopping/")]
    log = log_of(run, "elsewhere", "hopping replay")
    seen: list[Seen] = []
    for recording in hops:
        where = f"{recording.label}: a reader that hops from instance to instance"
        seen += _seen(run, recording, where, polled)
        if _pruned(run, recording):
            raise Unable("the target has pruned the history that this needs")
        if (found := difference(log[: len(seen)], seen))[0]:
            raise Broken(
                f"{where}: {found[0]}",
                exhibit(recording, found[1]),
                count=polled,
                what="answers",
            )
    if not has_terminal(seen, run.profile):
        raise Unable("the hopping reader was left before the log had ended")
    settled_s = _converge(run, bundle)
    told = f"{len(hops)} hops; the last instance knew of the end {settled_s * 1000:.0f} ms later"
    return Found(polled + len(hops), "answers", told)


def _pages_move_forward(run: Run, bundle: Bundle) -> int:
    """Pages and snapshots of all instances, in the order in which one client had them."""
    log = log_of(run, "elsewhere", "polled replay")
    places = {event.id: place for place, event in enumerate(log)}
    newest, paged, judged = -1, list[Seen](), 0
    before: Recording | None = None
    answers = [r for r in bundle.all("polled") if "page" in r.label or "snapshot" in r.label]
    for recording in answers:
        where = f"{recording.label}: a client that asks another instance each time"
        if not recording.answered:
            continue
        if recording.status != 200:
            raise Broken(
                f"{where} gets {outcome(recording)}",
                recording,
                before,
                count=judged,
                what="answers",
            )
        shown = places.get(cursor_of(recording), -1)
        if shown < newest:
            raise Broken(
                f"{where} was shown event {log[newest].id} before, and here the newest is "
                f"{log[shown].id if shown >= 0 else 'none'}",
                recording,
                before,
                count=judged,
                what="answers",
            )
        newest, before = shown, recording
        if "page" in recording.label:
            paged += listed(recording)
            if (found := difference(log[: len(paged)], paged))[0]:
                raise Broken(f"{where}: {found[0]}", recording, count=judged, what="answers")
        judged += 1
    if judged and len(paged) < len(log):
        raise Unable(f"only {len(paged)} of {len(log)} events were paged through")
    return judged


def _converge(run: Run, bundle: Bundle) -> float:
    """How much later than the first instance the last one showed a job's end.

    Raises:
        Broken: later than the same event may come to different subscribers.
    """
    latest = 0.0
    bound_s = run.profile.declared.skew_s + slack_s(run)
    for home in _homes(bundle):
        streams = [bundle.get(f"{home} reader"), *bundle.all(f"{home} live")]
        ends = {
            r: seen[-1].at
            for r in streams
            if r is not None
            and r.is_stream
            and has_terminal((seen := stream_log(r, run.profile))[-1:], run.profile)
        }
        if len(ends) < 2:
            continue
        slowest = max(ends, key=lambda each: ends[each])
        late_s = ends[slowest] - min(ends.values())
        if late_s > bound_s:
            require_calm(run)
            raise Broken(
                f"{slowest.label}: the end of a job came {late_s:.1f} s later than on another "
                f"instance; declared is {run.profile.declared.skew_s:g} s",
                slowest,
                what="answers",
            )
        latest = max(latest, late_s)
    return latest


@check("MI-10", "elsewhere")
def test_cancel_and_quota_are_shared(run: Run) -> Found:
    """If a job is cancelled or a quota used up on one instance, then that holds on all."""
    bundle = _bundle(run)
    judged = _cancel_reaches(run, bundle)
    runs = run.profile.declared.quota_runs
    admitted = [r for r in bundle.all("turn") if succeeded(r)]
    if len(admitted) == runs and runs:
        for answer in bundle.all("beyond"):
            if succeeded(answer):
                raise Broken(
                    f"{answer.label}: a client that had used up its {runs} starts on all instances "
                    "was let in once more",
                    answer,
                    admitted[-1],
                    count=judged,
                    what="answers",
                )
            judged += is_refused(run, answer)
        burst = bundle.all("burst")
        let_in = [answer for answer in burst if succeeded(answer)]
        if len(let_in) > runs:
            raise Broken(
                f"{len(let_in)} of {len(burst)} simultaneous starts on all instances were "
                f"admitted; declared are {runs} per client",
                *let_in[:3],
                count=judged,
                what="answers",
            )
        judged += len(let_in)
    if not judged:
        raise Unable(bundle.unable or "neither a cancel nor a quota could be tried")
    return Found(judged, "answers")


def _cancel_reaches(run: Run, bundle: Bundle) -> int:
    """How many readers saw the end of a job that was cancelled on another instance."""
    cancel = bundle.get("cancel")
    if cancel is None or not cancel.answered or cancel.head_at is None:
        return 0
    if not succeeded(cancel):
        raise Broken(
            f"a cancel through another instance than the job's answers {outcome(cancel)}", cancel
        )
    within_s = run.profile.declared.cancel_s
    reached = 0
    for reader in bundle.all("cancelled reader"):
        seen = stream_log(reader, run.profile) if reader.is_stream else ()
        if not seen:
            continue
        ended = has_terminal(seen[-1:], run.profile)
        took_s = (seen[-1].at if ended else reader.ended_at) - cancel.head_at
        if not ended or took_s > within_s + slack_s(run):
            require_calm(run)
            told = f"came {took_s:.1f} s later" if ended else f"had not come after {took_s:.1f} s"
            raise Broken(
                f"{reader.label}: a job was cancelled through another instance, and its end "
                f"{told}; declared are {within_s:g} s",
                Exhibit(reader, "what the reader saw"),
                cancel,
                count=reached,
                what="answers",
            )
        reached += 1
    return reached


def _bundle(run: Run) -> Bundle:
    """What the instances were asked for.

    Raises:
        NotRun: the call names one address only.
    """
    bundle = run.bundle("elsewhere")
    if bundle.facts.get("instances") == 1:
        raise NotRun("one instance is known: name each other one by --instance URL")
    return bundle


def _homes(bundle: Bundle) -> list[str]:
    """The names of the jobs that all instances were asked for.

    Raises:
        Unable: there are none.
    """
    found = [
        r.label.removesuffix(" start")
        for r in bundle.all("home")
        if r.label.endswith(" start") and succeeded(r)
    ]
    if not found:
        raise Unable(bundle.unable or "no job could be started")
    return sorted(found)


def _log(run: Run, home: str) -> tuple[Seen, ...]:
    return log_of(run, "elsewhere", f"{home} replay", f"{home} reader")


def _views(bundle: Bundle, home: str) -> Iterator[Recording]:
    """What the other instances answered."""
    for kind in ("live", "early snapshot", "early poll", "replay", "snapshot", "poll"):
        for recording in bundle.all(f"{home} {kind}"):
            if recording.label.removeprefix(f"{home} {kind}").strip().isdigit():
                yield recording


def _seen(run: Run, recording: Recording, where: str, count: int) -> Sequence[Seen]:
    """The events of an answer, which has to be one.

    Raises:
        Broken: the instance refuses.
        Unable: it did not answer at all.
    """
    if not recording.answered:
        if recording.request.url and recording.error:
            raise Unable(f"{recording.label}: {outcome(recording)}")
        return ()
    if not succeeded(recording):
        raise Broken(f"{where} gets {outcome(recording)}", recording, count=count, what="answers")
    return stream_log(recording, run.profile) if recording.is_stream else listed(recording)


def _pruned(run: Run, recording: Recording) -> bool:
    return recording.is_stream and has_gap(recording, run.profile)
