"""HDR: starts, wrong methods and errors are answered as HTTP and RFC 9457 have it.

Clients follow the URLs of a start at once and tell a refusal by its status and problem document. An
answer that is almost right sends them the wrong way.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .reading import as_json, succeeded, unread


@check("HDR-08", "starts", "probe")
def test_starts_answer_with_urls_that_work_at_once(run: Run) -> Found:
    """If a start is accepted, then it names the job and its URLs, and each answers at once."""
    judged = _accepted(run)
    bundle = run.evidence.bundles.get("starts")
    for prefix in ("stream", "snapshot"):
        for recording in bundle.all(prefix) if bundle else ():
            if recording.answered and recording.status != 200:
                raise Broken(
                    f"the {prefix} of a job that has just been accepted answers {recording.status}",
                    recording,
                    count=judged,
                    what="answers",
                )
            if not recording.answered and recording.end in (End.CUT, End.RESET, End.PROTOCOL_ERROR):
                raise Broken(
                    f"the {prefix} of a job that has just been accepted: {outcome(recording)}",
                    recording,
                    count=judged,
                    what="answers",
                )
            if prefix == "snapshot" and recording.end is End.TIMEOUT:
                raise Broken(
                    "the snapshot of a job that has just been accepted does not answer",
                    recording,
                    count=judged,
                    what="answers",
                )
            judged += recording.answered
    answer = next((r for r in _start_answers(run)), None)
    told = ""
    if answer is not None and (answer.status != 202 or not answer.header("location")):
        place = "with" if answer.header("location") else "without"
        told = f"answers {answer.status} {place} Location (should: 202 with Location)"
    return Found(judged, "answers", told)


def _start_answers(run: Run) -> Iterator[Recording]:
    for name, labels in (("probe", ("start shaped", "start plain")), ("starts", ("start",))):
        bundle = run.evidence.bundles.get(name)
        for label in labels if bundle else ():
            yield from bundle.all(label) if bundle else ()


def _accepted(run: Run) -> int:
    """Count the accepted starts; fail where the plain one was not accepted as it should be."""
    answers = list(_start_answers(run))
    plain = [r for r in answers if not (r.label == "start shaped" and not succeeded(r))]
    for recording in plain:
        if not recording.answered:
            raise Broken(f"start: {outcome(recording)}", recording, what="answers")
        if not succeeded(recording):
            where = recording.header("location")
            moved = (
                f" to {where}: give that address as base URL"
                if where and 300 <= (recording.status or 0) < 400
                else ""
            )
            raise Broken(f"a start answers {recording.status}{moved}", recording, what="answers")
        body = recording.json
        if not isinstance(body, dict):
            raise Broken(
                f"an accepted start answers no JSON object ({recording.media_type or 'no type'})",
                recording,
                what="answers",
            )
        missing = [m for m in ("job_id", "stream_url", "snapshot_url") if not body.get(m)]
        if missing:
            raise Broken(
                f"an accepted start does not tell {', '.join(missing)}", recording, what="answers"
            )
    if not plain:
        raise Unable("no start was answered")
    return len(plain)


@check("HDR-09", "inputs")
def test_methods_are_answered_properly(run: Run) -> Found:
    """If a method is wrong, then 405 with Allow; HEAD has GET's headers, no body, and no hang."""
    bundle = run.bundle("inputs")
    judged = 0
    for recording in bundle.all("method"):
        name = f"{recording.request.method} on {recording.label.split()[1]}"
        # A parser that has never heard of a method may say so itself, before anybody routes it.
        unknown = recording.label == "method stream unknown"
        if unknown and (recording.status == 501 or unread(recording)):
            continue
        if recording.status != 405:
            raise Broken(
                f"{name}: {outcome(recording)}, not 405", recording, count=judged, what="requests"
            )
        if recording.status == 405 and recording.header("allow") is None:
            raise Broken(f"{name}: 405 without Allow", recording, count=judged, what="requests")
        judged += 1
    replay = run.need("inputs", "replay")
    for recording in bundle.all("head"):
        fault = _head_fault(recording, replay)
        if fault:
            raise Broken(
                f"HEAD on {recording.label.split()[1]}: {fault}",
                recording,
                count=judged,
                what="requests",
            )
        judged += 1
    return Found(judged, "requests")


def _head_fault(recording: Recording, replay: Recording) -> str:
    if recording.end is End.TIMEOUT or recording.status is None:
        return f"no answer ({recording.end.value})"
    if recording.status != 200:
        return f"status {recording.status} where GET answers 200"
    if recording.surplus:
        return f"{len(recording.surplus):,} octets of body"
    if recording.label == "head stream" and replay.is_stream:
        for name in ("content-type", "cache-control", "x-accel-buffering"):
            if recording.header(name) != replay.header(name):
                return f"{name} is {recording.header(name)!r}, GET says {replay.header(name)!r}"
    return ""


@check("HDR-10", "inputs", "quota", "starts")
def test_errors_are_problem_documents(run: Run) -> Found:
    """If a request fails, then the answer is problem+json whose status is the real one."""
    judged = 0
    for recording in _expected_errors(run):
        status = recording.status or 0
        if status < 400:
            raise Broken(
                f"{recording.label}: answered {status} where an error is due",
                recording,
                count=judged,
                what="error answers",
            )
        if recording.request.method == "HEAD" or unread(recording):
            continue
        if recording.media_type != "application/problem+json":
            raise Broken(
                f"{recording.label}: {status} as {recording.media_type or 'no type'}, not "
                "application/problem+json",
                recording,
                count=judged,
                what="error answers",
            )
        body = as_json(recording.body.decode("utf-8", "replace"))
        if not isinstance(body, dict) or body.get("status") != status:
            told = body.get("status") if isinstance(body, dict) else None
            raise Broken(
                f"{recording.label}: answered {status}, the document says status {told!r}",
                recording,
                count=judged,
                what="error answers",
            )
        judged += 1
    return Found(judged, "error answers")


def _expected_errors(run: Run) -> Iterator[Recording]:
    """Answers that have to be errors by rules which other checks judge only in part."""
    inputs = run.bundle("inputs")
    for recording in (*inputs.all("unknown job"), *inputs.all("bad start")):
        if recording.answered:
            yield recording
    for recording in (*inputs.all("method"), *inputs.all("malformed poll")):
        if recording.status is not None and 400 <= recording.status < 500:
            yield recording
    quota = run.evidence.bundles.get("quota")
    for recording in quota.all("turn refused 0") if quota else ():
        if recording.status == run.profile.declared.quota_status:
            yield recording
