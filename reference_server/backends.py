"""Makes the store and the broadcaster that the settings name.

Apart from `app.py`, because asyncpg and redis are imported only where they are used: most
installations have neither.
"""

from __future__ import annotations

from typing import Final

from .broadcast import Broadcaster, LocalBroadcaster
from .clock import Clock
from .settings import Settings, SettingsError
from .store.base import Store
from .store.memory import MemoryStore
from .store.sqlite import SqliteStore


def build_store(settings: Settings, clock: Clock) -> Store:
    """Raises SettingsError where its package is missing."""
    if settings.stream_store_backend == "memory":
        return MemoryStore(clock, history_limit=settings.history_limit)
    if settings.stream_store_backend == "postgres":
        return _postgres_store(settings)
    synchronous: Final = "normal" if settings.sqlite_synchronous == "normal" else "full"
    return SqliteStore(settings.sqlite_path, clock, synchronous)


def build_broadcaster(settings: Settings) -> Broadcaster:
    """Raises SettingsError where its package is missing or its address cannot be used."""
    if settings.stream_store_backend == "memory":
        return LocalBroadcaster()  # no other process can have news of these jobs
    if settings.ff_redis_sse_broadcast:
        return _redis_broadcaster(settings)
    if settings.stream_store_backend == "postgres" and settings.postgres_notify:
        return _postgres_broadcaster(settings)
    return LocalBroadcaster()


def _postgres_store(settings: Settings) -> Store:
    try:
        from .store.postgres import PostgresStore  # noqa: PLC0415  optional
        from .store.postgres_schema import PostgresOptions  # noqa: PLC0415  optional
    except ModuleNotFoundError as error:
        raise _not_installed("STREAM_STORE_BACKEND=postgres", "postgres", error) from error
    options = PostgresOptions(
        settings.postgres_dsn,
        settings.postgres_pool_size,
        settings.postgres_statement_timeout_seconds,
    )
    return PostgresStore(options)


def _postgres_broadcaster(settings: Settings) -> Broadcaster:
    from .broadcast_postgres import PostgresBroadcaster  # noqa: PLC0415  optional
    from .store.postgres_schema import PostgresOptions  # noqa: PLC0415  optional

    statement_timeout_s = settings.postgres_statement_timeout_seconds
    options = PostgresOptions(settings.postgres_dsn, statement_timeout_s=statement_timeout_s)
    return PostgresBroadcaster(options)


def _redis_broadcaster(settings: Settings) -> Broadcaster:
    try:
        from .broadcast_redis import RedisBroadcaster  # noqa: PLC0415  optional
    except ModuleNotFoundError as error:
        raise _not_installed("FF_REDIS_SSE_BROADCAST=1", "redis", error) from error
    try:
        return RedisBroadcaster(settings.redis_url)
    except ValueError as error:
        raise SettingsError(["REDIS_URL cannot be used."]) from error


def _not_installed(setting: str, extra: str, error: ModuleNotFoundError) -> SettingsError:
    return SettingsError(
        [f"{setting} needs the package {error.name}: pip install 'streamgauge[server,{extra}]'."]
    )
