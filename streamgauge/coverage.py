"""What the suite covers: the catalogue as a documentation page and as text for a terminal.

Both are made from the catalogue alone, so that neither can claim a check that does not exist; the
page under `docs/` is generated and a test fails when it is stale. Nothing here runs a check:

    python -m streamgauge.coverage > docs/requirements.md
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from .catalogue import Requirement, catalogue

_LEGEND = """\
# Requirements

<!-- Generated: python -m streamgauge.coverage > docs/requirements.md -->

Every rule that streamgauge judges, or means to judge, has one row here. An id is stable: it is
never renumbered and never given to another rule. The same id stands in the report, in
`results.json`, and in the name of the test.

**Level.** MUST: a deployment that breaks the rule is nonconformant. SHOULD: breaking it is a
warning. INFO: reported, never held against the target.

**Needs.** What it takes to judge the rule:

| letter | what the suite needs |
|---|---|
| U | the base URL, nothing else |
| J | a job that the suite can shape ([protocol §10](protocol.md)), else one that shows it anyway |
| P | a proxy of the suite's own between it and the target |
| I | the URLs of further instances (`--instance`) |
| K | control hooks: kill, pause, restart |
| B | a real browser |
| + long | minutes: without `--long` only the part there is time for is judged, and it says so |

**Declared** means that the value comes from the target's [profile](profiles.md); the default
stands in [brackets]. A declared value is tested, not trusted.

**Optional parts.** What the protocol marks as optional is declared true, false or *auto* in a
profile. *Auto* looks for it when the run begins: where it is absent, its checks are not applicable.
Declared true and missing or broken is a failure, also where the level is SHOULD.

**Catches.** One broken server that the check has to catch. It is an example: each check is tested
against at least one such mutant.

**Check.** Whether a check exists. Where none does, the row says what it waits for, and the id does
not appear in results.

**Source.** *Protocol* is [this project's contract](protocol.md). The hardening spec, the real-time
streaming spec, the scaling strategy, the production fixes and the debugging notes are the five
documents which that contract merged. Everything else is a public standard or test suite.
"""

_HEAD = (
    "| id | level | needs | rule | source | catches | check |",
    "|---|---|---|---|---|---|---|",
)


def coverage_markdown() -> str:
    """The page `docs/requirements.md`."""
    rows = tuple(catalogue().values())
    parts = [_LEGEND, _totals(rows) + "\n"]
    for title, section in _sections(rows):
        table = "\n".join((*_HEAD, *(_markdown_row(row) for row in section)))
        parts.append(f"## {title} ({section[0].section})\n\n{_totals(section)}\n\n{table}\n")
    return "\n".join(parts)


def coverage_text() -> str:
    """The same for a terminal: first the count of each section, then every row."""
    rows = tuple(catalogue().values())
    sections = _sections(rows)
    width = max(len(title) for title, _ in sections)
    lines = ["Requirements with a check, by section", ""]
    for title, section in sections:
        count = f"{_checked(section):>3} of {len(section):>2}"
        lines.append(f"  {section[0].section:<7} {title:<{width}}  {count}")
    lines += ["", f"  {_totals(rows)}"]
    for title, section in sections:
        lines += ["", f"{section[0].section}  {title}"]
        lines += [_text_row(row) for row in section]
    return "\n".join(lines) + "\n"


def _sections(rows: Iterable[Requirement]) -> list[tuple[str, tuple[Requirement, ...]]]:
    """The rows of each section under its title, in catalogue order."""
    return [
        (title, tuple(section)) for title, section in groupby(rows, key=lambda r: r.section_title)
    ]


def _checked(rows: Iterable[Requirement]) -> int:
    return sum(not row.pending for row in rows)


def _totals(rows: tuple[Requirement, ...]) -> str:
    return f"{_checked(rows)} of {len(rows)} requirements have a check."


def _needs(row: Requirement) -> str:
    return f"{row.needs} + long" if row.long else row.needs


def _markdown_row(row: Requirement) -> str:
    cells = (
        row.id,
        row.level.value,
        _needs(row),
        f"**{row.title}.** {row.rule}",
        row.source,
        row.mutant,
        row.pending or "yes",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _text_row(row: Requirement) -> str:
    line = f"  {row.id:<10} {row.level.value:<6} {_needs(row):<8} {row.title}"
    return f"{line}  (no check yet: {row.pending})" if row.pending else line


if __name__ == "__main__":
    print(coverage_markdown(), end="")
