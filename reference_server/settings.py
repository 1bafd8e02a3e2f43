"""Every setting of the server, read from the environment and checked before anything starts.

A wrong value is told at start, together with all the others that are wrong, because finding them
one restart at a time is what makes a deployment slow. Nothing else in the server reads the
environment. `.env.example` documents the same variables.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

#: The frontends of the seeds' development set-ups (protocol §9).
DEFAULT_ORIGINS: Final = tuple(
    f"http://{host}:{port}"
    for host in ("localhost", "127.0.0.1")
    for port in (3000, 3001, 3002, 5173, 8000)
)
STORE_BACKENDS: Final = ("memory", "sqlite", "postgres")
POSTGRES_SCHEMES: Final = ("postgresql", "postgres")
REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
#: The other systems whose shapes are served beside the protocol's own (protocol §12).
DIALECTS: Final = ("resume-agent", "quiz", "article-summarizer")
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
#: Above this a frame's padding would cost more than any buffer that it is meant to overcome.
FRAME_MIN_BYTES_MAX: Final = 1_048_576
_DAY_S: Final = 86_400.0
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})

_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)


class SettingsError(Exception):
    """The environment cannot be used. `problems` holds one sentence per wrong variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can choose. The names are those of the variables, in lower case."""

    host: str = "127.0.0.1"
    port: int = 8000
    stream_store_backend: str = "sqlite"
    sqlite_path: str = "streamgauge.db"
    sqlite_synchronous: str = "full"
    postgres_dsn: str = field(default="", repr=False)
    postgres_pool_size: int = 8
    postgres_statement_timeout_seconds: float = 5.0
    postgres_notify: bool = True
    ff_redis_sse_broadcast: bool = False
    redis_url: str = field(default="", repr=False)
    quota_runs_per_client: int = 5
    history_limit: int = 500
    hot_cache_events: int = 100
    heartbeat_seconds: float = 15.0
    frame_min_bytes: int = 4096
    retry_ms: int = 2000
    direct_writes: bool = True
    stream_max_seconds: float = 0.0
    stalled_reader_seconds: float = 60.0
    grace_seconds: float = 8.0
    lease_seconds: float = 15.0
    retention_hours: float = 24.0
    scripted_pipelines: bool = False
    dialects: tuple[str, ...] = ()
    pipeline_time_scale: float = 1.0
    subscriber_wait_seconds: float = 30.0
    cors_allow_origins: tuple[str, ...] = DEFAULT_ORIGINS
    root_path: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    log_level: str = "info"
    instance_id: str = "local"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings; an absent or empty variable means its default.

        Raises SettingsError that lists every wrong variable at once.
        """
        read = _Reader(env)
        settings = cls(
            host=read.text("HOST", "127.0.0.1"),
            port=read.integer("PORT", 8000, 0, 65_535),
            stream_store_backend=read.choice("STREAM_STORE_BACKEND", "sqlite", STORE_BACKENDS),
            sqlite_path=read.text("SQLITE_PATH", "streamgauge.db"),
            sqlite_synchronous=read.choice("SQLITE_SYNCHRONOUS", "full", ("full", "normal")),
            postgres_dsn=read.secret_url("POSTGRES_DSN", POSTGRES_SCHEMES),
            postgres_pool_size=read.integer("POSTGRES_POOL_SIZE", 8, 2, 1000),
            postgres_statement_timeout_seconds=read.number(
                "POSTGRES_STATEMENT_TIMEOUT_SECONDS", 5.0, 0.1, 3600.0
            ),
            postgres_notify=read.switch("POSTGRES_NOTIFY", True),
            ff_redis_sse_broadcast=read.switch("FF_REDIS_SSE_BROADCAST", False),
            redis_url=read.secret_url("REDIS_URL", REDIS_SCHEMES),
            quota_runs_per_client=read.integer("QUOTA_RUNS_PER_CLIENT", 5, 0, 1_000_000),
            history_limit=read.integer("HISTORY_LIMIT", 500, 1, 1_000_000),
            hot_cache_events=read.integer("HOT_CACHE_EVENTS", 100, 1, 100_000),
            heartbeat_seconds=read.number("HEARTBEAT_SECONDS", 15.0, 0.05, 3600.0),
            frame_min_bytes=read.integer("FRAME_MIN_BYTES", 4096, 0, FRAME_MIN_BYTES_MAX),
            retry_ms=read.integer("RETRY_MS", 2000, 0, 3_600_000),
            direct_writes=read.switch("DIRECT_WRITES", True),
            stream_max_seconds=read.number("STREAM_MAX_SECONDS", 0.0, 0.0, 7 * _DAY_S),
            stalled_reader_seconds=read.number("STALLED_READER_SECONDS", 60.0, 0.5, _DAY_S),
            grace_seconds=read.number("GRACE_SECONDS", 8.0, 1.0, 3600.0),
            lease_seconds=read.number("LEASE_SECONDS", 15.0, 0.3, 3600.0),
            retention_hours=read.number("RETENTION_HOURS", 24.0, 0.0001, 24.0 * 3660),
            dialects=read.names("DIALECTS", DIALECTS),
            scripted_pipelines=read.switch("SCRIPTED_PIPELINES", False),
            pipeline_time_scale=read.number("PIPELINE_TIME_SCALE", 1.0, 0.0, 1000.0),
            subscriber_wait_seconds=read.number("SUBSCRIBER_WAIT_SECONDS", 30.0, 0.0, 3600.0),
            cors_allow_origins=read.origins("CORS_ALLOW_ORIGINS", DEFAULT_ORIGINS),
            root_path=read.root_path("ROOT_PATH"),
            tls_cert_file=read.file("TLS_CERT_FILE"),
            tls_key_file=read.file("TLS_KEY_FILE"),
            log_level=read.choice("LOG_LEVEL", "info", LOG_LEVELS),
            instance_id=read.name("INSTANCE_ID", f"{socket.gethostname()}-{os.getpid()}"),
        )
        if bool(settings.tls_cert_file) != bool(settings.tls_key_file):
            read.problems.append("TLS_CERT_FILE and TLS_KEY_FILE must be given together.")
        if settings.stream_store_backend == "postgres":
            read.needed("POSTGRES_DSN", "STREAM_STORE_BACKEND=postgres")
        if settings.ff_redis_sse_broadcast:
            read.needed("REDIS_URL", "FF_REDIS_SSE_BROADCAST=1")
        if read.problems:
            raise SettingsError(read.problems)
        return settings


