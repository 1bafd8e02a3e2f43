"""QUOTA: a client has exactly its declared number of starts, alone, beside others and in a burst.

A count that is read and written in two steps lets more in when starts come at once; one that is
kept for all clients together shuts out those who have done nothing.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import outcome
from streamgauge.verdict import Broken, Found, Unable

from .quotas import (
    client_in_turn,
    declared_runs,
    in_brief,
    is_refused,
    refusals_of,
    require_made,
    started_job,
    starts_of,
)
from .reading import succeeded


@check("QUOTA-01", "quota")
def test_exactly_n_starts_are_accepted(run: Run) -> Found:
    """If a client has had its N starts, then the next one is refused and makes no job."""
    runs, what = declared_runs(run), "starts of one client"
    bundle, name = run.bundle("quota"), client_in_turn(run)
    starts = require_made(run, name, runs)
    for number, answer in enumerate(starts, start=1):
        if not succeeded(answer):
            raise Broken(
                f"start {number} was refused with {answer.status}; declared are {runs} per client",
                answer,
                count=number - 1,
                what=what,
            )
    beyond = refusals_of(bundle, name)
    if not beyond:
        raise Unable(bundle.unable or f"start {runs + 1} was not answered")
    for number, answer in enumerate(beyond, start=runs + 1):
        declared = run.profile.declared.quota_status
        if answer.status != declared:
            raise Broken(
                f"start {number} of a client that has {runs} got {in_brief(answer)}; declared is "
                f"{declared}",
                answer,
                count=number,
                what=what,
            )
        made = started_job(answer) or answer.header("location")
        if made:
            raise Broken(
                f"start {number} was refused with {answer.status}, and yet names a job: {made!r}",
                answer,
                count=number,
                what=what,
            )
    return Found(runs + len(beyond), what, shown=beyond[0])


@check("QUOTA-04", "quota")
def test_other_clients_are_unaffected(run: Run) -> Found:
    """If one client is at its limit, then another one's start is accepted."""
    runs = declared_runs(run)
    bundle = run.bundle("quota")
    judged, missing = 0, []
    for name in ("turn", "running"):
        starts, other = starts_of(bundle, name, runs), bundle.get(f"{name} other client")
        if starts and is_refused(run, starts[0]):
            raise Broken(
                f"the very first start of a fresh client was refused with {starts[0].status}: "
                "other clients' starts are counted as its own",
                starts[0],
                count=judged,
                what="other clients",
            )
        if other is None or not any(is_refused(run, r) for r in refusals_of(bundle, name)):
            missing.append(f"the client {name!r} was not at its limit")
            continue
        if is_refused(run, other):
            raise Broken(
                f"while one client is at its limit, the first start of another one is refused with "
                f"{other.status}",
                other,
                count=judged,
                what="other clients",
            )
        if succeeded(other):
            judged += 1
        else:
            missing.append(f"another client's start: {outcome(other)}")
    if not judged:
        raise Unable(bundle.unable or "; ".join(missing))
    return Found(judged, "other clients")


@check("QUOTA-05", "quota")
def test_a_burst_admits_exactly_n(run: Run) -> Found:
    """If 5N starts of a client come at once, then exactly N are accepted."""
    runs = declared_runs(run)
    bundle = run.bundle("quota")
    burst = bundle.all("burst")
    answered = [answer for answer in burst if answer.answered]
    admitted = [answer for answer in answered if succeeded(answer)]
    jobs = {started_job(answer) for answer in admitted}
    counted = {"count": len(answered), "what": "simultaneous starts"}
    if len(admitted) > runs:
        raise Broken(
            f"{len(admitted)} of {len(burst)} simultaneous starts were admitted; declared are "
            f"{runs} per client",
            *admitted[:3],
            **counted,  # type: ignore[arg-type]
        )
    if not admitted and answered and all(is_refused(run, answer) for answer in answered):
        raise Unable("a fresh client had no start at all (see QUOTA-04)")
    if len(admitted) < runs:
        if len(answered) < 5 * runs:
            raise Unable(
                bundle.unable
                or f"only {len(answered)} of {5 * runs} simultaneous starts were answered"
            )
        others = [answer for answer in answered if not succeeded(answer)]
        kinds = ", ".join(sorted({str(answer.status) for answer in others}))
        raise Broken(
            f"only {len(admitted)} of {len(burst)} simultaneous starts were admitted, {runs} "
            f"should be; the others got {kinds}",
            *others[:2],
            **counted,  # type: ignore[arg-type]
        )
    if len(jobs) < len(admitted):
        raise Broken(
            f"{len(admitted)} admitted starts share {len(jobs)} jobs",
            *admitted[:3],
            **counted,  # type: ignore[arg-type]
        )
    return Found(
        len(answered), "simultaneous starts", f"{len(admitted)} of them admitted", shown=burst[0]
    )
