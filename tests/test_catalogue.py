"""Complete rows, stable ids, and reference pages that say what the code says."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from itertools import groupby
from pathlib import Path

import pytest

from streamgauge.catalogue import Level, Requirement, catalogue, implemented
from streamgauge.coverage import coverage_markdown, coverage_text
from streamgauge.profile import Profile

ROOT = Path(__file__).resolve().parent.parent
TOML = ROOT / "streamgauge" / "catalogue.toml"
PAGE = ROOT / "docs" / "requirements.md"
PROFILES = ROOT / "docs" / "profiles.md"

#: Every family, in the order of the report, with its number of ids. Ids are never taken back, so
#: that a number here may grow and never shrink.
FAMILIES = {
    "WIRE": 12,
    "HDR": 12,
    "RT": 7,
    "PAD": 7,
    "REPLAY": 16,
    "LATE": 5,
    "SNAP": 6,
    "POLL": 7,
    "HB": 4,
    "LIFE": 14,
    "ISO": 4,
    "QUOTA": 11,
    "BAD": 6,
    "SEC": 4,
    "CORS": 5,
    "MI": 10,
    "BP": 5,
    "H2": 6,
    "RETRY": 5,
    "PROXY": 7,
    "TAKE": 5,
    "OPS": 2,
    "PRIV": 2,
}

#: Members of a profile whose default is too long for a cell of the page.
IN_WORDS = {"names", "start_body"}

ROWS = tuple(catalogue().values())
KEYS = frozenset(
    {
        *("id", "level", "needs", "long", "title", "rule"),
        *("source", "cure", "mutant", "pending"),
    }
)


def raw_rows() -> list[tuple[str, dict[str, object]]]:
    """(section, row) exactly as the file has them."""
    table = tomllib.loads(TOML.read_text("utf-8"))
    return [(s["id"], row) for s in table["section"] for row in s["requirement"]]


def test_ids_are_unique() -> None:
    """An id names one rule: the loader keeps rows by id, so a repeated one would vanish."""
    counts = Counter(str(row["id"]) for _, row in raw_rows())
    assert [id_ for id_, count in counts.items() if count > 1] == []
    assert len(ROWS) == len(raw_rows())


def test_ids_are_well_formed() -> None:
    """An id is its section's prefix, a hyphen and two digits."""
    for section, row in raw_rows():
        assert re.fullmatch(rf"{section}-\d\d", str(row["id"])), row["id"]


def test_families_are_complete_and_in_order() -> None:
    """Families stand in the report's order, each in one piece, numbered from 01 without a hole."""
    found = [(prefix, [row.id for row in rows]) for prefix, rows in groupby(ROWS, _section)]
    assert found == [
        (prefix, [f"{prefix}-{n:02}" for n in range(1, count + 1)])
        for prefix, count in FAMILIES.items()
    ]


def test_rows_have_only_known_members() -> None:
    """A misspelt member (`pendng`) would silently turn a row into an implemented one."""
    assert [row["id"] for _, row in raw_rows() if not set(row) <= KEYS] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_rows_are_complete(row: Requirement) -> None:
    """Every row has what the report shows: title, one-sentence rule, source, cure, mutant."""
    assert isinstance(row.level, Level)
    assert re.fullmatch(r"[UJPIKB](/[UJPIKB])*", row.needs)
    assert 3 <= len(row.title.split()) <= 7
    assert row.rule[0].isupper() and row.rule.endswith(".")
    assert ". " not in row.rule, "the rule is one sentence"
    assert row.cure[0].isupper() or row.cure[0] == "`"
    assert row.cure.endswith(".")
    assert row.source and row.mutant
    texts = (row.title, row.rule, row.source, row.cure, row.mutant, row.pending)
    assert all("\n" not in text and text == text.strip() for text in texts)


def test_section_titles_are_unique() -> None:
    """A title heads one section: the outputs group by it."""
    titles = {row.section: row.section_title for row in ROWS}
    assert len(set(titles.values())) == len(titles) == len(FAMILIES)


def test_long_rows_are_the_ones_that_need_minutes() -> None:
    """Only these rules take minutes of waiting and are judged in part by a default run."""
    assert [row.id for row in ROWS if row.long] == ["RT-06", "RT-07", "BP-03"]


def test_every_row_has_a_check() -> None:
    """Nothing is promised that nobody judges."""
    assert [row.id for row in ROWS if row.pending] == []


def test_coverage_page_is_not_stale() -> None:
    """docs/requirements.md is what the catalogue generates today."""
    assert PAGE.read_text("utf-8") == coverage_markdown(), (
        "stale: run python -m streamgauge.coverage > docs/requirements.md"
    )


def test_coverage_page_has_each_id_in_one_row() -> None:
    """Every id has exactly one table row with all cells, also where its text holds a pipe."""
    rows = [line for line in coverage_markdown().splitlines() if re.match(r"\| [A-Z0-9]+-\d", line)]
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows] == [row.id for row in ROWS]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {8}


def test_coverage_text_counts_and_lists_everything() -> None:
    """The terminal's text gives each section's count and names the reason of every pending row."""
    text = coverage_text()
    assert f"{len(implemented())} of {len(ROWS)} requirements have a check." in text
    assert re.search(r"REPLAY +Replay and Last-Event-ID +16 of 16$", text, re.MULTILINE)
    for row in ROWS:
        lines = [line for line in text.splitlines() if line.startswith(f"  {row.id} ")]
        assert len(lines) == 1
        assert (f"(no check yet: {row.pending})" in lines[0]) is bool(row.pending)


def _section(row: Requirement) -> str:
    return row.section


def test_profiles_page_has_every_member_with_its_default() -> None:
    """docs/profiles.md lists the members that a profile reads, in order, with the true defaults."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| ", PROFILES.read_text("utf-8"), re.MULTILINE)
    profile = Profile("default")
    sections = [getattr(profile, part.name) for part in fields(Profile) if part.default is MISSING]
    members = [
        (member.name, f"`{_toml(getattr(section, member.name))}`")
        for section in sections
        if is_dataclass(section)
        for member in fields(section)
    ]
    assert [name for name, _ in rows] == [name for name, _ in members]
    wrong = [(row, true) for row, true in zip(rows, members, strict=True) if row != true]
    assert {row[0] for row, _ in wrong} == IN_WORDS, wrong


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    return json.dumps(list(value) if isinstance(value, tuple) else value)
