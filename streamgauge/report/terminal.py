"""The run on a screen: a table by section, what to do about each finding, the verdict last.

The verdict stands last because that is where the eye is when a command returns. Nothing depends on
colour, and no text of a target reaches the terminal with its control characters intact.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from ..results import CheckResult, RunResult, RunVerdict, Verdict
from .data import (
    WORDS,
    cause_headline,
    count,
    counted,
    found_of,
    headline,
    heard_otherwise,
    hint_text,
    sections,
    selected,
    sentence,
    sureness,
    visible,
)

WIDTH_MIN, WIDTH_MAX = 60, 110
"""Below, nothing aligns; above, lines are hard to read."""
_MESSAGE_CHARS_MAX = 600
_REPRODUCE_LINES_MAX = 3
DETAILED_MAX = 6
"""So many findings are told at length; a screen full of them hides the first."""
LISTED_MAX = 20
"""So many more get a line each; the report has the rest."""
_INDENT = "    "
_TITLE_CHARS_MAX = 32
_COLUMNS = (
    Verdict.PASS,
    Verdict.WARN,
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.COULD_NOT_TEST,
    Verdict.NOT_APPLICABLE,
    Verdict.NOT_RUN,
)
#: One letter a check: what a pytest user knows, and `?`, `-`, `o` for what pytest has no word for.
_LETTERS = {
    Verdict.PASS: ".",
    Verdict.WARN: "W",
    Verdict.FAIL: "F",
    Verdict.ERROR: "E",
    Verdict.COULD_NOT_TEST: "?",
    Verdict.NOT_APPLICABLE: "-",
    Verdict.NOT_RUN: "o",
}
_CODES = {
    Verdict.PASS: "32",
    Verdict.WARN: "33",
    Verdict.FAIL: "31",
    Verdict.ERROR: "35",
    Verdict.COULD_NOT_TEST: "36",
    Verdict.NOT_APPLICABLE: "2",
    Verdict.NOT_RUN: "2",
}
_RUN_CODES = {
    RunVerdict.CONFORMANT: "32",
    RunVerdict.NONCONFORMANT: "31",
    RunVerdict.INCOMPLETE: "36",
    RunVerdict.ERROR: "35",
}


def terminal_summary(run: RunResult, width: int, colour: bool, report: str = "") -> list[str]:
    """The lines to print.

    Args:
        run: the finished run.
        width: columns of the terminal.
        colour: whether ANSI colours may be used.
        report: where the report was written, empty where none was.
    """
    width = min(max(width, WIDTH_MIN), WIDTH_MAX)
    paint = _coloured if colour else _plain
    lines = _table(run, width, paint)
    lines += _causes(run, width, paint)
    lines += _findings("Failures", selected(run, Verdict.FAIL), width, paint)
    lines += _findings("Warnings", selected(run, Verdict.WARN), width, paint)
    lines += _lines("Could not test", selected(run, Verdict.COULD_NOT_TEST), width, paint)
    lines += _lines("Errors of the suite", selected(run, Verdict.ERROR), width, paint)
    if run.notes:
        lines += [paint("Notes", "1")]
        for note in run.notes:
            lines += _wrapped(sentence(_flat(note)), width, "  - ", "    ")
        lines.append("")
    if heard := [w for w in run.witnesses if w.differences]:
        told = "; ".join(f"{w.client} {w.version} {heard_otherwise(w)}" for w in heard)
        lines += _wrapped(f"Real clients: {_flat(told)} (see the report).", width, "", "  ")
        lines.append("")
    return [*lines, *_verdict(run, width, paint, report)]


class _Paint:
    """Puts colour around text, or does not."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text


_coloured, _plain = _Paint(True), _Paint(False)


def _table(run: RunResult, width: int, paint: _Paint) -> list[str]:
    groups = sections(run)
    if not groups:
        return []
    occurring = count(run.checks)
    columns = [verdict for verdict in _COLUMNS if verdict in occurring]
    ids = max(len(section.id) for section in groups)
    titles = [_flat(section.title)[:_TITLE_CHARS_MAX] for section in groups]
    title_width = max(len(title) for title in titles)
    widths = [max(len(WORDS[verdict]), 3) for verdict in columns]
    left = 2 + ids + 2 + title_width
    strip = max(len(section.checks) for section in groups)
    has_titles = left + sum(w + 2 for w in widths) <= width
    left = left if has_titles else 2 + ids
    has_strip = left + sum(w + 2 for w in widths) + 2 + strip <= width
    head = "".join(f"  {WORDS[v]:>{w}}" for v, w in zip(columns, widths, strict=True))
    lines = ["", " " * left + paint(head, "2")]
    for section, title in zip(groups, titles, strict=True):
        row = f"  {section.id:<{ids}}" + (f"  {title:<{title_width}}" if has_titles else "")
        found = section.counts
        for verdict, cell in zip(columns, widths, strict=True):
            number = found.get(verdict, 0)
            row += "  " + (paint(f"{number:>{cell}}", _CODES[verdict]) if number else " " * cell)
        if has_strip:
            row += "  " + _strip(section.checks, paint)
        lines.append(row.rstrip())
    return [*lines, ""]


def _strip(checks: Iterable[CheckResult], paint: _Paint) -> str:
    return "".join(paint(_LETTERS[check.verdict], _CODES[check.verdict]) for check in checks)


