"""QUOTA: what uses up a start: each accepted run once, and nothing else.

Reading, failed starts and repeats must be free, or a client that reconnects often loses starts that
it never had; and a run that ends must not give its start back.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, outcome
from streamgauge.verdict import Broken, Found, Unable

from .quotas import (
    all_let_in,
    declared_runs,
    end_status,
    is_refused,
    require_counted,
    started_job,
    starts_of,
)
from .reading import stream_log, succeeded


@check("QUOTA-06", "quota")
def test_a_run_counts_once_whatever_its_end(run: Run) -> Found:
    """If a run completes, fails or is cancelled, then it has used up one start, and stays so."""
    runs = declared_runs(run)
    bundle = run.bundle("quota")
    if not run.shaped:
        raise Unable("needs jobs that are known to complete, to fail and to be cancelled")
    require_counted(run, runs, "running")
    starts = [r for n in range(runs) if (r := bundle.get(f"ending {n}")) is not None]
    for number, answer in enumerate(starts, start=1):
        if is_refused(run, answer):
            raise Broken(
                f"after {number - 1} runs that have ended, start {number} of {runs} was refused: a "
                "run was counted more than once",
                answer,
                count=number - 1,
                what="runs that have ended",
            )
        if not succeeded(answer):
            raise Unable(f"{answer.label!r} came to nothing: {outcome(answer)}")
    ends = [r for n in range(runs) if (r := bundle.get(f"ending read {n}")) is not None]
    ended = sorted(
        {status for r in ends if (status := end_status(run, stream_log(r, run.profile)))}
    )
    beyond = bundle.get("ending refused")
    if beyond is None or not beyond.answered or not ended:
        raise Unable(bundle.unable or "the runs of this client were not seen to end")
    if succeeded(beyond):
        raise Broken(
            f"start {runs + 1} of a client was accepted after its runs had ended "
            f"({', '.join(ended)}): a run that ends gives its start back",
            beyond,
            count=len(starts),
            what="runs that have ended",
        )
    return Found(
        len(starts),
        "runs that have ended",
        f"seen: {', '.join(ended)}; not judged: that the count survives a restart, which takes a "
        "target that the suite may restart",
    )


@check("QUOTA-08", "quota")
def test_reading_is_never_charged(run: Run) -> Found:
    """If a client streams, polls or resumes, then the quota neither refuses nor charges it."""
    runs = declared_runs(run)
    bundle, what = run.bundle("quota"), "reads of clients under a quota"
    reads = [
        r
        for prefix in ("running", "reads", "reset", "ending")
        for r in bundle.all(prefix)
        if r.request.method == "GET" and r.answered
    ]
    for number, read in enumerate(reads):
        if is_refused(run, read):
            raise Broken(
                f"{read.label}: reading was refused with {read.status}, the answer to one start "
                "too many",
                read,
                count=number,
                what=what,
            )
    own = sum(1 for read in reads if read.request.header(run.profile.api.client_id_header))
    if not own:
        raise Unable(bundle.unable or "no job of a client under a quota could be read")
    note = "that reading costs no start was not judged, as jobs cannot be shaped"
    if bundle.get("reads 1") is not None:
        require_counted(run, runs)
        streams = len(bundle.all("reads stream"))
        why = f"the {streams} streams and 2 other reads before it were charged"
        all_let_in(run, "reads", runs, why, what)
        note = ""
    return Found(len(reads), what, note, shown=reads[-1])


@check("QUOTA-11", "quota")
def test_only_accepted_starts_are_charged(run: Run) -> Found:
    """If a start is invalid, or repeats an earlier one, then it costs nothing."""
    runs, what = declared_runs(run), "starts that cost nothing"
    bundle = run.bundle("quota")
    if bundle.get("free json") is None:
        raise Unable(bundle.unable or "needs jobs that can be shaped, to make so many of them")
    require_counted(run, runs)
    free = [
        r
        for label in ("free json", "free fields", "free type")
        if (r := bundle.get(label)) is not None and r.answered and not succeeded(r)
    ]
    if len(free) < 3:
        raise Unable("a start that is no JSON or has no fields was not refused (see HDR-10)")
    kinds = ", ".join(str(answer.status) for answer in free)
    all_let_in(run, "free", runs, f"the invalid starts before it ({kinds}) were charged", what)
    repeats, note = _repeats(run, bundle, runs, what)
    return Found(len(free) + repeats, what, note, shown=bundle.get("free 1"))


def _repeats(run: Run, bundle: Bundle, runs: int, what: str) -> tuple[int, str]:
    """An idempotent repeat is no start; returns how many were judged, and why not."""
    keyed = [r for n in range(3) if (r := bundle.get(f"repeat key {n}")) is not None]
    if run.profile.capabilities.idempotency is False or run.evidence.found.get("idempotency"):
        return 0, "idempotent repeats were not judged: the target knows no Idempotency-Key"
    if len({started_job(answer) for answer in keyed}) != 1 or not all(map(succeeded, keyed)):
        return 0, "idempotent repeats were not judged: they are not one job (see LIFE-10)"
    others = starts_of(bundle, "repeat", runs)
    for number, answer in enumerate(others, start=2):
        if is_refused(run, answer):
            raise Broken(
                f"start {number} of {runs} was refused with {answer.status}: the {len(keyed) - 1} "
                "repeats under one Idempotency-Key before it were charged",
                answer,
                *keyed[:1],
                what=what,
            )
    at_limit = bundle.get("repeat key at the limit")
    if at_limit is not None and is_refused(run, at_limit):
        raise Broken(
            f"at the limit, the repeat of an accepted start was refused with {at_limit.status}: it "
            "is the same start and costs nothing",
            at_limit,
            *keyed[:1],
            what=what,
        )
    return len(keyed) - 1 + (at_limit is not None and succeeded(at_limit)), ""
