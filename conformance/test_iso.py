"""ISO: jobs do not mix, cannot be guessed, and cannot be told from jobs that do not exist.

Whoever knows a job's id may read it. So an id must come from nowhere but the answer to its start,
and no other job's view may show anything of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .finals import job_of, unanswered
from .quotas import started_job
from .randomness import sequence_fault, uuid_fault, version_of
from .reading import Seen, events_of, exhibit, has_terminal, stream_log, succeeded

_CANARY = re.compile(rb"sg(?:crowd|plain)[0-9a-f]{20}")


@check("ISO-01", "crowd", "plain")
def test_jobs_do_not_mix(run: Run) -> Found:
    """If jobs run at the same time, then no view of one shows anything of another."""
    judged, shown = 0, set()
    owners = {word: job for job, word in _canaries(run).items()}
    for recording in _views(run):
        job = job_of(recording)
        for found in _CANARY.finditer(recording.body):
            owner = owners.get(found.group().decode())
            if owner == job:
                shown.add(job)
            elif owner is not None:
                raise Broken(
                    f"{recording.label!r}, a view of the job {job}, shows the text of the job "
                    f"{owner}",
                    recording,
                    count=judged,
                    what="views",
                )
        if fault := _names_another(run, recording, job):
            raise Broken(fault, recording, count=judged, what="views")
        judged += recording.status == 200
    if len(shown) < 2:
        raise Unable(_reason(run) or "the jobs show nothing by which they could be told apart")
    together = _most_at_once(run)
    return Found(judged, "views", f"{len(shown)} jobs, {together} streams open at the same time")


def _reason(run: Run) -> str:
    for name in ("crowd", "plain"):
        bundle = run.evidence.bundles.get(name)
        if bundle is not None and run.shaped is (name == "crowd"):
            return bundle.unable or str(bundle.facts.get("refused", ""))
    return ""


def _canaries(run: Run) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for bundle in run.evidence.bundles.values():
        told = bundle.facts.get("canaries")
        if isinstance(told, dict):
            found.update({str(job): str(word) for job, word in told.items()})
    return found


def _views(run: Run) -> Iterator[Recording]:
    known = _canaries(run)
    for recording in run.recordings():
        # What a foreign cursor brings is ISO-04's matter.
        carried = recording.label.startswith("carried")
        if job_of(recording) in known and recording.request.method == "GET" and not carried:
            yield recording


def _names_another(run: Run, recording: Recording, job: str) -> str:
    body = recording.json if recording.media_type == "application/json" else None
    told = body.get("job_id") if isinstance(body, dict) else None
    if told is not None and str(told) != job and str(told) in _canaries(run):
        return f"{recording.label!r} was asked for the job {job} and answers for {told}"
    return ""


def _most_at_once(run: Run) -> int:
    """How many of the jobs' streams were open at the same moment."""
    streams = [r for r in _views(run) if r.is_stream and r.head_at is not None]
    moments = sorted([(r.head_at or 0.0, 1) for r in streams] + [(r.ended_at, -1) for r in streams])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


@check("ISO-02", "strangers")
def test_unknown_jobs_look_alike(run: Run) -> Found:
    """If a job id is unknown or malformed, then every resource answers the same 404."""
    bundle = run.bundle("strangers")
    asked = [*bundle.all("unknown"), *bundle.all("malformed")]
    judged = 0
    for recording in asked:
        what = f"the {recording.info['resource']} of the job {recording.info['asked']!r}"
        if fault := unanswered(recording):
            raise Broken(f"{what}: {fault}", recording, count=judged, what="requests")
        if recording.status in (None, 429):
            continue
        if recording.status != 404:
            raise Broken(
                f"{what}, which does not exist, answers {outcome(recording)}, not 404",
                recording,
                count=judged,
                what="requests",
            )
        judged += 1
    answers = [r for r in asked if r.status == 404]
    kinds = Counter(r.media_type for r in answers)
    if len(kinds) > 1:
        rare = kinds.most_common()[-1][0]
        odd = next(r for r in answers if r.media_type == rare)
        raise Broken(
            f"{odd.label!r} gets its 404 as {rare or 'no type'}, others as "
            f"{kinds.most_common(1)[0][0] or 'no type'}",
            odd,
            count=judged,
            what="requests",
        )
    judged += _judge_foreign(run, judged)
    if not judged:
        raise Unable(bundle.unable or "no request for an unknown job was answered")
    return Found(judged, "requests")


def _judge_foreign(run: Run, judged: int) -> int:
    """Another client either may read a job, or is told what it is told of one that is missing."""
    bundle = run.bundle("strangers")
    foreign, missing = bundle.get("foreign snapshot"), bundle.get("missing snapshot")
    if foreign is None or missing is None or not (foreign.answered and missing.answered):
        return 0
    if not succeeded(foreign) and foreign.status != missing.status:
        raise Broken(
            f"another client's job is answered with {foreign.status} and one that does not exist "
            f"with {missing.status}: so the first one exists",
            foreign,
            missing,
            count=judged,
            what="requests",
        )
    return 1


