"""QUOTA: how many starts a client has, what uses one up, and whom a full client disturbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamgauge.check import Run, check
from streamgauge.lab import outcome
from streamgauge.recording import Bundle, End, Recording
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .reading import Seen, exhibit, has_terminal, stream_log

RESETS_MIN = 150
"""Of the 200 resets; fewer prove too little."""
HEADER_TOO_LARGE = 431
BAD_IDS = ("missing", "blank", "repeated", "8 KiB", "odd bytes")
LIVE_S = 0.3
"""What came so long after a stream's first bytes was no replay."""
SILENT_S = 5.0
AFTERMATH_S = 1.0
"""A stream that ends so soon after something was done to the quota was ended by it."""
GONE = (End.CUT, End.RESET)


# -- what the starts of the run were answered -----------------------------------------------------


def _runs(run: Run) -> int:
    """The declared number of starts per client."""
    runs = run.profile.declared.quota_runs
    if runs == 0:
        raise Inapplicable(
            f"the profile {run.profile.name!r} declares no quota (declared.quota_runs = 0)"
        )
    return runs


def _accepted(answer: Recording) -> bool:
    return answer.status is not None and 200 <= answer.status < 300


def _job(answer: Recording) -> str:
    body = answer.json
    return str(body.get("job_id") or "") if isinstance(body, dict) else ""


def _refused(run: Run, answer: Recording) -> bool:
    return answer.status == run.profile.declared.quota_status


def _starts(bundle: Bundle, name: str, runs: int) -> list[Recording]:
    """The starts "<name> 1" to "<name> N", as far as they were made."""
    made = [bundle.get(f"{name} {number}") for number in range(1, runs + 1)]
    return [answer for answer in made if answer is not None]


def _refusals(bundle: Bundle, name: str) -> list[Recording]:
    """The starts beyond the limit of one client."""
    return [answer for answer in bundle.all(f"{name} refused") if answer.answered]


def _sequence(run: Run) -> str:
    """The client whose starts were made one after the other: other names in unshaped runs."""
    return "turn" if run.bundle("quota").get("turn 1") is not None else "running"


def _require_made(run: Run, name: str, runs: int) -> list[Recording]:
    """All N starts of a client were made and answered, and the first one was let in.

    Raises:
        Unable: they were not, which is no fault of the rule at hand.
    """
    bundle = run.bundle("quota")
    starts = _starts(bundle, name, runs)
    if not starts:
        raise Unable(bundle.unable or f"no start of the client {name!r} was made")
    if _refused(run, starts[0]):
        raise Unable("the very first start of a fresh client was refused (see QUOTA-04)")
    for answer in starts:
        if not _accepted(answer) and not _refused(run, answer):
            raise Unable(f"{answer.label!r} came to nothing: {outcome(answer)}")
    if len(starts) < runs:
        raise Unable(bundle.unable or f"only {len(starts)} of {runs} starts ({name}) were made")
    return starts


def _require_counted(run: Run, runs: int, *names: str) -> None:
    """The plain count works: a rule about what disturbs it can only then be judged.

    Raises:
        Unable: these clients (one with running jobs, one with finished ones) had not N starts.
    """
    for name in names or ("running", "turn"):
        starts = _require_made(run, name, runs)
        beyond = _refusals(run.bundle("quota"), name)
        if not all(map(_accepted, starts)) or not beyond or not _refused(run, beyond[0]):
            raise Unable(f"a client has not exactly {runs} starts to begin with (see QUOTA-01)")


def _all_let_in(run: Run, name: str, runs: int, why: str, what: str) -> int:
    """All N starts of a client were accepted, whatever else it did beside them."""
    starts = _require_made(run, name, runs)
    for number, answer in enumerate(starts, start=1):
        if _refused(run, answer):
            raise Broken(
                f"start {number} of {runs} was refused with {answer.status}: {why}",
                answer,
                count=number - 1,
                what=what,
            )
    return len(starts)


# -- QUOTA-01 to QUOTA-05 -------------------------------------------------------------------------


