"""Numbered migrations: which there are, and whether this version can read a database.

Every SQL backend has a folder of its own with files such as `0001_runs.sql`. How one is applied,
and under which lock, differs and is the backend's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .base import SchemaTooNew


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    script: str


def known_migrations(folder: Path) -> list[Migration]:
    """All of them, in order."""
    return [
        Migration(int(file.name.split("_")[0]), file.name, file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("*.sql"))
    ]


def missing_migrations(folder: Path, current: int) -> list[Migration]:
    """Those that a database of version `current` lacks. Raises SchemaTooNew."""
    known = known_migrations(folder)
    newest = known[-1].version
    if current > newest:
        raise SchemaTooNew(
            f"expected a database of schema version {newest} or older, got version {current}: "
            "start the server version that wrote it, or use another database"
        )
    return [migration for migration in known if migration.version > current]
