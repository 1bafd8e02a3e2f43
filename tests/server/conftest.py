"""The services that some tests of the server need (a test is skipped where one is missing), and a
place for connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import pytest
from needs import missing

from chaos.services import MissingProgram, PostgresServer, RedisServer, Service

_Service = TypeVar("_Service", bound=Service)


@contextmanager
def running(make: Callable[[], _Service]) -> Iterator[_Service]:
    """The service, or the test is over."""
    try:
        service = make()
    except MissingProgram as error:
        missing(str(error))
    with service:
        yield service


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that stays up; tests that stop one start their own."""
    with running(PostgresServer) as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres: PostgresServer) -> str:
    """An empty schema."""
    return postgres.fresh_dsn()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of one's own, which may be stopped and started."""
    with running(PostgresServer) as server:
        yield server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of one's own, which may be stopped and started."""
    with running(RedisServer) as server:
        yield server


@pytest.fixture
def peers() -> Iterator[ExitStack]:
    """Closes the test's hand-made connections."""
    with ExitStack() as stack:
        yield stack