@check("QUOTA-01", "quota")
def test_exactly_n_starts_are_accepted(run: Run) -> Found:
    """If a client has had its N starts, then the next one is refused and makes no job."""
    runs, what = _runs(run), "starts of one client"
    bundle, name = run.bundle("quota"), _sequence(run)
    starts = _require_made(run, name, runs)
    for number, answer in enumerate(starts, start=1):
        if not _accepted(answer):
            raise Broken(
                f"start {number} was refused with {answer.status}; declared are {runs} per client",
                answer,
                count=number - 1,
                what=what,
            )
    beyond = _refusals(bundle, name)
    if not beyond:
        raise Unable(bundle.unable or f"start {runs + 1} was not answered")
    for number, answer in enumerate(beyond, start=runs + 1):
        declared = run.profile.declared.quota_status
        if answer.status != declared:
            raise Broken(
                f"start {number} of a client that has {runs} got {_brief(answer)}; declared is "
                f"{declared}",
                answer,
                count=number,
                what=what,
            )
        made = _job(answer) or answer.header("location")
        if made:
            raise Broken(
                f"start {number} was refused with {answer.status}, and yet names a job: {made!r}",
                answer,
                count=number,
                what=what,
            )
    return Found(runs + len(beyond), what, shown=beyond[0])


def _brief(answer: Recording) -> str:
    job = _job(answer)
    return f"status {answer.status} and the job {job}" if job else outcome(answer)


@check("QUOTA-02", "quota")
def test_quota_answers_tell_the_truth(run: Run) -> Found:
    """If an answer speaks of the quota, then limit, remaining and Retry-After are true."""
    runs, what = _runs(run), "answers"
    bundle, name = run.bundle("quota"), _sequence(run)
    judged = 0
    for answer in _answers_beyond(run):
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
    counted = [answer for answer in _starts(bundle, name, runs) if _accepted(answer)]
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


def _answers_beyond(run: Run) -> list[Recording]:
    """Every refusal by the quota that the run saw."""
    return [
        answer
        for answer in run.bundle("quota").recordings
        if answer.request.method == "POST" and _refused(run, answer)
    ]


@check("QUOTA-03", "quota")
def test_a_refusal_is_a_proper_problem(run: Run) -> Found:
    """If a start is refused, then as problem+json that the page may read and nobody stores."""
    _runs(run)
    judged = 0
    for answer in _answers_beyond(run):
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
    if origin is not None and allowed not in (origin, "*"):
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


@check("QUOTA-04", "quota")
def test_other_clients_are_unaffected(run: Run) -> Found:
    """If one client is at its limit, then another one's start is accepted."""
    runs = _runs(run)
    bundle = run.bundle("quota")
    judged, missing = 0, []
    for name in ("turn", "running"):
        starts, other = _starts(bundle, name, runs), bundle.get(f"{name} other client")
        if starts and _refused(run, starts[0]):
            raise Broken(
                f"the very first start of a fresh client was refused with {starts[0].status}: "
                "other clients' starts are counted as its own",
                starts[0],
                count=judged,
                what="other clients",
            )
        if other is None or not any(_refused(run, r) for r in _refusals(bundle, name)):
            missing.append(f"the client {name!r} was not at its limit")
            continue
        if _refused(run, other):
            raise Broken(
                f"while one client is at its limit, the first start of another one is refused with "
                f"{other.status}",
                other,
                count=judged,
                what="other clients",
            )
        if _accepted(other):
            judged += 1
        else:
            missing.append(f"another client's start: {outcome(other)}")
    if not judged:
        raise Unable(bundle.unable or "; ".join(missing))
    return Found(judged, "other clients")


@check("QUOTA-05", "quota")
def test_a_burst_admits_exactly_n(run: Run) -> Found:
    """If 5N starts of a client come at once, then exactly N are accepted."""
    runs = _runs(run)
    bundle = run.bundle("quota")
    burst = bundle.all("burst")
    answered = [answer for answer in burst if answer.answered]
    admitted = [answer for answer in answered if _accepted(answer)]
    jobs = {_job(answer) for answer in admitted}
    counted = {"count": len(answered), "what": "simultaneous starts"}
    if len(admitted) > runs:
        raise Broken(
            f"{len(admitted)} of {len(burst)} simultaneous starts were admitted; declared are "
            f"{runs} per client",
            *admitted[:3],
            **counted,  # type: ignore[arg-type]
        )
    if not admitted and answered and all(_refused(run, answer) for answer in answered):
        raise Unable("a fresh client had no start at all (see QUOTA-04)")
    if len(admitted) < runs:
        if len(answered) < 5 * runs:
            raise Unable(
                bundle.unable
                or f"only {len(answered)} of {5 * runs} simultaneous starts were answered"
            )
        others = [answer for answer in answered if not _accepted(answer)]
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


# -- QUOTA-06, QUOTA-07 ---------------------------------------------------------------------------


