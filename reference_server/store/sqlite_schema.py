"""Opens SQLite connections as this store needs them, and brings the schema up to date.

The migrations are numbered SQL files next to this module. They run under the database's write
lock, each in its own transaction together with its row in `schema_migrations`, so that several
processes may open a new database at the same moment.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import aiosqlite

from .numbered import missing_migrations

Synchronous = Literal["full", "normal"]

#: How long a statement waits for another process's lock.
BUSY_TIMEOUT_S: Final = 5.0

#: Switching to WAL answers "locked" at once, whatever the busy timeout, so it is tried again.
WAL_ATTEMPTS: Final = 100
WAL_PAUSE_S: Final = 0.05

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""


async def connect_writer(path: Path, synchronous: Synchronous) -> aiosqlite.Connection:
    """The connection that writes. Transactions are begun explicitly, never by the driver."""
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        await _use_wal(connection)
        await connection.execute(f"PRAGMA synchronous = {synchronous}")
    except BaseException:
        await connection.close()
        raise
    return connection


async def connect_reader(path: Path) -> aiosqlite.Connection:
    """A connection that only reads; each statement sees all commits before it."""
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        await connection.execute("PRAGMA query_only = ON")
    except BaseException:
        await connection.close()
        raise
    return connection


async def _use_wal(connection: aiosqlite.Connection) -> None:
    for attempt in range(WAL_ATTEMPTS):
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if attempt == WAL_ATTEMPTS - 1:
                raise
            await asyncio.sleep(WAL_PAUSE_S)
        else:
            return


async def migrate(connection: aiosqlite.Connection, folder: Path = MIGRATIONS) -> None:
    """Apply what is missing. Raises SchemaTooNew for a database from a newer version."""
    await connection.execute("BEGIN IMMEDIATE")
    try:
        await connection.execute(_LEDGER)
        rows = await connection.execute_fetchall("SELECT MAX(version) FROM schema_migrations")
        for migration in missing_migrations(folder, next(iter(rows))[0] or 0):
            for statement in _statements(migration.script):
                await connection.execute(statement)
            await connection.execute(
                "INSERT INTO schema_migrations (version, name) VALUES (?, ?)",
                (migration.version, migration.name),
            )
        await connection.execute("COMMIT")
    except BaseException:
        await connection.rollback()
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script, because `executescript` would commit the transaction it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