class _Reader:
    """Reads one variable at a time and remembers what is wrong instead of raising."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[str] = []

    def _read(self, name: str, default: _T, parse: Callable[[str], _T], expected: str) -> _T:
        raw = self._env.get(name, "").strip()
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError:
            self.problems.append(f"{name} must be {expected}, got {raw!r}.")
            return default

    def text(self, name: str, default: str) -> str:
        return self._read(name, default, str, "text")

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        def parse(raw: str) -> int:
            if not re.fullmatch(r"-?[0-9]{1,18}", raw):
                raise ValueError
            return _within(int(raw), low, high)

        return self._read(name, default, parse, f"an integer from {low} to {high}")

    def number(self, name: str, default: float, low: float, high: float) -> float:
        def parse(raw: str) -> float:
            if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", raw):
                raise ValueError
            return _within(float(raw), low, high)

        return self._read(name, default, parse, f"a number from {low:g} to {high:g}")

    def switch(self, name: str, default: bool) -> bool:
        def parse(raw: str) -> bool:
            if raw.lower() in _TRUE:
                return True
            if raw.lower() in _FALSE:
                return False
            raise ValueError

        return self._read(name, default, parse, "0 or 1")

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        def parse(raw: str) -> str:
            if raw.lower() not in allowed:
                raise ValueError
            return raw.lower()

        return self._read(name, default, parse, f"one of {', '.join(allowed)}")

    def names(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """Some of `allowed`, separated by commas; `all` is all of them."""

        def parse(raw: str) -> tuple[str, ...]:
            wanted = [part.strip().lower() for part in raw.split(",") if part.strip()]
            if not all(part in (*allowed, "all") for part in wanted):
                raise ValueError
            return tuple(part for part in allowed if part in wanted or "all" in wanted)

        expected = f"all, or some of {', '.join(allowed)} separated by commas"
        return self._read(name, (), parse, expected)

    def secret_url(self, name: str, schemes: tuple[str, ...]) -> str:
        """A URL that may hold a password, so that no message quotes it."""
        raw = self._env.get(name, "").strip()
        try:
            parts = urlsplit(raw)
            _ = parts.port  # raises ValueError where the port is no port
            usable = not raw or (parts.scheme in schemes and bool(parts.netloc or parts.path))
        except ValueError:
            usable = False
        if not usable:
            self.problems.append(
                f"{name} must be a URL that begins with {' or '.join(f'{s}://' for s in schemes)}."
            )
        return raw if usable else ""

    def needed(self, name: str, what: str) -> None:
        """Where something else was chosen that cannot do without this variable."""
        if not self._env.get(name, "").strip():
            self.problems.append(f"{name} must be given for {what}.")

    def origins(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        def parse(raw: str) -> tuple[str, ...]:
            return tuple(_origin(part.strip()) for part in raw.split(",") if part.strip())

        return self._read(
            name, default, parse, "a comma list of exact origins such as https://app.example"
        )

    def root_path(self, name: str) -> str:
        def parse(raw: str) -> str:
            if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", raw):
                raise ValueError
            return raw

        return self._read(name, "", parse, "a path such as /stream, without a slash at its end")

    def file(self, name: str) -> str:
        def parse(raw: str) -> str:
            if not Path(raw).is_file():
                raise ValueError
            return raw

        return self._read(name, "", parse, "the path of a file that can be read")

    def name(self, name: str, default: str) -> str:
        def parse(raw: str) -> str:
            if not re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", raw):
                raise ValueError
            return raw

        return self._read(name, default, parse, "1 to 128 letters, digits or ._:-")


def _within(value: _Number, low: _Number, high: _Number) -> _Number:
    if not low <= value <= high:
        raise ValueError
    return value


def _origin(raw: str) -> str:
    """An origin as a browser sends it: scheme, host and port, nothing behind."""
    parts = urlsplit(raw)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ValueError
    if raw != f"{parts.scheme}://{parts.netloc}" or raw != raw.lower() or "*" in raw:
        raise ValueError
    _ = parts.port  # raises ValueError where the port is no port
    return raw
