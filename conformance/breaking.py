"""What the checks share that look at a deployment of which a part was broken on purpose."""

from __future__ import annotations

from collections.abc import Sequence

from streamgauge.check import Run
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.verdict import Broken, NotRun, Unable

from .assembling import assembled, parts
from .comparing import difference
from .reading import Seen, exhibit, has_gap, has_terminal, listed, stream_log, succeeded

CUT_WITHIN_S = 5.0
"""A stream of an instance that was killed is over after so much."""
DRAINED_S = 5.0
"""A stream of an instance that is told to end is over so long after the declared grace."""


def broken_part(run: Run, scenario: str) -> Bundle:
    """What was seen while a part of the deployment was broken.

    Raises:
        NotRun: the user has not given what that takes.
        Unable: it did not take place.
    """
    bundle = run.bundle(scenario)
    if bundle.facts.get("lacking"):
        raise NotRun(str(bundle.facts["lacking"]))
    if bundle.unable:
        raise Unable(bundle.unable)
    return bundle


def hooked(bundle: Bundle, name: str) -> tuple[float, float]:
    """When a hook was called first, and when it had done its work.

    Raises:
        Unable: it was not, or has failed.
    """
    for noted in bundle.facts.get("hooks", ()):
        if noted["hook"] == name and "done_at" in noted:
            return noted["at"], noted["done_at"]
    raise Unable(f"the hook {name!r} was not carried out")


def job_of_start(bundle: Bundle, label: str) -> str:
    """The job that a start made. Raises Unable where it made none."""
    start = bundle.get(label)
    if start is None or not start.info.get("made"):
        raise Unable(bundle.unable or f"{label!r} made no job")
    return str(start.info["made"])


def log_afterwards(run: Run, bundle: Bundle, job: str) -> tuple[Seen, ...]:
    """A job's whole log when all is well again, the same on every instance.

    Raises:
        Broken: an instance refuses it, or has another one.
        Unable: it has no end, or was not read.
    """
    log: tuple[Seen, ...] = ()
    for recording in _replays(bundle, job):
        if not recording.answered:
            continue
        if not recording.is_stream:
            raise Broken(f"{recording.label}: {outcome(recording)}", recording)
        if has_gap(recording, run.profile):
            raise Unable("the target has pruned the history that this needs")
        seen = stream_log(recording, run.profile)
        if log and (found := difference(log, seen))[0]:
            raise Broken(
                f"{recording.label}: another log than the first instance's: {found[0]}",
                exhibit(recording, found[1]),
            )
        log = log or seen
    if not has_terminal(log, run.profile):
        raise Unable("the job's log has no end, so nothing can be held against it (see MI-04)")
    if not has_terminal(log[-1:], run.profile):
        raise Broken(
            "events stand behind the log's terminal event: somebody went on writing",
            exhibit(_replays(bundle, job)[0], log[-1]),
        )
    for page in bundle.all(f"page {job}"):
        # A stream ends with the terminal event; a page shows also what stands behind it.
        shown = listed(page) if succeeded(page) else ()
        if (found := difference(log[: len(shown)], shown))[0]:
            raise Broken(f"{page.label}: another log than the stream's: {found[0]}", page)
    return log


def last_seen(run: Run, bundle: Bundle, job: str) -> tuple[Recording, tuple[Seen, ...]]:
    """The first instance's own replay, whether it has an end or not.

    Raises:
        Broken: no instance knows the job any more.
        Unable: none answered.
    """
    answers = [recording for recording in _replays(bundle, job) if recording.answered]
    for recording in answers:
        if recording.is_stream:
            return recording, stream_log(recording, run.profile)
    if answers:
        raise Broken(f"no instance knows the job any more: {outcome(answers[0])}", answers[0])
    raise Unable("no instance showed the job's log afterwards")


def _replays(bundle: Bundle, job: str) -> Sequence[Recording]:
    return bundle.all(f"replay {job}")


def connections(bundle: Bundle, label: str) -> list[Recording]:
    """A reader's connections, without those to an instance that was not there."""
    return [recording for recording in parts(bundle, label) if recording.answered]


def read_whole(
    run: Run, bundle: Bundle, label: str, log: Sequence[Seen], what: str, count: int
) -> int:
    """Hold what a reader got against the log; returns its events. Raises Broken, Unable."""
    readings = connections(bundle, label)
    for recording in readings:
        # The log is there from its first event, so it was not pruning that left this gap.
        if recording.is_stream and has_gap(recording, run.profile):
            raise Broken(
                f"{what}: resumed after {recording.info.get('after')}, it is told of a gap: the "
                "log has lost what it had seen",
                recording,
                count=count,
                what="events compared",
            )
    return assembled(run, readings, log, what, count)


def require_bite(
    run: Run, bundle: Bundle, label: str, since: float, within_s: float = CUT_WITHIN_S
) -> Recording:
    """The reader's stream that the fault ended, within so much of its beginning.

    Raises:
        Unable: it went on as if nothing had happened, so nothing was broken.
    """
    for recording in connections(bundle, label):
        seen = stream_log(recording, run.profile) if recording.is_stream else ()
        if recording.ended_at >= since and not has_terminal(seen, run.profile):
            if recording.ended_at <= since + within_s:
                return recording
            break
    raise Unable(
        "the hook was carried out, and the streams of that instance went on: does it end the "
        "instance whose address was given?"
    )


def killed_part(run: Run) -> tuple[Bundle, float, float]:
    """What was seen around a kill that took place: when it was called for, and when it was done.

    Raises:
        NotRun, Unable: it was not tried, or hit nothing.
    """
    bundle = broken_part(run, "killed")
    at, done_at = hooked(bundle, "kill")
    require_bite(run, bundle, "steady", at)
    return bundle, at, done_at


def drained_part(run: Run) -> tuple[Bundle, float, Recording]:
    """What was seen around a drain: when it was called for, and the stream that it ended.

    Raises:
        NotRun, Unable: it was not tried, or hit nothing.
    """
    bundle = broken_part(run, "drained")
    at, _ = hooked(bundle, "terminate")
    within_s = run.profile.declared.grace_s + DRAINED_S
    return bundle, at, require_bite(run, bundle, "steady", at, within_s)


def ready_while_draining(bundle: Bundle, since: float, streams_ended: float) -> str:
    """What readiness said between SIGTERM and the end, in words.

    Raises:
        Broken: that the instance is ready, although it was ending its streams already.
    """
    answers = [r for r in bundle.all("ready") if r.answered and r.sent_at > since]
    refused = [r for r in answers if r.status == 503]
    for answer in answers:
        if answer.status == 200 and answer.sent_at > streams_ended:
            raise Broken(
                f"readiness says 200 {answer.sent_at - since:.1f} s after SIGTERM, when streams "
                "had ended already: it has to turn first",
                answer,
                what="answers",
            )
    if not refused:
        return "readiness was not seen while the instance drained"
    return f"not ready {refused[0].sent_at - since:.2f} s after SIGTERM"


def taken_over_while_paused(run: Run) -> tuple[Bundle, tuple[Seen, ...]]:
    """The bundle and the log of a job that another instance took over meanwhile.

    Raises:
        Unable: none did, so there was nobody to be fenced.
    """
    bundle = broken_part(run, "paused")
    hooked(bundle, "unpause")
    if not bundle.facts.get("taken_over"):
        raise Unable(
            f"no event came within {run.profile.declared.takeover_s:g} s while the job's instance "
            "was paused: nobody took it over (see TAKE-01)"
        )
    return bundle, log_afterwards(run, bundle, job_of_start(bundle, "steady start"))