@check("QUOTA-06", "quota")
def test_a_run_counts_once_whatever_its_end(run: Run) -> Found:
    """If a run completes, fails or is cancelled, then it has used up one start, and stays so."""
    runs = _runs(run)
    bundle = run.bundle("quota")
    if not run.shaped:
        raise Unable("needs jobs that are known to complete, to fail and to be cancelled")
    _require_counted(run, runs, "running")
    starts = [r for n in range(runs) if (r := bundle.get(f"ending {n}")) is not None]
    for number, answer in enumerate(starts, start=1):
        if _refused(run, answer):
            raise Broken(
                f"after {number - 1} runs that have ended, start {number} of {runs} was refused: a "
                "run was counted more than once",
                answer,
                count=number - 1,
                what="runs that have ended",
            )
        if not _accepted(answer):
            raise Unable(f"{answer.label!r} came to nothing: {outcome(answer)}")
    ends = [r for n in range(runs) if (r := bundle.get(f"ending read {n}")) is not None]
    ended = sorted(
        {status for r in ends if (status := _end_status(run, stream_log(r, run.profile)))}
    )
    beyond = bundle.get("ending refused")
    if beyond is None or not beyond.answered or not ended:
        raise Unable(bundle.unable or "the runs of this client were not seen to end")
    if _accepted(beyond):
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


def _end_status(run: Run, seen: Sequence[Seen]) -> str:
    """How a log says that its job ended, "" where it does not; that `done` agrees is LIFE-11's."""
    status = ""
    for event in seen:
        told = str(event.data.get("status", "")) if isinstance(event.data, dict) else ""
        if event.type in run.profile.events.terminal:
            return status or told or "ended"
        if event.type == "job_status" and told not in ("started", "running"):
            status = told
    return ""


@check("QUOTA-07", "quota")
def test_aborted_streams_change_nothing(run: Run) -> Found:
    """If 200 streams are reset before their first byte, then quota, job and readers live on."""
    runs = _runs(run)
    bundle, what = run.bundle("quota"), "streams that were reset"
    resets = int(bundle.facts.get("resets", 0))
    if resets < RESETS_MIN:
        raise Unable(bundle.unable or f"only {resets} streams could be reset, 200 are meant to be")
    _require_counted(run, runs)
    why = f"{resets} streams that were reset before their first byte were charged"
    _all_let_in(run, "reset", runs, why, what)
    notes = []
    beyond = bundle.get("reset refused")
    if beyond is not None and _accepted(beyond):
        raise Broken(
            f"start {runs + 1} of a client was accepted after {resets} of its streams had been "
            "reset: they have given starts back",
            beyond,
            count=resets,
            what=what,
        )
    if beyond is None or not _refused(run, beyond):
        notes.append(f"the start beyond the limit was not judged: {beyond and outcome(beyond)}")
    reader, replay = bundle.get("reset reader"), bundle.get("reset replay")
    if reader is None or not reader.is_stream:
        raise Unable(bundle.unable or "no reader watched the job beside the resets")
    began, ended = bundle.facts.get("reset_during", (0.0, 0.0))
    fault = _disturbed(run, bundle, "reset", 0, (began, ended))
    if not fault and _fell_silent(run, reader, replay):
        fault = f"{reader.label!r} got no further event, while a replay shows the job's end"
    if fault:
        raise Broken(f"beside {resets} resets {fault}", reader, replay, count=resets, what=what)
    status = _end_status(run, stream_log(replay, run.profile)) if replay is not None else ""
    if status not in ("", "completed", "ended"):
        raise Broken(
            f"the job whose streams were reset ended as {status!r}, not as 'completed'",
            replay,
            count=resets,
            what=what,
        )
    if not status:
        notes.append("how the job ended was not seen")
    return Found(resets, what, "; ".join(notes), shown=reader)


def _disturbed(
    run: Run, bundle: Bundle, name: str, number: int, during: tuple[float, float]
) -> str:
    """What became of a reader that should have gone on to its job's end, "" where it has.

    Only a stream that ends while something was done to the quota is held against it: what ends at
    other times has other reasons (LIFE-05, RT-06).
    """
    reader = bundle.get(f"{name} reader {number}") or bundle.get(f"{name} reader")
    if reader is None or not reader.is_stream:
        return ""
    seen = stream_log(reader, run.profile)
    parts = [reader, *(r for r in bundle.all(f"{name} resumed {number}") if r.is_stream)]
    ends = [_end_status(run, stream_log(part, run.profile)) for part in parts]
    status = next(filter(None, ends), "")
    # The suite itself ends a target's own jobs when they have served.
    tidied = bundle.get(f"tidy {reader.info.get('job')}") is not None
    if status in ("canceled", "cancelled", "failed") and not tidied:
        return f"the job of {reader.label!r} ended as {status!r}, which nobody had asked for"
    if has_terminal(seen, run.profile):
        return ""
    if (
        _break_off_anyway(run, bundle)
        or not during[0] <= reader.ended_at <= during[1] + AFTERMATH_S
    ):
        return ""
    if reader.ended_cleanly and not _recycled(run, reader):
        return f"{reader.label!r} was ended without the job's end and without the recycle mark"
    if reader.end in GONE:
        return (
            f"{reader.label!r} was broken off ({reader.end.value}) "
            f"{reader.ended_at - reader.sent_at:.1f} s after it was opened, with {len(seen)} events"
        )
    return ""


