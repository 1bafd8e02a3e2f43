"""The run as Markdown, short enough for the summary page of a CI job.

GitHub cuts such a page at 1 MiB and renders HTML in it, so every text is bounded and escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..results import CheckResult, RunResult, RunVerdict, Verdict
from .data import (
    ORDER,
    WORDS,
    cause_headline,
    count,
    counted,
    evidence,
    found_of,
    headline,
    hint_origin,
    hint_text,
    sections,
    selected,
    sentence,
    sureness,
    visible,
)

_MESSAGE_CHARS_MAX = 1_200
_REPRODUCE_CHARS_MAX = 3_000
_SIGNS = {
    RunVerdict.CONFORMANT: "✅",
    RunVerdict.NONCONFORMANT: "❌",
    RunVerdict.INCOMPLETE: "❔",
    RunVerdict.ERROR: "⛔",
}
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~@&!])")


def summary_markdown(run: RunResult) -> str:
    """Verdict, failures with their cure, the other findings, and a table by section."""
    counts = ", ".join(counted(verdict, n) for verdict, n in count(run.checks).items())
    lines = [
        f"# {_SIGNS[run.verdict]} {headline(run)}",
        "",
        f"**{inline(sentence(run.reason))}**",
        "",
        f"{inline(run.target)} · profile {inline(run.profile)} · {inline(run.started)}"
        f" · {run.duration_s:.1f} s" + (f" · {counts}" if counts else ""),
        "",
    ]
    lines += _causes(run)
    lines += _detailed("Failures", selected(run, Verdict.FAIL))
    lines += _detailed("Warnings", selected(run, Verdict.WARN))
    lines += _listed("Could not test", selected(run, Verdict.COULD_NOT_TEST))
    lines += _listed("Errors of the suite", selected(run, Verdict.ERROR))
    lines += _table(run)
    if run.notes:
        lines += ["## Notes", "", *(f"- {inline(note)}" for note in run.notes), ""]
    return "\n".join(lines)


def _causes(run: RunResult) -> list[str]:
    """What explains several failures at once, before any of them."""
    if not run.causes:
        return []
    lines = [f"## Likely cause{'s' if len(run.causes) > 1 else ''}", ""]
    for cause in run.causes:
        explanation = cause.explanation
        lines += [
            f"### {inline(cause_headline(cause))}",
            "",
            f"- **What to change:** {inline(explanation.advice)}",
            f"- **Measured:** {inline(sentence(explanation.measured))}"
            f" ({inline(sureness(explanation))})",
            *(
                f"- {inline(hint_text(hint))} ({inline(hint_origin(hint))})"
                for hint in explanation.platforms
            ),
            f"- **Explains:** {inline(', '.join(cause.checks))}",
            "",
        ]
    return lines


def _detailed(heading: str, checks: Sequence[CheckResult]) -> list[str]:
    if not checks:
        return []
    lines = [f"## {heading} ({len(checks)})", ""]
    for check in checks:
        rule = check.requirement
        lines += [
            f"### {inline(rule.id)} · {inline(rule.title)} ({rule.level.value})",
            "",
            inline(found_of(check)),
            "",
            f"- **Rule:** {inline(rule.rule)} ({inline(rule.source)})",
            f"- **Evidence:** {inline(evidence(check))}",
            f"- **What to change:** {inline(rule.cure)}",
        ]
        if check.explanation is not None:
            lines.append(f"- **Likely cause:** {inline(check.explanation.what)} (see above)")
        lines.append("")
        if check.reproduce:
            lines += [*_code(check.reproduce), ""]
    return lines


def _listed(heading: str, checks: Sequence[CheckResult]) -> list[str]:
    if not checks:
        return []
    rows = [
        f"- **{inline(check.requirement.id)}** {inline(check.requirement.title)}:"
        f" {inline(check.message)}"
        for check in checks
    ]
    return [f"## {heading} ({len(checks)})", "", *rows, ""]


def _table(run: RunResult) -> list[str]:
    """Only the verdicts that occur have a column."""
    occurring = count(run.checks)
    columns = [verdict for verdict in (Verdict.PASS, *ORDER) if verdict in occurring]
    columns = list(dict.fromkeys(columns))
    if not columns:
        return []
    lines = [
        "## By section",
        "",
        "| section | | " + " | ".join(WORDS[verdict] for verdict in columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for section in sections(run):
        found = section.counts
        cells = " | ".join(str(found.get(verdict, "")) for verdict in columns)
        lines.append(f"| {inline(section.id)} | {inline(section.title)} | {cells} |")
    return [*lines, ""]


def inline(text: str) -> str:
    """One line in which nothing is markup but `code` between backticks that pair up."""
    parts = " ".join(visible(text, _MESSAGE_CHARS_MAX).split()).split("`")
    if len(parts) % 2 == 0 or not all(parts[1::2]):
        return _MARKUP.sub(r"\\\1", "`".join(parts))
    return "".join(
        f"`{part}`" if index % 2 else _MARKUP.sub(r"\\\1", part) for index, part in enumerate(parts)
    )


def _code(text: str) -> list[str]:
    """A fenced block whose fence is longer than any in the text."""
    text = visible(text, _REPRODUCE_CHARS_MAX).strip("\n")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", text, fence]