def _causes(run: RunResult, width: int, paint: _Paint) -> list[str]:
    """What explains several failures at once, before any of them."""
    if not run.causes:
        return []
    lines = [paint(f"Likely cause{'s' if len(run.causes) > 1 else ''}", "1"), ""]
    for cause in run.causes:
        explanation = cause.explanation
        headline, *rest = _wrapped(_flat(cause_headline(cause)), width, "  ", "  ")
        lines += [paint(headline, "1;31"), *(paint(line, "1;31") for line in rest)]
        lines += _wrapped(f"To change: {_flat(explanation.advice)}", width, _INDENT, _INDENT + "  ")
        told = f"Measured ({sureness(explanation)}): {sentence(_flat(explanation.measured))}"
        lines += _wrapped(told, width, _INDENT, _INDENT + "  ")
        for hint in explanation.platforms:
            lines += _wrapped(_flat(hint_text(hint)), width, _INDENT, _INDENT + "  ")
        explains = f"Explains: {', '.join(cause.checks)}"
        lines += [*_wrapped(explains, width, _INDENT, _INDENT + "  "), ""]
    return lines


def _findings(
    heading: str, checks: tuple[CheckResult, ...], width: int, paint: _Paint
) -> list[str]:
    """A few at length, more of them with a line each, the rest as a number.

    What a cause explains gets a line: what to do has been told with the cause.
    """
    if not checks:
        return []
    lines = [paint(f"{heading} ({len(checks)})", "1"), ""]
    open_ = [check for check in checks if check.explanation is None]
    for check in open_[:DETAILED_MAX]:
        lines += [*_finding(check, width, paint), ""]
    explained = [check for check in checks if check.explanation is not None]
    rest = [*explained, *open_[DETAILED_MAX:]]
    listed = rest[:LISTED_MAX]
    for check in listed:
        body = f"{_flat(check.requirement.title)}: {_flat(found_of(check))}"
        name = check.requirement.id
        room = width - len(name) - 8
        short = body if len(body) <= room else body[: room - 1].rstrip() + "…"
        lines.append(
            f"  {paint(f'{_LETTERS[check.verdict]} {name}', _CODES[check.verdict])}  {short}"
        )
    if len(rest) > len(listed):
        lines.append(f"  and {len(rest) - len(listed)} more in the report")
    return [*lines, ""] if listed else lines


def _finding(check: CheckResult, width: int, paint: _Paint) -> list[str]:
    """Title, what was seen, what to change, and how to see it again."""
    lines = [_heading(check, paint)]
    lines += _wrapped(sentence(_flat(found_of(check))), width, _INDENT, _INDENT)
    cure = sentence(_flat(check.requirement.cure))
    lines += _wrapped(f"To change: {cure}", width, _INDENT, _INDENT + "  ")
    commands = visible(check.reproduce).strip("\n").splitlines()
    for index, command in enumerate(commands[:_REPRODUCE_LINES_MAX]):
        # Never wrapped: a command has to survive being copied.
        lines.append(_INDENT + paint(("$ " if index == 0 else "  ") + command, "2"))
    if len(commands) > _REPRODUCE_LINES_MAX:
        left = len(commands) - _REPRODUCE_LINES_MAX
        lines.append(f"{_INDENT}  ({left} lines more in the report)")
    return lines


def _lines(heading: str, checks: tuple[CheckResult, ...], width: int, paint: _Paint) -> list[str]:
    if not checks:
        return []
    lines = [paint(f"{heading} ({len(checks)})", "1")]
    if len(checks) > 1 and len({check.message for check in checks}) == 1:
        # One cause for all of them (an address where nobody listens) is said once.
        names = f"{checks[0].requirement.id} ... {checks[-1].requirement.id}"
        return [*lines, *_wrapped(f"{names}: {_flat(checks[0].message)}", width, "  ", "    "), ""]
    ids = max(len(check.requirement.id) for check in checks)
    for check in checks:
        name = check.requirement.id
        body = sentence(_flat(f"{check.requirement.title}: {check.message}"))
        first, *rest = _wrapped(body, width, " " * (ids + 4), " " * (ids + 4))
        lines.append(f"  {paint(f'{name:<{ids}}', _CODES[check.verdict])}  {first.lstrip()}")
        lines += rest
    return [*lines, ""]


def _heading(check: CheckResult, paint: _Paint) -> str:
    rule = check.requirement
    mark = paint(f"{_LETTERS[check.verdict]} {rule.id}", f"1;{_CODES[check.verdict]}")
    return f"  {mark}  {_flat(rule.title)} ({rule.level.value})"


def _verdict(run: RunResult, width: int, paint: _Paint, report: str) -> list[str]:
    counts = ", ".join(counted(verdict, number) for verdict, number in count(run.checks).items())
    words = headline(run).upper()
    lines = _wrapped(f"{words}: {_flat(run.reason)}", width, "", "  ")
    lines[0] = lines[0].replace(words, paint(words, f"1;{_RUN_CODES[run.verdict]}"), 1)
    facts = f"{_flat(run.target)}, profile {_flat(run.profile)}, {run.duration_s:.1f} s"
    lines.append(f"  {facts}")
    if counts:
        lines += _wrapped(counts, width, "  ", "  ")
    if report:
        lines.append(f"  Report: {_flat(report)}")
    return lines


def _wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def _flat(text: str) -> str:
    return " ".join(visible(text, _MESSAGE_CHARS_MAX).split())
