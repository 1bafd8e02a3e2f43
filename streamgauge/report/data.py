"""The public JSON of a run, and what all outputs share: groups, counts, words and safe text.

A target's answer ends up in messages, and a hostile target must not be able to forge a line of a
terminal, an element of a document or a verdict. Every output therefore takes its text through
`visible` and its order and words from here, so that the four of them can never disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..explain.model import Cause, Explanation, PlatformHint
from ..results import CheckResult, RunResult, RunVerdict, Verdict
from ..witness import Witness

SCHEMA = 1
"""Version of `results.json`: it changes when a consumer would have to."""

TEXT_CHARS_MAX = 8_000
"""Longest single text (message, reproduction, rule) that any output repeats."""

ORDER = (
    Verdict.FAIL,
    Verdict.WARN,
    Verdict.COULD_NOT_TEST,
    Verdict.ERROR,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
    Verdict.NOT_RUN,
)
"""The order in which verdicts interest a reader."""

WORDS: Mapping[Verdict, str] = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.WARN: "warn",
    Verdict.NOT_APPLICABLE: "n. a.",
    Verdict.COULD_NOT_TEST: "untested",
    Verdict.ERROR: "error",
    Verdict.NOT_RUN: "not run",
}
"""Short forms, for cells and columns."""

COUNTED: Mapping[Verdict, tuple[str, str]] = {
    Verdict.PASS: ("passed", "passed"),
    Verdict.FAIL: ("failed", "failed"),
    Verdict.WARN: ("warning", "warnings"),
    Verdict.NOT_APPLICABLE: ("not applicable", "not applicable"),
    Verdict.COULD_NOT_TEST: ("could not be tested", "could not be tested"),
    Verdict.ERROR: ("error of the suite", "errors of the suite"),
    Verdict.NOT_RUN: ("not run", "not run"),
}
"""Behind a number: one, and any other."""

HEADLINES: Mapping[RunVerdict, str] = {
    RunVerdict.CONFORMANT: "Conformant",
    RunVerdict.NONCONFORMANT: "Not conformant",
    RunVerdict.INCOMPLETE: "Incomplete",
    RunVerdict.ERROR: "No verdict: the run failed",
}


def headline(run: RunResult) -> str:
    """The verdict in words; never a bare "conformant" where known failures were left out."""
    return headline_of(run.verdict, known=any(check.is_known_failure for check in run.checks))


def headline_of(verdict: RunVerdict, *, known: bool) -> str:
    """The same, where only the verdict is at hand and whether a known failure was left out."""
    words = HEADLINES[verdict]
    return f"{words}, but for known failures" if known and verdict in _EXCEPTED else words


_EXCEPTED = (RunVerdict.CONFORMANT, RunVerdict.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Section:
    """The checks of one family, in catalogue order."""

    id: str
    title: str
    checks: tuple[CheckResult, ...]

    @property
    def counts(self) -> dict[Verdict, int]:
        return count(self.checks)


def sections(run: RunResult) -> tuple[Section, ...]:
    """The run's checks by section, in the order in which sections first appear."""
    groups: dict[str, list[CheckResult]] = {}
    for check in run.checks:
        groups.setdefault(check.requirement.section, []).append(check)
    return tuple(
        Section(name, checks[0].requirement.section_title, tuple(checks))
        for name, checks in groups.items()
    )


def count(checks: Iterable[CheckResult]) -> dict[Verdict, int]:
    """How many checks have each verdict, those with none left out, most interesting first."""
    found = [check.verdict for check in checks]
    return {verdict: found.count(verdict) for verdict in ORDER if verdict in found}


def counted(verdict: Verdict, number: int) -> str:
    """A number with its words: "1 warning", "3 failed"."""
    return f"{number} {COUNTED[verdict][number != 1]}"


def selected(run: RunResult, verdict: Verdict) -> tuple[CheckResult, ...]:
    """The checks with this verdict."""
    return tuple(check for check in run.checks if check.verdict is verdict)


def found_of(check: CheckResult) -> str:
    """The check's message, preceded by why it does not count where it is a known failure."""
    if not check.is_known_failure:
        return check.message
    return f"Known failure{f' ({check.known})' if check.known else ''}. {check.message}"


def sentence(text: str) -> str:
    """`text` as a sentence: capital first, full stop last."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?…" else ".")


def evidence(check: CheckResult) -> str:
    """What was looked at, in words."""
    count, what = check.evidence.count, check.evidence.what
    if not count:
        return "nothing was observed"
    return f"{count:,} {what if count != 1 else singular(what)}".strip()


def singular(what: str) -> str:
    """The words behind a number, for one: "frames measured" becomes "frame measured"."""
    words = what.split(" ")
    place = next((n for n, word in enumerate(words) if word.endswith("s")), None)
    if place is None or "and" in words:
        return what
    noun = words[place]
    words[place] = noun[:-3] + "y" if noun.endswith("ies") else noun[:-1]
    return " ".join(words).replace(" that were ", " that was ").replace(" that have ", " that has ")


def cause_headline(cause: Cause) -> str:
    """One sentence: how many checks fail, and why."""
    number = len(cause.checks)
    checks = "1 check fails because" if number == 1 else f"{number} checks fail for one reason:"
    return f"{checks} {cause.explanation.what}."


def sureness(explanation: Explanation) -> str:
    """How far the explanation may be trusted, in words."""
    number = f"{explanation.observations:,} observation{'s' * (explanation.observations != 1)}"
    return f"{explanation.sureness.value}, from {number}"


def hint_text(hint: PlatformHint) -> str:
    """A platform that fits, as a sentence that does not claim it."""
    return f"If this is {hint.name} ({hint.why}): {hint.advice}"


def hint_origin(hint: PlatformHint) -> str:
    """Where a hint's fact comes from, how old and how sure it is."""
    return f"{hint.grade}, looked up {hint.as_of}: {hint.source}"


