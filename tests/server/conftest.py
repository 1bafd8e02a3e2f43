"""The services that some tests of the server need, started once for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from local_services import PostgresServer, RedisServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that stays up; tests that stop one start their own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres: PostgresServer) -> str:
    """An empty schema."""
    return postgres.fresh_dsn()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of one's own, which may be stopped and started."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of one's own, which may be stopped and started."""
    with PostgresServer() as server:
        yield server
