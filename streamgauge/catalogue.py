"""The catalogue of requirements: one table from which every check takes its metadata.

Ids are stable: never renumbered, never reused. A check names an id and gets its level, rule,
source and cure from here; a row without a check carries the reason in `pending`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files


class Level(StrEnum):
    """How strongly a rule binds: a broken MUST is a failure, a broken SHOULD a warning."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    INFO = "INFO"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule that a deployment keeps or breaks."""

    id: str
    section: str
    """Prefix of the id: WIRE, HDR, RT ..."""
    section_title: str
    level: Level
    needs: str
    """What judging it takes: U, J, P, I, K, B as in the catalogue's legend."""
    long: bool
    """Judged in full only with --long."""
    title: str
    """A few words."""
    rule: str
    """One sentence: what must hold."""
    source: str
    cure: str
    """What to change where it is broken, one or two sentences."""
    mutant: str
    """One broken server that this check catches."""
    pending: str = ""
    """Why no check exists yet; empty where one does."""

    @property
    def is_must(self) -> bool:
        return self.level is Level.MUST


@cache
def catalogue() -> dict[str, Requirement]:
    """All requirements by id, in catalogue order."""
    table = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text("utf-8"))
    rows: dict[str, Requirement] = {}
    for section in table["section"]:
        for row in section["requirement"]:
            requirement = Requirement(
                id=row["id"],
                section=section["id"],
                section_title=section["title"],
                level=Level(row["level"]),
                needs=row["needs"],
                long=row.get("long", False),
                title=row["title"],
                rule=row["rule"],
                source=row["source"],
                cure=row["cure"],
                mutant=row["mutant"],
                pending=row.get("pending", ""),
            )
            rows[requirement.id] = requirement
    return rows


def implemented() -> tuple[Requirement, ...]:
    """The requirements that a check exists for: exactly these appear in `results.json`."""
    return tuple(row for row in catalogue().values() if not row.pending)
