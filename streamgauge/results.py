"""What a judgement says: verdicts, the evidence under them, and the run as a whole.

These are the words that every output speaks (terminal, HTML, JSON, JUnit), so they live apart from
all of them. The rules that combine verdicts stand here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .catalogue import Requirement
    from .explain.model import Cause, Explanation
    from .recording import Recording
    from .witness import Witness


class Verdict(StrEnum):
    """What one check found."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    NOT_APPLICABLE = "not_applicable"
    COULD_NOT_TEST = "could_not_test"
    ERROR = "error"
    NOT_RUN = "not_run"


#: From best to worst: where one id is judged more than once, the worst outcome stands.
SEVERITY: Sequence[Verdict] = (
    Verdict.NOT_RUN,
    Verdict.NOT_APPLICABLE,
    Verdict.PASS,
    Verdict.COULD_NOT_TEST,
    Verdict.WARN,
    Verdict.FAIL,
    Verdict.ERROR,
)


class RunVerdict(StrEnum):
    """What the whole run found."""

    CONFORMANT = "conformant"
    NONCONFORMANT = "nonconformant"
    INCOMPLETE = "incomplete"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much was looked at: a pass without evidence does not exist."""

    count: int
    what: str


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A recording that shows the fault, and where in its body to look."""

    recording: Recording
    note: str = ""
    span: tuple[int, int] | None = None
    """Byte offsets into the recorded body, None for the whole."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one catalogue id."""

    requirement: Requirement
    verdict: Verdict
    message: str
    evidence: Evidence
    reproduce: str = ""
    """Shell lines (curl) that show the same thing, secrets redacted."""
    exhibits: tuple[Exhibit, ...] = ()
    duration_s: float = 0.0
    known: str | None = None
    """The reason on the list of known failures, None where the check is not listed."""

    @property
    def is_known_failure(self) -> bool:
        """Failed, and on the list: shown, but no part of the run's verdict."""
        return self.known is not None and self.verdict is Verdict.FAIL

    @property
    def is_stale(self) -> bool:
        """On the list of known failures, and passes."""
        return self.known is not None and self.verdict is Verdict.PASS

    explanation: Explanation | None = None
    """Why it came to that, where the run's recordings tell."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Everything that the outputs are made from."""

    target: str
    profile: str
    started: str
    """RFC 3339, UTC."""
    duration_s: float
    verdict: RunVerdict
    reason: str
    """One sentence: why this verdict."""
    checks: tuple[CheckResult, ...]
    """One entry per implemented catalogue id, in catalogue order."""
    notes: tuple[str, ...] = ()
    """Said once for the run: optional parts that are absent, what was limited."""
    environment: dict[str, str] = field(default_factory=dict)
    """Versions and measurements of the instrument itself (loop lag, clock offset bounds)."""
    trace: str = ""
    """Path of the saved trace relative to the report folder, empty when none was saved."""
    witnesses: tuple[Witness, ...] = ()
    """What real clients heard of the run's streams; never part of a verdict."""
    causes: tuple[Cause, ...] = ()
    """What explains several failures at once, the one that explains most first."""


def judge_run(results: Iterable[CheckResult], broken: str = "") -> tuple[RunVerdict, str]:
    """Combine the checks into the run's verdict and say why.

    Args:
        results: one per implemented id.
        broken: why the run itself failed (target unreachable, interrupted), empty if it did not.
    """
    checks = list(results)

    def ids(verdict: Verdict) -> list[str]:
        return [check.requirement.id for check in checks if check.verdict is verdict]

    if broken:
        return RunVerdict.ERROR, broken
    if errors := ids(Verdict.ERROR):
        return RunVerdict.ERROR, f"the suite itself failed in {_listed(errors)}"
    known = [check.requirement.id for check in checks if check.is_known_failure]
    if failed := [name for name in ids(Verdict.FAIL) if name not in known]:
        return RunVerdict.NONCONFORMANT, f"{_counted(failed)} failed: {_listed(failed)}"
    untested = [
        check.requirement.id
        for check in checks
        if check.verdict is Verdict.COULD_NOT_TEST and check.requirement.is_must
    ]
    passed = ids(Verdict.PASS)
    if not passed:
        return RunVerdict.ERROR, "nothing passed: there is no evidence that the target works"
    if untested:
        return (
            RunVerdict.INCOMPLETE,
            f"{_counted(untested)} could not be tested: {_listed(untested)}{_excepted(known)}",
        )
    warned = ids(Verdict.WARN)
    also = f", {_counted(warned)} with a warning" if warned else ""
    also += _excepted(known)
    return RunVerdict.CONFORMANT, f"{_counted(passed)} passed{also}"


def exit_code(verdict: RunVerdict, *, strict: bool, stale: bool = False) -> int:
    """0 conformant, 1 nonconformant, 2 error, 3 incomplete under --strict (else 0).

    `stale`: a check on the list of known failures passes, so the list is out of date.
    """
    if strict and stale and verdict is RunVerdict.CONFORMANT:
        return 3
    return {
        RunVerdict.CONFORMANT: 0,
        RunVerdict.NONCONFORMANT: 1,
        RunVerdict.ERROR: 2,
        RunVerdict.INCOMPLETE: 3 if strict else 0,
    }[verdict]


def _excepted(known: Sequence[str]) -> str:
    if not known:
        return ""
    return f"; not counted: {len(known)} known failure{'s' if len(known) != 1 else ''} " + (
        f"({_listed(known)})"
    )


def _counted(ids: Sequence[str]) -> str:
    return f"{len(ids)} check{'s' if len(ids) != 1 else ''}"


def _listed(ids: Sequence[str], limit: int = 6) -> str:
    shown = ", ".join(ids[:limit])
    return shown if len(ids) <= limit else f"{shown} and {len(ids) - limit} more"
