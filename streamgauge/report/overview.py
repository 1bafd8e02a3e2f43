"""Several targets side by side: one row a check, one column a target.

Made from the `results.json` of each target and from nothing else, so that the overview can never
say anything that a target's own report does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

from ..results import RunVerdict, Verdict
from .data import ORDER, WORDS, headline_of, visible
from .files import replace_files
from .html import part
from .markdown import inline

SCHEMA = 1
"""Version of `overview.json`."""
NO_REPORT = "the run left no report: see its output"


@dataclass(frozen=True, slots=True)
class Judged:
    """One target of the call."""

    url: str
    folder: str
    """Its report, relative to the overview."""
    exit_code: int
    results: Mapping[str, Any] | None
    """Its `results.json`; None where the run wrote none."""

    @property
    def verdict(self) -> RunVerdict:
        return RunVerdict(self.results["verdict"]) if self.results else RunVerdict.ERROR

    @property
    def reason(self) -> str:
        return str(self.results["reason"]) if self.results else NO_REPORT

    @property
    def headline(self) -> str:
        known = bool(self.results and self.results.get("known_failures", {}).get("failed"))
        return headline_of(self.verdict, known=known)

    def verdict_of(self, identifier: str) -> Verdict:
        for row in self.results["checks"] if self.results else ():
            if row["id"] == identifier:
                return Verdict(row["verdict"])
        return Verdict.NOT_RUN


@dataclass(frozen=True, slots=True)
class Row:
    """One check on every target."""

    id: str
    title: str
    level: str
    section: str
    verdicts: tuple[Verdict, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.verdicts)) > 1

    @property
    def worst(self) -> int:
        return min(ORDER.index(verdict) for verdict in self.verdicts)


def write_overview(judged: Sequence[Judged], folder: Path, *, strict: bool) -> list[Path]:
    """Write `index.html`, `overview.json` and `summary.md`; returns the page's path.

    Raises:
        OSError: the folder cannot be written to.
    """
    rows = rows_of(judged)
    texts = {
        "index.html": _html(judged, rows),
        "summary.md": _markdown(judged, rows),
        "overview.json": _json(judged, rows, strict),
    }
    replace_files({name: text.encode("utf-8", "replace") for name, text in texts.items()}, folder)
    return [folder / "index.html"]


def rows_of(judged: Sequence[Judged]) -> list[Row]:
    """Every check that any of the runs knows, in the catalogue's order, those left out by all
    of them not among them."""
    known: dict[str, Mapping[str, Any]] = {}
    for each in judged:
        for check in each.results["checks"] if each.results else ():
            known.setdefault(check["id"], check)
    rows = [
        Row(
            id=identifier,
            title=check["title"],
            level=check["level"],
            section=check["section"],
            verdicts=tuple(each.verdict_of(identifier) for each in judged),
        )
        for identifier, check in known.items()
    ]
    return [row for row in rows if set(row.verdicts) != {Verdict.NOT_RUN}]


def _json(judged: Sequence[Judged], rows: Sequence[Row], strict: bool) -> str:
    record = {
        "schema": SCHEMA,
        "strict": strict,
        "targets": [
            {
                "target": each.url,
                "folder": each.folder,
                "verdict": each.verdict.value,
                "reason": each.reason,
                "exit_code": each.exit_code,
                "duration_s": each.results["duration_s"] if each.results else None,
            }
            for each in judged
        ],
        "checks": [
            {
                "id": row.id,
                "level": row.level,
                "section": row.section,
                "title": row.title,
                "verdicts": [verdict.value for verdict in row.verdicts],
            }
            for row in rows
        ],
    }
    return json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _markdown(judged: Sequence[Judged], rows: Sequence[Row]) -> str:
    lines = ["# Targets side by side", ""]
    lines += ["| | target | verdict | why |", "|---|---|---|---|"]
    for number, each in enumerate(judged, start=1):
        where = f"[{inline(each.url)}]({each.folder}/index.html)"
        lines.append(f"| {number} | {where} | {each.headline} | {inline(each.reason)} |")
    columns = " | ".join(str(number) for number in range(1, len(judged) + 1))
    lines += ["", f"| check | | {columns} |", "|---|---|" + "---|" * len(judged)]
    for row in rows:
        cells = " | ".join(WORDS[verdict] for verdict in row.verdicts)
        lines.append(f"| {inline(row.id)} | {inline(row.title)} | {cells} |")
    return "\n".join((*lines, ""))


def _html(judged: Sequence[Judged], rows: Sequence[Row]) -> str:
    environment = Environment(
        loader=DictLoader({"overview.html.j2": part("overview.html.j2")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template("overview.html.j2").render(
        judged=judged,
        # What differs, or is red anywhere, is what this page is opened for.
        telling=sorted((row for row in rows if row.differs or row.worst <= _RED), key=_telling),
        same=[row for row in rows if not row.differs and row.worst > _RED],
        words=WORDS,
    )


_RED = ORDER.index(Verdict.WARN)


def _telling(row: Row) -> int:
    return row.worst