def _break_off_anyway(run: Run, bundle: Bundle) -> bool:
    """Whether every stream of running jobs ends too early: then it is not the quota's doing."""
    readers = [r for r in bundle.all("running reader") if r.is_stream]
    return bool(readers) and all(
        (reader.ended_cleanly or reader.end in GONE)
        and not has_terminal(stream_log(reader, run.profile), run.profile)
        and not _recycled(run, reader)
        for reader in readers
    )


def _fell_silent(run: Run, reader: Recording, replay: Recording | None) -> bool:
    """A stream that had been live shows nothing of an end that a replay shows long before it."""
    seen = stream_log(reader, run.profile)
    was_live = bool(seen) and seen[-1].at > reader.reads[0].at + LIVE_S
    return (
        was_live
        and not has_terminal(seen, run.profile)
        and reader.end in (End.LEFT, End.TIMEOUT)
        and replay is not None
        and replay.sent_at < reader.ended_at
        and has_terminal(stream_log(replay, run.profile), run.profile)
        and reader.ended_at - seen[-1].at > SILENT_S
    )


def _recycled(run: Run, recording: Recording) -> bool:
    """Whether the declared comment stands behind the last field line."""
    mark = run.profile.events.recycle.encode()
    for block in reversed(recording.blocks):
        for line in reversed(block.lines):
            if not line.is_comment:
                return False
            if mark and line.raw[1:].strip() == mark:
                return True
    return False


# -- QUOTA-08, QUOTA-09 ---------------------------------------------------------------------------


@check("QUOTA-08", "quota")
def test_reading_is_never_charged(run: Run) -> Found:
    """If a client streams, polls or resumes, then the quota neither refuses nor charges it."""
    runs = _runs(run)
    bundle, what = run.bundle("quota"), "reads of clients under a quota"
    reads = [
        r
        for prefix in ("running", "reads", "reset", "ending")
        for r in bundle.all(prefix)
        if r.request.method == "GET" and r.answered
    ]
    for number, read in enumerate(reads):
        if _refused(run, read):
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
        _require_counted(run, runs)
        streams = len(bundle.all("reads stream"))
        why = f"the {streams} streams and 2 other reads before it were charged"
        _all_let_in(run, "reads", runs, why, what)
        note = ""
    return Found(len(reads), what, note, shown=reads[-1])


@check("QUOTA-09", "quota")
def test_running_jobs_survive_the_limit(run: Run) -> Found:
    """If a client reaches its limit, then its running jobs and their streams go on."""
    runs = _runs(run)
    bundle, what = run.bundle("quota"), "jobs that ran when the limit was reached"
    refused = [r for r in _refusals(bundle, "running") if _refused(run, r)]
    if not refused or refused[0].head_at is None:
        raise Unable(
            bundle.unable or "no client was at its limit while its jobs ran (see QUOTA-01)"
        )
    reached_at, last_refused_at = refused[0].sent_at, refused[-1].ended_at
    judged, open_still = 0, 0
    for number in range(runs):
        reader = bundle.get(f"running reader {number}")
        if reader is None or not reader.is_stream:
            continue
        seen = stream_log(reader, run.profile)
        resumed = [r for r in bundle.all(f"running resumed {number}") if r.is_stream]
        later = [e for r in resumed for e in stream_log(r, run.profile)]
        if _ended_before(run, seen, reached_at):
            continue
        if fault := _disturbed(run, bundle, "running", number, (reached_at, last_refused_at)):
            raise Broken(
                f"after the client had reached its limit {fault}",
                exhibit(reader, seen[-1] if seen else None, "the last event"),
                refused[0],
                count=judged,
                what=what,
            )
        if any(event.at > reached_at for event in (*seen, *later)):
            judged += 1
            continue
        watched = reader.ended_at - reached_at
        if not run.shaped or watched < 5.0 or reader.ended_cleanly:
            open_still += 1
            continue
        raise Broken(
            f"{reader.label!r} showed no event in the {watched:.1f} s after the client had reached "
            f"its limit, although its job emits one each 0.1 s",
            exhibit(reader, seen[-1] if seen else None, "the last event"),
            refused[0],
            count=judged,
            what=what,
        )
    if not judged:
        raise Unable(
            bundle.unable
            or f"no job was seen to emit after the limit was reached ({open_still} were watched)"
        )
    return Found(judged, what, shown=refused[0])


