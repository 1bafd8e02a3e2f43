"""What a broken server is, and what a run against one has to look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

RED = frozenset({"fail", "warn", "error"})
KILLED = frozenset({"fail", "warn"})


def put(owner: Any, name: str, value: Any) -> None:
    """Replace what a module or class calls so, whether or not it means it for others."""
    setattr(owner, name, value)


def unpatched() -> None:
    """Leave the reference server as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """The reference server with one behaviour changed."""

    name: str
    breaks: tuple[str, ...]
    """Ids that must fail (a SHOULD: warn), all of them."""
    about: str
    """One sentence: the fault, and why what follows from it does."""
    follows: tuple[str, ...] = ()
    """Ids that may fail as a consequence of the same fault."""
    patch: Callable[[], None] = unpatched
    """Called in the server's own process before the server is put together."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings that differ from the usual ones of a mutant."""
    profile: str = "scaled.toml"
    """A file beside this one."""
    instances: int = 1
    """So many processes serve; the suite is told all their addresses."""
    deployment: tuple[str, str] | None = None
    """Store and fan-out of a topology whose processes the suite can kill; None: plain processes."""

    @property
    def section(self) -> str:
        """The section that has to catch it; "" for a control."""
        return self.breaks[0].partition("-")[0] if self.breaks else ""

    @property
    def sections(self) -> tuple[str, ...]:
        """All sections in which something has to fail."""
        return tuple(dict.fromkeys(each.partition("-")[0] for each in self.breaks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A server without a fault: nothing may turn red, and what is named must pass."""

    name: str
    about: str
    passes: tuple[str, ...] = ()
    patch: Callable[[], None] = unpatched
    env: Mapping[str, str] = field(default_factory=dict)
    profile: str = "scaled.toml"
    instances: int = 1
    deployment: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NullTarget:
    """No job-streaming server at all: nothing may pass."""

    name: str
    about: str
    serve: Callable[[], int]
    """Serves until the process is ended, after one line `listening on URL`."""
    env: Mapping[str, str] = field(default_factory=dict)
    profile: str = "scaled.toml"
    instances: int = 1
    deployment: None = None


Subject = Mutant | Control | NullTarget


def problems(subject: Subject, verdicts: Mapping[str, str], ended: str = "") -> list[str]:
    """What is wrong with a run against this subject, in sentences; empty where all is as it should.

    Args:
        verdicts: check id -> verdict, as in `results.json`.
        ended: why there are no verdicts (timed out, no server), "" where there are some.
    """
    if ended:
        return [ended]
    if isinstance(subject, NullTarget):
        passed = [i for i, verdict in verdicts.items() if verdict in ("pass", "not_applicable")]
        errors = [i for i, verdict in verdicts.items() if verdict == "error"]
        return _said("passed on a null target", passed) + _said("errors of the suite", errors)
    breaks = subject.breaks if isinstance(subject, Mutant) else ()
    allowed = {*breaks, *subject.follows} if isinstance(subject, Mutant) else set()
    survived = [
        f"{i} ({verdicts.get(i, 'unknown')})" for i in breaks if verdicts.get(i) not in KILLED
    ]
    stray = [
        f"{i} ({verdict})"
        for i, verdict in verdicts.items()
        if verdict == "error" or (verdict in RED and i not in allowed)
    ]
    missing = [
        f"{i} ({verdicts.get(i, 'unknown')})"
        for i in (subject.passes if isinstance(subject, Control) else ())
        if verdicts.get(i) != "pass"
    ]
    return (
        _said("survived", survived) + _said("red but not listed", stray) + _said("no pass", missing)
    )


def merely_untested(subject: Subject, verdicts: Mapping[str, str]) -> bool:
    """Whether all that is wrong is that what was wanted could not be tested.

    That speaks of the conditions of this run, not of the server or the check: worth another run.
    """
    if isinstance(subject, NullTarget) or not verdicts:
        return False
    breaks = subject.breaks if isinstance(subject, Mutant) else ()
    wanted = subject.passes if isinstance(subject, Control) else breaks
    told = {i: "fail" if i in breaks else "pass" for i in wanted}
    as_if = {**verdicts, **{i: told[i] for i in wanted if verdicts.get(i) == "could_not_test"}}
    return bool(problems(subject, verdicts)) and not problems(subject, as_if)


def _said(what: str, ids: list[str]) -> list[str]:
    return [f"{what}: {', '.join(ids)}"] if ids else []


def as_json(subject: Subject) -> dict[str, Any]:
    """What the matrix says about a subject."""
    return {
        "name": subject.name,
        "kind": type(subject).__name__.lower(),
        "about": subject.about,
        "breaks": list(subject.breaks) if isinstance(subject, Mutant) else [],
        "follows": list(subject.follows) if isinstance(subject, Mutant) else [],
    }
