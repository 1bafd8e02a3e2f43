"""PostgreSQL and Redis as processes of the tests: own folder, free loopback port, ended by pid.

Never the machine's own service. PostgreSQL refuses to run as root, so a root test run starts it as
an unprivileged user.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from needs import missing

START_TIMEOUT_S = 20.0
_SCHEMAS = itertools.count(1)


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """A process with a folder; `stop` and `start` keep the data."""

    def __init__(self, folder: Path, user: str | None) -> None:
        self.folder = folder
        self.port = free_port()
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=log, stderr=log, user=self._user
            )
        until = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            log_text = (self.folder / "service.log").read_text()
            assert self._process.poll() is None, log_text
            assert time.monotonic() < until, log_text
            time.sleep(0.02)

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def pause(self) -> None:
        """All of its processes, as a machine that is overloaded or swaps."""
        self._send_to_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._send_to_all(signal.SIGCONT)

    def _send_to_all(self, number: int) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in (self._process.pid, *map(int, children.read_text().split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self.send(number)
            self._process.wait(START_TIMEOUT_S)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        # SIGINT is an orderly end for both; SIGQUIT and SIGKILL would leave PostgreSQL's memory.
        if self._process is not None:
            self.resume()
            self.stop(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresServer(Service):
    """A cluster of its own. Commits need not survive a power cut here."""

    def __init__(self) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        found = shutil.which("postgres") or next(
            (str(folder / "postgres") for folder in programs if (folder / "postgres").exists()),
            None,
        )
        if found is None:
            missing("PostgreSQL", "apt-get install -y postgresql")
        self._programs = Path(found).resolve().parent
        user = _unprivileged() if os.geteuid() == 0 else None
        folder = Path(tempfile.mkdtemp(prefix="streamgauge-postgres-"))
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        super().__init__(folder, user)
        subprocess.run(
            [
                *(self._programs / "initdb", "-D", folder / "data", "-U", "streamgauge"),
                *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            user=user,
        )

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "200",
            "shared_buffers": "32MB",
            "log_min_messages": "error",
        }
        options = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
        return [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options]

    def answers(self) -> bool:
        probe = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(probe, check=False).returncode == 0

    @property
    def dsn(self) -> str:
        return f"postgresql://streamgauge@127.0.0.1:{self.port}/postgres"

    def fresh_dsn(self) -> str:
        """The address of an empty schema."""
        schema = f"test_{next(_SCHEMAS)}"
        self.execute(f"CREATE SCHEMA {schema}")
        return f"{self.dsn}?search_path={schema}"

    def execute(self, sql: str) -> None:
        """Run statements as the cluster's superuser."""
        subprocess.run([self._programs / "psql", self.dsn, "-qXc", sql], check=True)


class RedisServer(Service):
    """A server that keeps nothing on disk."""

    def __init__(self) -> None:
        found = shutil.which("redis-server")
        if found is None:
            missing("Redis", "apt-get install -y redis-server")
        self._program = found
        super().__init__(Path(tempfile.mkdtemp(prefix="streamgauge-redis-")), None)

    def command(self) -> list[str]:
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly"]
        return [self._program, *settings, "no"]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def _unprivileged() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    found = next((name for name in ("postgres", "nobody") if name in known), None)
    return found or missing("an unprivileged user", "adduser --system postgres")
