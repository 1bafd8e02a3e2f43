"""Local processes, and PostgreSQL and Redis as such: own folder, free loopback port, ended by pid.

Never the machine's own service. PostgreSQL refuses to run as root, so root starts it as an
unprivileged user.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

START_TIMEOUT_S: Final = 60.0
LOOK_S: Final = 0.02
PORTS: Final = (10_240, 32_768)
_SCHEMAS = itertools.count(1)


class MissingProgram(Exception):
    """Something has to be installed first; the message says what and how."""

    def __init__(self, what: str, install: str) -> None:
        super().__init__(f"{what} is not on this machine: {install}")


class ServiceFailed(Exception):
    """The process ended, or did not answer in time; the message ends with what it wrote."""


def free_port() -> int:
    """A port that nobody uses at the moment.

    Not one of those that the system gives to outgoing connections: one of them could have it when
    a service that was killed is started again.
    """
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Service(ABC):
    """A process with a folder; `stop` and `start` keep the data."""

    def __init__(self, folder: Path, user: str | None) -> None:
        self.folder = folder
        self.port = free_port()
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What is executed."""

    def environment(self) -> Mapping[str, str] | None:
        """Its variables; None: as here."""
        return None

    @abstractmethod
    def answers(self) -> bool:
        """Whether it is ready."""

    @property
    def running(self) -> bool:
        """Started, and not stopped since."""
        return self._process is not None

    def start(self) -> None:
        """Start, and return when it answers. Raises ServiceFailed."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start without waiting."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                user=self._user,
            )

    def wait_ready(self) -> None:
        """Return when it answers. Raises ServiceFailed."""
        until = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if self._running.poll() is not None or time.monotonic() > until:
                raise ServiceFailed(self.logs)
            time.sleep(LOOK_S)

    @property
    def _log(self) -> Path:
        return self.folder / "service.log"

    @property
    def logs(self) -> str:
        """What it has written."""
        return self._log.read_text(errors="replace")

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceFailed("expected a running service")
        return self._process

    @property
    def pid(self) -> int:
        """Of the process. Raises ServiceFailed where there is none."""
        return self._running.pid

    def pause(self) -> None:
        """All of its processes, as a machine that is overloaded or swaps."""
        self._send_to_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._send_to_all(signal.SIGCONT)

    @property
    def memory_bytes(self) -> int:
        """What the process holds of this machine's memory (resident)."""
        pages = Path(f"/proc/{self._running.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def _send_to_all(self, number: int) -> None:
        pid = self._running.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        for target in (pid, *map(int, children.read_text().split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Send the signal and wait for the end."""
        process, self._process = self._running, None
        process.send_signal(number)
        process.wait(START_TIMEOUT_S)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        # SIGINT is an orderly end for both; SIGQUIT and SIGKILL would leave PostgreSQL's memory.
        if self.running:
            self.resume()
            self.stop(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresServer(Service):
    """A cluster of its own. Without `durable` its commits would not survive a power cut."""

    def __init__(self, *, durable: bool = False) -> None:
        """Raises MissingProgram."""
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        found = shutil.which("postgres") or next(
            (str(folder / "postgres") for folder in programs if (folder / "postgres").exists()),
            None,
        )
        if found is None:
            raise MissingProgram("PostgreSQL", "apt-get install -y postgresql")
        self._programs = Path(found).resolve().parent
        self._durable = durable
        folder, user = private_folder("postgres")
        super().__init__(folder, user)
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [self._program("initdb"), "-D", str(folder / "data"), "-U", "streamgauge", *options],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            user=user,
        )

    def _program(self, name: str) -> str:
        return str(self._programs / name)

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if self._durable else "off",
            "max_connections": "200",
            "shared_buffers": "32MB",
            "log_min_messages": "error",
        }
        options = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
        return [self._program("postgres"), "-D", str(self.folder / "data"), *options]

    def answers(self) -> bool:
        probe = [self._program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
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
        subprocess.run([self._program("psql"), self.dsn, "-qXc", sql], check=True)


class RedisServer(Service):
    """A server that keeps nothing on disk."""

    def __init__(self) -> None:
        """Raises MissingProgram."""
        found = shutil.which("redis-server")
        if found is None:
            raise MissingProgram("Redis", "apt-get install -y redis-server")
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


def private_folder(name: str) -> tuple[Path, str | None]:
    """A new folder, and the unprivileged user that it belongs to where this process is root's.

    Raises MissingProgram.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"streamgauge-{name}-"))
    if os.geteuid() != 0:
        return folder, None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    found = next((known[user] for user in ("postgres", "nobody") if user in known), None)
    if found is None:
        raise MissingProgram("an unprivileged user", "adduser --system postgres")
    os.chown(folder, found.pw_uid, -1)
    return folder, found.pw_name