def _ended_before(run: Run, seen: Sequence[Seen], moment: float) -> bool:
    return any(e.type in run.profile.events.terminal and e.at <= moment for e in seen)


# -- QUOTA-10, QUOTA-11 ---------------------------------------------------------------------------


@check("QUOTA-10", "quota")
def test_bad_client_ids_are_refused(run: Run) -> Found:
    """If a client id is none, then the start is refused as declared; the header's case is free."""
    runs = _runs(run)
    bundle, declared = run.bundle("quota"), run.profile.declared.client_id_status
    judged, missing = 0, []
    for name in BAD_IDS:
        answer = bundle.get(f"id {name}")
        if answer is None or answer.end in (End.REFUSED, End.PROTOCOL_ERROR):
            missing.append(f"the {name} id was not sent")
            continue
        allowed = {declared, HEADER_TOO_LARGE} if name == "8 KiB" else {declared}
        if answer.status not in allowed:
            shared = _accepted(answer) or _refused(run, answer)
            raise Broken(
                f"a start with a {name} {run.profile.api.client_id_header} got {_brief(answer)}; "
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
    if len(starts) <= runs or not _accepted(starts[0]):
        missing.append("other spellings of the header's name were not judged")
        return 0
    for answer in starts[1:]:
        if not _accepted(answer) and answer.status == run.profile.declared.client_id_status:
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
        _require_counted(run, runs)
    except Unable:
        missing.append("whether spellings share one count was not judged (see QUOTA-01)")
        return 0
    if _accepted(starts[-1]):
        raise Broken(
            f"a client had {runs + 1} starts by spelling the header's name in three ways: each "
            "spelling has a count of its own",
            starts[-1],
            what="odd client ids",
        )
    return len(starts)


@check("QUOTA-11", "quota")
def test_only_accepted_starts_are_charged(run: Run) -> Found:
    """If a start is invalid, or repeats an earlier one, then it costs nothing."""
    runs, what = _runs(run), "starts that cost nothing"
    bundle = run.bundle("quota")
    if bundle.get("free json") is None:
        raise Unable(bundle.unable or "needs jobs that can be shaped, to make so many of them")
    _require_counted(run, runs)
    free = [
        r
        for label in ("free json", "free fields", "free type")
        if (r := bundle.get(label)) is not None and r.answered and not _accepted(r)
    ]
    if len(free) < 3:
        raise Unable("a start that is no JSON or has no fields was not refused (see HDR-10)")
    kinds = ", ".join(str(answer.status) for answer in free)
    _all_let_in(run, "free", runs, f"the invalid starts before it ({kinds}) were charged", what)
    repeats, note = _repeats(run, bundle, runs, what)
    return Found(len(free) + repeats, what, note, shown=bundle.get("free 1"))


def _repeats(run: Run, bundle: Bundle, runs: int, what: str) -> tuple[int, str]:
    """An idempotent repeat is no start; returns how many were judged, and why not."""
    keyed = [r for n in range(3) if (r := bundle.get(f"repeat key {n}")) is not None]
    if run.profile.capabilities.idempotency is False or run.evidence.found.get("idempotency"):
        return 0, "idempotent repeats were not judged: the target knows no Idempotency-Key"
    if len({_job(answer) for answer in keyed}) != 1 or not all(map(_accepted, keyed)):
        return 0, "idempotent repeats were not judged: they are not one job (see LIFE-10)"
    others = _starts(bundle, "repeat", runs)
    for number, answer in enumerate(others, start=2):
        if _refused(run, answer):
            raise Broken(
                f"start {number} of {runs} was refused with {answer.status}: the {len(keyed) - 1} "
                "repeats under one Idempotency-Key before it were charged",
                answer,
                *keyed[:1],
                what=what,
            )
    at_limit = bundle.get("repeat key at the limit")
    if at_limit is not None and _refused(run, at_limit):
        raise Broken(
            f"at the limit, the repeat of an accepted start was refused with {at_limit.status}: it "
            "is the same start and costs nothing",
            at_limit,
            *keyed[:1],
            what=what,
        )
    return len(keyed) - 1 + (at_limit is not None and _accepted(at_limit)), ""
