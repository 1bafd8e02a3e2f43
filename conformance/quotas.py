"""What the starts of the run's clients were answered, and whether the plain count works.

Most rules about the quota say what must not disturb the count. They can only be judged where a
client that does nothing odd has its starts, which is settled here for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamgauge.check import Run
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.verdict import Broken, Inapplicable, Unable

from .reading import Seen, succeeded


def declared_runs(run: Run) -> int:
    """The declared number of starts per client."""
    runs = run.profile.declared.quota_runs
    if runs == 0:
        raise Inapplicable(
            f"the profile {run.profile.name!r} declares no quota (declared.quota_runs = 0)"
        )
    return runs


def started_job(answer: Recording) -> str:
    body = answer.json
    return str(body.get("job_id") or "") if isinstance(body, dict) else ""


def is_refused(run: Run, answer: Recording) -> bool:
    return answer.status == run.profile.declared.quota_status


def starts_of(bundle: Bundle, name: str, runs: int) -> list[Recording]:
    """The starts "<name> 1" to "<name> N", as far as they were made."""
    made = [bundle.get(f"{name} {number}") for number in range(1, runs + 1)]
    return [answer for answer in made if answer is not None]


def refusals_of(bundle: Bundle, name: str) -> list[Recording]:
    """The starts beyond the limit of one client."""
    return [answer for answer in bundle.all(f"{name} refused") if answer.answered]


def all_refusals(run: Run) -> list[Recording]:
    """Every refusal by the quota that the run saw."""
    return [
        answer
        for answer in run.bundle("quota").recordings
        if answer.request.method == "POST" and is_refused(run, answer)
    ]


def client_in_turn(run: Run) -> str:
    """The client whose starts were made one after the other: other names in unshaped runs."""
    return "turn" if run.bundle("quota").get("turn 1") is not None else "running"


def require_made(run: Run, name: str, runs: int) -> list[Recording]:
    """All N starts of a client were made and answered, and the first one was let in.

    Raises:
        Unable: they were not, which is no fault of the rule at hand.
    """
    bundle = run.bundle("quota")
    starts = starts_of(bundle, name, runs)
    if not starts:
        raise Unable(bundle.unable or f"no start of the client {name!r} was made")
    if is_refused(run, starts[0]):
        raise Unable("the very first start of a fresh client was refused (see QUOTA-04)")
    for answer in starts:
        if not succeeded(answer) and not is_refused(run, answer):
            raise Unable(f"{answer.label!r} came to nothing: {outcome(answer)}")
    if len(starts) < runs:
        raise Unable(bundle.unable or f"only {len(starts)} of {runs} starts ({name}) were made")
    return starts


def require_counted(run: Run, runs: int, *names: str) -> None:
    """The plain count works: a rule about what disturbs it can only then be judged.

    Raises:
        Unable: these clients (one with running jobs, one with finished ones) had not N starts.
    """
    for name in names or ("running", "turn"):
        starts = require_made(run, name, runs)
        beyond = refusals_of(run.bundle("quota"), name)
        if not all(map(succeeded, starts)) or not beyond or not is_refused(run, beyond[0]):
            raise Unable(f"a client has not exactly {runs} starts to begin with (see QUOTA-01)")


def all_let_in(run: Run, name: str, runs: int, why: str, what: str) -> int:
    """All N starts of a client were accepted, whatever else it did beside them."""
    starts = require_made(run, name, runs)
    for number, answer in enumerate(starts, start=1):
        if is_refused(run, answer):
            raise Broken(
                f"start {number} of {runs} was refused with {answer.status}: {why}",
                answer,
                count=number - 1,
                what=what,
            )
    return len(starts)


def in_brief(answer: Recording) -> str:
    job = started_job(answer)
    return f"status {answer.status} and the job {job}" if job else outcome(answer)


def end_status(run: Run, seen: Sequence[Seen]) -> str:
    """How a log says that its job ended, "" where it does not; that `done` agrees is LIFE-11's."""
    status = ""
    for event in seen:
        told = str(event.data.get("status", "")) if isinstance(event.data, dict) else ""
        if event.type in run.profile.events.terminal:
            return status or told or "ended"
        if event.type == "job_status" and told not in ("started", "running"):
            status = told
    return ""
