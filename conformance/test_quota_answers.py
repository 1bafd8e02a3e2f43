"""QUOTA: what answers say of the quota is true, and refusals can be read by programs.

A page shows its user how many starts are left, and why one was refused, by these answers alone. Who
the client is comes first: without an id there is nothing to count.
"""

from __future__ import annotations

from typing import Any

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End, Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .quotas import (
    all_refusals,
    client_in_turn,
    declared_runs,
    in_brief,
    is_refused,
    require_counted,
    starts_of,
)
from .reading import succeeded

HEADER_TOO_LARGE = 431
BAD_IDS = ("missing", "blank", "repeated", "8 KiB", "odd bytes")


@check("QUOTA-02", "quota")
def test_quota_answers_tell_the_truth(run: Run) -> Found:
    """If an answer speaks of the quota, then limit, remaining and Retry-After are true."""
    runs, what = declared_runs(run), "answers"
    bundle, name = run.bundle("quota"), client_in_turn(run)
    judged = 0
    for answer in all_refusals(run):
        judged += 1
        if (told := answer.header("retry-after")) is not None:
            valid = "" if told.strip().isdigit() or told.endswith("GMT") else ", which is no value"
            raise Broken(
                f"{answer.label}: the refusal says `Retry-After: {told}`{valid}; but a quota "
                "without a period never has room again",
                answer,
                count=judged,
                what=what,
            )
    counted = [answer for answer in starts_of(bundle, name, runs) if succeeded(answer)]
    for number, answer in enumerate(counted, start=1):
        judged += 1
        body = answer.json
        told = body.get("quota") if isinstance(body, dict) else None
        wanted = {"limit": runs, "remaining": runs - number}
        if not isinstance(told, dict) or {key: told.get(key) for key in wanted} != wanted:
            raise Broken(
                f"{answer.label}: after start {number} of {runs} the answer's `quota` is {told!r} "
                f"instead of {wanted!r}",
                answer,
                count=judged,
                what=what,
            )
    if not counted:
        raise Unable(bundle.unable or "no start was accepted, so no answer tells of the quota")
    return Found(judged, what, shown=counted[0])


@check("QUOTA-03", "quota")
def test_a_refusal_is_a_proper_problem(run: Run) -> Found:
    """If a start is refused, then as problem+json that the page may read and nobody stores."""
    declared_runs(run)
    judged = 0
    for answer in all_refusals(run):
        judged += 1
        if fault := _problem_fault(answer):
            raise Broken(
                f"{answer.label} ({answer.status}): {fault}",
                answer,
                count=judged,
                what="refusals",
            )
    if not judged:
        raise Unable(run.bundle("quota").unable or "no start was refused (see QUOTA-01)")
    return Found(judged, "refusals")


def _problem_fault(answer: Recording) -> str:
    if answer.media_type != "application/problem+json":
        return f"its media type is {answer.media_type!r}, not application/problem+json"
    body: Any = answer.json
    if not isinstance(body, dict):
        return "its body is no JSON object"
    if body.get("status") != answer.status:
        return f"its member `status` is {body.get('status')!r}"
    origin, allowed = answer.request.header("Origin"), answer.header("access-control-allow-origin")
    if origin and allowed not in (origin, "*"):
        return (
            f"a page of the allowed origin {origin} cannot read it: Access-Control-Allow-Origin is "
            f"{allowed!r}"
        )
    directives = [
        part.strip().lower() for part in (answer.header("cache-control") or "").split(",")
    ]
    if "no-store" not in directives:
        return f"Cache-Control is {answer.header('cache-control')!r}, without no-store"
    return ""


@check("QUOTA-10", "quota")
def test_bad_client_ids_are_refused(run: Run) -> Found:
    """If a client id is none, then the start is refused as declared; the header's case is free."""
    runs = declared_runs(run)
    bundle, declared = run.bundle("quota"), run.profile.declared.client_id_status
    judged, missing = 0, []
    for name in BAD_IDS:
        answer = bundle.get(f"id {name}")
        if answer is None or answer.end in (End.REFUSED, End.PROTOCOL_ERROR):
            missing.append(f"the {name} id was not sent")
            continue
        allowed = {declared, HEADER_TOO_LARGE} if name == "8 KiB" else {declared}
        if answer.status not in allowed:
            shared = succeeded(answer) or is_refused(run, answer)
            raise Broken(
                f"a start with a {name} {run.profile.api.client_id_header} got {in_brief(answer)}; "
                f"declared is {declared}" + ("; such clients share one count" if shared else ""),
                answer,
                count=judged,
                what="odd client ids",
            )
        judged += 1
    judged += _spellings(run, bundle, runs, missing)
    if not judged:
        raise Unable(bundle.unable or "; ".join(missing))
    return Found(judged, "odd client ids", "; ".join(missing))


def _spellings(run: Run, bundle: Bundle, runs: int, missing: list[str]) -> int:
    """One client under three spellings of the header's name has N starts, as under one."""
    starts = [r for n in range(runs + 1) if (r := bundle.get(f"spelling {n}")) is not None]
    if len(starts) <= runs or not succeeded(starts[0]):
        missing.append("other spellings of the header's name were not judged")
        return 0
    for answer in starts[1:]:
        if not succeeded(answer) and answer.status == run.profile.declared.client_id_status:
            sent = next(
                n
                for n, _ in answer.request.headers
                if n.lower() == run.profile.api.client_id_header.lower()
            )
            raise Broken(
                f"the client id in a header spelled {sent!r} is not seen: {outcome(answer)}; names "
                "of headers are case-insensitive",
                answer,
                what="odd client ids",
            )
    try:
        require_counted(run, runs)
    except Unable:
        missing.append("whether spellings share one count was not judged (see QUOTA-01)")
        return 0
    if succeeded(starts[-1]):
        raise Broken(
            f"a client had {runs + 1} starts by spelling the header's name in three ways: each "
            "spelling has a count of its own",
            starts[-1],
            what="odd client ids",
        )
    return len(starts)