def heard_otherwise(witness: Witness) -> str:
    """What a client heard that is not so, in a few words; "" where it heard the truth."""
    counts: dict[str, int] = {}
    for difference in witness.differences:
        counts[difference.kind] = counts.get(difference.kind, 0) + difference.count
    told = [
        words.format(f"{counts[kind]} {noun}" + ("s" if counts[kind] != 1 else ""))
        for kind, words, noun in (
            ("extra", "invents {}", "event"),
            ("missed", "misses {}", "event"),
            ("changed", "hears {} wrongly", "event"),
            ("failed", "gives up on {}", "stream"),
        )
        if kind in counts
    ]
    return ", ".join(told)


def visible(text: str, limit: int = TEXT_CHARS_MAX) -> str:
    """`text` without anything that acts instead of showing: controls and bidi marks as escapes.

    Newlines stay; a tab becomes one blank; what exceeds `limit` characters is cut and says so.
    """
    text = bounded(text, limit).replace("\r\n", "\n").replace("\t", " ")
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else escape(c) for c in text)


def escape(character: str) -> str:
    """A character that cannot be shown, as Python would write it."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # What surrogateescape makes of a byte that is not UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"


def bounded(text: str, limit: int = TEXT_CHARS_MAX) -> str:
    """`text`, cut where it exceeds `limit` characters, with the number of those left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} characters more)"


def results_json(run: RunResult) -> str:
    """The public record of a run: schema 1, one entry per implemented catalogue id."""
    record = {
        "schema": SCHEMA,
        "target": _plain(run.target),
        "profile": _plain(run.profile),
        "started": run.started,
        "duration_s": round(run.duration_s, 3),
        "verdict": run.verdict.value,
        "reason": _plain(run.reason),
        "notes": [_plain(note) for note in run.notes],
        "known_failures": _known(run),
        "causes": [
            {**_explanation(cause.explanation), "checks": list(cause.checks)}
            for cause in run.causes
        ],
        "checks": [_entry(check) for check in run.checks],
        "witnesses": [_witness(witness) for witness in run.witnesses],
    }
    return json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _known(run: RunResult) -> dict[str, list[str]]:
    """The listed checks by what became of them."""
    listed = [check for check in run.checks if check.known is not None]
    groups: dict[str, list[str]] = {"failed": [], "passed": [], "other": []}
    for check in listed:
        group = "failed" if check.is_known_failure else "passed" if check.is_stale else "other"
        groups[group].append(check.requirement.id)
    return groups


def _entry(check: CheckResult) -> dict[str, Any]:
    requirement = check.requirement
    return {
        "id": requirement.id,
        "level": requirement.level.value,
        "section": requirement.section,
        "title": requirement.title,
        "verdict": check.verdict.value,
        "evidence": {"count": check.evidence.count, "what": _plain(check.evidence.what)},
        "message": _plain(check.message),
        "known_failure": None if check.known is None else _plain(check.known),
        "reproduce": _plain(check.reproduce),
        "duration_s": round(check.duration_s, 3),
        "explanation": _explanation(check.explanation) if check.explanation else None,
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    sizes = explanation.bytes_low, explanation.bytes_high
    return {
        "family": explanation.family.value,
        "kind": explanation.kind,
        "sureness": explanation.sureness.value,
        "observations": explanation.observations,
        "what": _plain(explanation.what),
        "measured": _plain(explanation.measured),
        "advice": _plain(explanation.advice),
        "bytes": list(sizes) if sizes != (None, None) else None,
        "seconds": explanation.seconds,
        "platforms": [
            {
                "name": hint.name,
                "why": _plain(hint.why),
                "advice": hint.advice,
                "as_of": hint.as_of,
                "grade": hint.grade,
                "source": hint.source,
            }
            for hint in explanation.platforms
        ],
    }


def _witness(witness: Witness) -> dict[str, Any]:
    return {
        "client": witness.client,
        "version": _plain(witness.version),
        "streams": witness.streams,
        "events": witness.events,
        "left_out": _plain(witness.left_out),
        "differences": [
            {
                "stream": _plain(difference.stream),
                "kind": difference.kind,
                "count": difference.count,
                "example": _plain(difference.example),
            }
            for difference in witness.differences
        ],
    }


def _plain(text: str) -> str:
    """Bounded, and free of lone surrogates, which many JSON readers refuse."""
    return bounded(text).encode("utf-8", "replace").decode("utf-8")
