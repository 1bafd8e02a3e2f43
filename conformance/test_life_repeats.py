"""LIFE: a start that is repeated under its key is the same start.

A client that lost the answer to its start asks again. Without the key it would pay for two jobs.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .reading import succeeded


@check("LIFE-10", "starts", part="idempotency")
def test_a_repeated_start_is_the_same_start(run: Run) -> Found:
    """If a start is repeated under its key, then it is one job; another body under it is 422."""
    bundle = run.bundle("starts")
    first = run.need("starts", "key first")
    if not _accepted(first):
        raise Unable(f"the start with a key was not accepted: {outcome(first)}")
    compared = 0
    twins = [r for r in bundle.all("twin") if r.answered]
    groups = [(first, [bundle.get("key again"), bundle.get("key same body reordered")])]
    if twins:
        groups.append((next(filter(_accepted, twins), twins[0]), [*twins]))
    for model, repeats in groups:
        for repeat in repeats:
            if repeat is None or repeat is model or not repeat.answered:
                continue
            if fault := _unlike(model, repeat):
                raise Broken(
                    f"{repeat.label}: {fault}",
                    repeat,
                    model,
                    count=compared,
                    what="repeated starts",
                )
            compared += 1
    other = bundle.get("key other body")
    if other is not None and other.answered:
        if other.status != 422:
            raise Broken(
                f"the same key with another body was answered with {outcome(other)} instead of 422",
                other,
                first,
                count=compared,
                what="repeated starts",
            )
        compared += 1
    note = "" if twins else "simultaneous repeats were not tried, as jobs cannot be shaped"
    return Found(compared, "repeated starts", note, shown=bundle.get("key again"))


def _accepted(answer: Recording) -> bool:
    body = answer.json
    return succeeded(answer) and isinstance(body, dict) and body.get("job_id") is not None


def _unlike(first: Recording, repeat: Recording) -> str:
    """How a repeat's answer differs from the first one, "" where it does not."""
    if not _accepted(repeat):
        return f"the repeat was answered with {outcome(repeat)}"
    if first.json["job_id"] != repeat.json["job_id"]:
        return f"the repeat made another job: {repeat.json['job_id']}, not {first.json['job_id']}"
    if first.status != repeat.status:
        return f"the repeat was answered with {repeat.status}, the start with {first.status}"
    for member in sorted({*first.json, *repeat.json}):
        was, now = first.json.get(member), repeat.json.get(member)
        if was != now:
            return f"the repeat's answer is another one: {member} is {now!r} instead of {was!r}"
    return ""