@check("ISO-03", "starts", "crowd", "plain", "quota")
def test_job_ids_are_random(run: Run) -> Found:
    """If jobs are started, then their ids are random UUIDs that show no sequence."""
    if run.profile.ids.jobs != "uuid":
        raise Inapplicable(run.profile.says("ids.jobs"))
    starts = {r: started_job(r) for r in run.recordings() if _is_plain_start(r)}
    by_id: dict[str, Recording] = {}
    for recording, job in starts.items():
        if fault := uuid_fault(job):
            raise Broken(f"the job id {job!r} {fault}", recording, count=len(by_id), what="job ids")
        if job in by_id:
            raise Broken(
                f"two starts were given the same job id {job}",
                recording,
                by_id[job],
                count=len(by_id),
                what="job ids",
            )
        by_id[job] = recording
    for version in (4, 7):
        ids = [job for job in by_id if version_of(job) == version]
        if fault := sequence_fault(ids):
            raise Broken(
                f"the job ids are UUIDs of version {version} in shape only: {fault}",
                by_id[ids[0]],
                by_id[ids[-1]],
                count=len(by_id),
                what="job ids",
            )
    return Found(len(by_id), "job ids")


def _is_plain_start(recording: Recording) -> bool:
    """An accepted start without a key, so that it has to have made a job of its own."""
    return (
        recording.request.method == "POST"
        and succeeded(recording)
        and bool(recording.info.get("client"))
        and "shape" in recording.info
        and recording.request.header("Idempotency-Key") is None
        and bool(started_job(recording))
    )


@check("ISO-04", "crowd", "plain")
def test_foreign_cursors_reveal_nothing(run: Run) -> Found:
    """If a cursor was taken from another job, then the answer shows nothing of that job."""
    judged = 0
    for bundle in run.evidence.bundles.values():
        foreign = str(bundle.facts.get("foreign", ""))
        replay = bundle.get("long replay")
        if not foreign or replay is None:
            continue
        canary = _canaries(run).get(foreign, "").encode()
        own = [event for event in events_of(replay, run.profile) if event.timestamp]
        for recording in bundle.all("carried"):
            if not recording.answered or "nobody" in recording.label:
                continue
            told = f"{recording.label!r}, asked with a cursor of the job {foreign},"
            if canary and canary in recording.body:
                raise Broken(f"{told} shows its text", recording, count=judged, what="answers")
            if foreign.encode() in recording.body:
                raise Broken(f"{told} names it", recording, count=judged, what="answers")
            seen = events_of(recording, run.profile)
            if event := _shared(own, seen) or _not_its_own(run, bundle, recording, seen):
                raise Broken(
                    f"{told} shows the event {event.id} ({event.type}), which is not its own",
                    exhibit(recording, event),
                    count=judged,
                    what="answers",
                )
            if fault := _tells_apart(run, recording, _twin(bundle.recordings, recording), own):
                raise Broken(f"{told} {fault}", recording, count=judged, what="answers")
            judged += 1
    if not judged:
        raise Unable(_reason(run) or "no cursor could be carried from one job to another")
    return Found(judged, "answers")


def _shared(theirs: Iterable[Seen], seen: Iterable[Seen]) -> Seen | None:
    """An event that is one of the other job's: its time and all that it says are the same."""
    known = {(event.type, event.timestamp, repr(event.data)) for event in theirs}
    # Two jobs may well be stamped alike in their first and last moments, and say the same there.
    found = [e for e in seen if (e.type, e.timestamp, repr(e.data)) in known]
    return found[0] if len(found) > 1 else None


def _not_its_own(
    run: Run, bundle: Bundle, recording: Recording, seen: Sequence[Seen]
) -> Seen | None:
    """An event that the asked job's own log, read without a cursor, does not have."""
    logs = [
        stream_log(each, run.profile)
        for each in bundle.recordings
        if each.is_stream
        and job_of(each) == job_of(recording)
        and not each.label.startswith("carried")
    ]
    own = max(logs, key=len, default=())
    by_id = {event.id: event for event in own}
    whole = has_terminal(own, run.profile)
    for event in seen:
        known = by_id.get(event.id)
        if known is None and whole:
            return event
        if known is not None and (known.type, known.timestamp) != (event.type, event.timestamp):
            return event
    return None


def _twin(recordings: Iterable[Recording], recording: Recording) -> Recording | None:
    """The same request with a cursor that no job has."""
    *words, _ = recording.label.split(" ")
    label = " ".join([*words, "nobody"])
    return next((r for r in recordings if r.label == label), None)


def _tells_apart(run: Run, recording: Recording, twin: Recording | None, theirs: list[Seen]) -> str:
    """Opaque ids: one that exists elsewhere must be answered as one that exists nowhere.

    Numbers may have a place in the order of this job's own events, which is no secret.
    """
    if twin is None or not twin.answered or all(event.id.isdigit() for event in theirs):
        return ""
    if recording.status != twin.status:
        return f"answers {recording.status}, but {twin.status} for a cursor that no job has"
    return ""
