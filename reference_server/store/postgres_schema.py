"""How this server meets a PostgreSQL database: connections, migrations, and errors in one place.

Every statement is one transaction of its own. So nothing is ever left open when the connection
breaks or the process is paused, and a connection goes back to its pool as it came from it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from .base import StoreUnavailable
from .numbered import missing_migrations

CONNECT_TIMEOUT_S: Final = 5.0

#: The client gives up so much later than the server, whose answer says more.
CLIENT_EXTRA_S: Final = 1.0

#: A start waits so long for a database that refuses connections: it may be starting as well.
OPEN_PATIENCE_S: Final = 10.0
OPEN_PAUSE_S: Final = 0.2

#: Migrating waits for other instances that migrate, and may rewrite tables.
MIGRATION_TIMEOUT_S: Final = 120.0

#: Any number, as long as nobody else in the database locks it.
MIGRATION_LOCK: Final = 0x5354_5247_4147_4531

IDLE_CONNECTION_S: Final = 300.0

MIGRATIONS: Final = Path(__file__).parent / "migrations" / "postgres"

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

#: What asyncpg raises where a statement did not, or may not, come through.
FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
)
_NOT_YET: Final = (
    ConnectionError,
    FileNotFoundError,  # the socket of a server that listens in a folder
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """Where the database is, and how long to wait for it. The address may hold a password."""

    dsn: str = field(repr=False)
    pool_size: int = 8
    statement_timeout_s: float = 5.0

    @property
    def client_timeout_s(self) -> float:
        return self.statement_timeout_s + CLIENT_EXTRA_S


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turn what the driver raises into StoreUnavailable; its text may quote data and is dropped."""
    try:
        yield
    except FAILURES as error:
        raise StoreUnavailable(f"{what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Why, without any text that may hold a part of the address or of the data."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, TimeoutError):
        return error.strerror
    return type(error).__name__


async def connect(options: PostgresOptions, statement_timeout_s: float) -> asyncpg.Connection:
    """One connection outside any pool. Raises what the driver raises."""
    return await asyncpg.connect(
        options.dsn,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=statement_timeout_s + CLIENT_EXTRA_S,
        server_settings=_server_settings(statement_timeout_s),
    )


async def open_pool(options: PostgresOptions, size: int) -> asyncpg.Pool:
    """A pool that connects when it is asked for a connection, and anew after a loss."""
    return await asyncpg.create_pool(
        options.dsn,
        min_size=0,
        max_size=size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=options.client_timeout_s,
        max_inactive_connection_lifetime=IDLE_CONNECTION_S,
        server_settings=_server_settings(options.statement_timeout_s),
        reset=_keep,
    )


async def _keep(_connection: asyncpg.Connection) -> None:
    """No session state is ever set, so giving a connection back costs no round trip."""


def _server_settings(statement_timeout_s: float) -> dict[str, str]:
    limit_ms = str(int(statement_timeout_s * 1000))
    return {
        "application_name": "streamgauge",
        "statement_timeout": limit_ms,
        "idle_in_transaction_session_timeout": limit_ms,
        "client_encoding": "UTF8",
    }


async def connect_patiently(options: PostgresOptions) -> asyncpg.Connection:
    """The connection that migrates; waits for a server that is just starting."""
    until = time.monotonic() + OPEN_PATIENCE_S
    while True:
        try:
            return await connect(options, MIGRATION_TIMEOUT_S)
        except _NOT_YET:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(OPEN_PAUSE_S)


async def migrate(connection: asyncpg.Connection, folder: Path = MIGRATIONS) -> None:
    """Apply what is missing, one instance at a time. Raises SchemaTooNew."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        await connection.execute(_LEDGER)
        current = await connection.fetchval("SELECT max(version) FROM schema_migrations")
        for migration in missing_migrations(folder, current or 0):
            await connection.execute(migration.script)
            await connection.execute(
                "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)",
                migration.version,
                migration.name,
            )
