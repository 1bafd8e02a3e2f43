"""What got better and what got worse between two runs, from their `results.json`.

Only what two runs say of the same check is compared. A check that was judged in one of them alone
is neither better nor worse: it is listed apart, unless it is red now.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .report.data import SCHEMA, visible
from .results import RunVerdict, Verdict

RESULTS_BYTES_MAX = 64_000_000
SHRUNK = 0.5
"""Evidence that fell below this share is worth a line."""
_RED = (Verdict.FAIL, Verdict.WARN)
_GOOD = (Verdict.PASS, Verdict.NOT_APPLICABLE)
_MESSAGE_CHARS_MAX = 300


class CompareError(Exception):
    """A file that cannot be compared; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Change:
    """One check in both runs."""

    id: str
    title: str
    before: str
    after: str
    message: str
    """What the later run found."""
    evidence_before: int
    evidence_after: int


@dataclass(slots=True)
class Comparison:
    """Two runs, `a` before `b`."""

    a: dict[str, Any]
    b: dict[str, Any]
    better: list[Change] = field(default_factory=list)
    worse: list[Change] = field(default_factory=list)
    otherwise: list[Change] = field(default_factory=list)
    """Changed, and nobody can say for better or worse: red before, not judged to the end now."""
    judged_now: list[Change] = field(default_factory=list)
    judged_no_more: list[Change] = field(default_factory=list)
    less_evidence: list[Change] = field(default_factory=list)
    """Passed both times, now on much less."""
    new: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def got_worse(self) -> bool:
        broke = self.b["verdict"] == RunVerdict.ERROR != self.a["verdict"]
        return bool(self.worse) or broke


def compare(before: Path, after: Path, *, as_json: bool) -> int:
    """Print what changed.

    Returns:
        0 where nothing got worse, else 1.

    Raises:
        CompareError: one of the files is no usable `results.json`.
    """
    found = compared(load_results(before), load_results(after))
    print(_json(found) if as_json else "\n".join(_text(found)))
    return int(found.got_worse)


def load_results(path: Path) -> dict[str, Any]:
    """Read a `results.json`, or that of a report's folder.

    Raises:
        CompareError: it cannot be read, or is none that this version understands.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        if path.stat().st_size > RESULTS_BYTES_MAX:
            raise CompareError(f"{path}: larger than {RESULTS_BYTES_MAX:,} bytes")
        run = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CompareError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise CompareError(f"{path}: not JSON ({error})") from error
    if not isinstance(run, dict) or "checks" not in run:
        raise CompareError(f"{path}: no results.json of a run (it has no `checks`)")
    if run.get("schema") != SCHEMA:
        raise CompareError(f"{path}: schema {run.get('schema')!r}, expected {SCHEMA}")
    try:
        RunVerdict(run["verdict"])
        float(run["duration_s"])
        for row in run["checks"]:
            Verdict(row["verdict"])
            str(row["id"]), str(row["title"]), int(row["evidence"]["count"])
    except (KeyError, TypeError, ValueError) as error:
        raise CompareError(f"{path}: not as schema {SCHEMA} describes it ({error!r})") from error
    return run


def compared(a: dict[str, Any], b: dict[str, Any]) -> Comparison:
    """Sort every check of two runs into what became of it."""
    found = Comparison(a, b)
    before, after = _rows(a), _rows(b)
    found.new = [identifier for identifier in after if identifier not in before]
    found.removed = [identifier for identifier in before if identifier not in after]
    for identifier, row in after.items():
        if identifier not in before:
            continue
        change = _change(before[identifier], row)
        group = _group(found, Verdict(change.before), Verdict(change.after))
        if group is not None:
            group.append(change)
        elif (
            change.after == Verdict.PASS and change.evidence_after < change.evidence_before * SHRUNK
        ):
            found.less_evidence.append(change)
    return found


def _group(found: Comparison, before: Verdict, after: Verdict) -> list[Change] | None:
    if before is after:
        return None
    if after is Verdict.FAIL or (after is Verdict.WARN and before is not Verdict.FAIL):
        return found.worse
    if after is Verdict.NOT_RUN:
        return found.judged_no_more
    if before is Verdict.NOT_RUN:
        return found.judged_now
    if after in (Verdict.PASS, Verdict.WARN):
        return found.better
    if before is Verdict.PASS or (before in _GOOD and after not in _GOOD):
        return found.worse
    return found.otherwise


def _rows(run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in run["checks"]}


def _change(before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    return Change(
        id=after["id"],
        title=after["title"],
        before=before["verdict"],
        after=after["verdict"],
        message=str(after.get("message", "")),
        evidence_before=before["evidence"]["count"],
        evidence_after=after["evidence"]["count"],
    )


_GROUPS = {
    "worse": "Worse",
    "better": "Better",
    "otherwise": "Changed, neither better nor worse",
    "judged_now": "Judged now, not before",
    "judged_no_more": "Judged before, not now",
    "less_evidence": "Passed on less than half of the evidence",
}


def _json(found: Comparison) -> str:
    record = {
        "schema": 1,
        **{name: _run(run) for name, run in (("a", found.a), ("b", found.b))},
        "got_worse": found.got_worse,
        **{name: [asdict(change) for change in getattr(found, name)] for name in _GROUPS},
        "new": found.new,
        "removed": found.removed,
    }
    return json.dumps(record, ensure_ascii=False, indent=2)


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: run.get(name)
        for name in ("target", "profile", "started", "duration_s", "verdict", "reason")
    }


def _text(found: Comparison) -> Iterator[str]:
    a, b = found.a, found.b
    for member, name in (("target", "Target"), ("profile", "Profile"), ("verdict", "Verdict")):
        same = a.get(member) == b.get(member)
        old, new = _flat(a.get(member)), _flat(b.get(member))
        yield f"{name:<9}{new}" if same else f"{name:<9}{old} -> {new}"
    yield f"{'Duration':<9}{a['duration_s']:.1f} s -> {b['duration_s']:.1f} s"
    for name, title in _GROUPS.items():
        changes: list[Change] = getattr(found, name)
        if changes:
            yield f"\n{title} ({len(changes)})"
            for change in changes:
                yield from _line(change, name)
    for title, ids in (("New checks", found.new), ("Checks that are gone", found.removed)):
        if ids:
            yield f"\n{title} ({len(ids)}): {', '.join(map(_flat, ids))}"
    count = len(found.worse)
    yield f"\n{count} worse, {len(found.better)} better" + (
        "; the later run has no verdict" if found.got_worse and not count else ""
    )


def _line(change: Change, group: str) -> Iterator[str]:
    if group == "less_evidence":
        what = f"{change.evidence_before:,} -> {change.evidence_after:,} observations"
    else:
        what = f"{change.before} -> {change.after}".replace("_", " ")
    yield f"  {_flat(change.id):<10} {what}  {_flat(change.title)}"
    if group == "worse" and change.message:
        yield f"    {_flat(change.message)}"


def _flat(text: object) -> str:
    return " ".join(visible(str(text), _MESSAGE_CHARS_MAX).split())
