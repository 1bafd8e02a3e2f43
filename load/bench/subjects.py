"""What the benchmark measures: a reference server of this checkout, and its peers.

All of them stream a job of the same shape: a first event that opens the measured window once
everybody has it, a rest, and the events that count. So one client and one clock serve all.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from . import tools
from .client import Offer
from .machine import BenchError, Cpus, pin

FRAME_BYTES: Final = 4096
#: The first event opens the window; the last two of a reference server's job close it.
EVENTS_AROUND: Final = 3
START_S: Final = 30.0
END_S: Final = 12.0
_GAP_S: Final = 0.3
_CONNECT_BASE_S: Final = 0.5
_CONNECT_PER_READER_S: Final = 0.003

REFERENCE: Final = "reference"
REFERENCE_SQLITE: Final = "reference, SQLite"
LOOP: Final = "C send()"
NCHAN: Final = "nchan"
NODE: Final = "node"
AXUM: Final = "axum"
GO_SSE: Final = "go-sse"
SSE_STARLETTE: Final = "sse-starlette"


@dataclass(frozen=True, slots=True)
class Plan:
    """One measured window."""

    readers: int
    events: int
    burst: int
    """So many events are due together."""
    pause_us: float
    """From one burst to the next."""
    patience: int = 1

    @property
    def interval_us(self) -> int:
        return round(self.patience * self.pause_us)

    @property
    def lead_s(self) -> float:
        """In this time all readers connect, where they cannot be waited for."""
        return self.patience * (_CONNECT_BASE_S + _CONNECT_PER_READER_S * self.readers)

    @property
    def gap_s(self) -> float:
        return self.patience * _GAP_S

    @property
    def deliveries(self) -> int:
        return self.events * self.readers


class Job(Protocol):
    """One job of a subject."""

    @property
    def offer(self) -> Offer: ...

    def open(self) -> None:
        """Let the first event come; all readers are there."""

    def go(self) -> None:
        """Let the events come that count."""


class Subject(Protocol):
    """A running server."""

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int: ...

    def job(self, plan: Plan) -> AbstractContextManager[Job]:
        """A job after this plan."""

    def history(self, events: int) -> AbstractContextManager[Offer]:
        """A stream that begins with so many events that are there already."""


@dataclass(frozen=True, slots=True)
class _Scripted:
    """A job of the reference server: it keeps to its script, nothing has to be said."""

    offer: Offer

    def open(self) -> None: ...

    def go(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Reference:
    """`python -m reference_server`."""

    name: str
    address: tuple[str, int]
    pid: int

    @contextlib.contextmanager
    def job(self, plan: Plan) -> Iterator[Job]:
        last = plan.events + 1
        pauses = [(0, plan.lead_s), (1, plan.gap_s), (last, plan.gap_s)]
        interval_s = plan.interval_us / 1e6
        if plan.burst > 1:
            pauses += [(1 + n, interval_s) for n in range(plan.burst, plan.events, plan.burst)]
        script = {
            "events": plan.events + EVENTS_AROUND,
            "interval_ms": 0 if plan.burst > 1 else plan.interval_us / 1000,
            "pauses": [[event, 1000 * seconds] for event, seconds in pauses],
        }
        with self._started(script) as (job, _):
            yield _Scripted(Offer(self.address, job["stream_url"]))

    @contextlib.contextmanager
    def history(self, events: int) -> Iterator[Offer]:
        with self._started({"events": events, "interval_ms": 0}) as (job, get):
            deadline = time.monotonic() + START_S
            while '"status":"completed"' not in get(f"{job['events_url']}?limit=1"):
                if time.monotonic() > deadline:
                    raise BenchError(f"{self.name}: {events} events took over {START_S:g} s")
                time.sleep(0.05)
            yield Offer(self.address, job["stream_url"])

    @contextlib.contextmanager
    def _started(
        self, script: Mapping[str, object]
    ) -> Iterator[tuple[dict[str, str], Callable[[str], str]]]:
        body = {"resume_text": "bench", "pipeline": script}
        text = call(self.address, "POST", "/api/pipeline/start", body)
        job: dict[str, str] = json.loads(text)
        try:
            yield job, lambda path: call(self.address, "GET", path)
        finally:
            # A job that was given up must not run on beside the next one.
            with contextlib.suppress(OSError, http.client.HTTPException, BenchError):
                call(self.address, "POST", f"/api/jobs/{job['job_id']}/cancel", {})


@dataclass(frozen=True, slots=True)
class _Told:
    """A job of a peer: it emits when it is told to."""

    offer: Offer
    plan: Plan

    def open(self) -> None:
        call(self.offer.address, "POST", "/run?events=1&burst=1&us=0")

    def go(self) -> None:
        plan = self.plan
        path = f"/run?events={plan.events}&burst={plan.burst}&us={plan.interval_us}"
        call(self.offer.address, "POST", path)


@dataclass(frozen=True, slots=True)
class Peer:
    """A server of `peers/` that publishes by itself."""

    name: str
    address: tuple[str, int]
    pid: int

    @contextlib.contextmanager
    def job(self, plan: Plan) -> Iterator[Job]:
        yield _Told(Offer(self.address, "/stream"), plan)

    @contextlib.contextmanager
    def history(self, events: int) -> Iterator[Offer]:
        yield Offer(self.address, f"/replay?events={events}")


@dataclass(frozen=True, slots=True)
class _Published:
    """A channel of nchan: somebody has to post what it publishes."""

    offer: Offer
    plan: Plan
    posting: ExitStack

    def open(self) -> None:
        self._publish(1, 1, 0)

    def go(self) -> None:
        self._publish(self.plan.events, self.plan.burst, self.plan.interval_us)

    def _publish(self, events: int, burst: int, interval_us: int) -> None:
        self.posting.enter_context(
            publisher(self.offer.address, "/pub", events, burst, interval_us)
        )


@dataclass(frozen=True, slots=True)
class Nchan:
    """nginx with nchan."""

    name: str
    address: tuple[str, int]
    pid: int

    @contextlib.contextmanager
    def job(self, plan: Plan) -> Iterator[Job]:
        with ExitStack() as posting:
            yield _Published(Offer(self.address, "/stream"), plan, posting)

    @contextlib.contextmanager
    def history(self, events: int) -> Iterator[Offer]:
        call(self.address, "DELETE", "/pub-history", expected=(200, 404))
        with publisher(self.address, "/pub-history", events, 16, 0) as process:
            if process.wait(START_S):
                raise BenchError("nchan: its history could not be published")
        yield Offer(self.address, "/replay")


@contextlib.contextmanager
def publisher(
    address: tuple[str, int], path: str, events: int, burst: int, interval_us: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that posts events to nchan, on the client's processor."""
    numbers = (events, burst, interval_us)
    command = [sys.executable, "-m", "load.bench.publisher", *address, path, *numbers]
    process = subprocess.Popen([str(part) for part in command], cwd=tools.ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait(END_S)


def call(
    address: tuple[str, int],
    method: str,
    path: str,
    body: object = None,
    expected: tuple[int, ...] = (200, 202),
) -> str:
    """One request; the answer's body. Raises BenchError for any other status."""
    connection = http.client.HTTPConnection(*address, timeout=START_S)
    with contextlib.closing(connection):
        headers = {} if body is None else {"Content-Type": "application/json"}
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        received = answer.read().decode(errors="replace")
    if answer.status not in expected:
        raise BenchError(f"{method} {path} got {answer.status}: {received[:200]}")
    return received


@contextlib.contextmanager
def reference(
    folder: Path, cpus: Cpus, *, store: str = "memory", **settings: str
) -> Iterator[Reference]:
    """A reference server of this checkout."""
    env = {
        **{"HOST": "127.0.0.1", "PORT": "0", "ROOT_PATH": "", "SCRIPTED_PIPELINES": "1"},
        **{"TLS_CERT_FILE": "", "TLS_KEY_FILE": "", "QUOTA_RUNS_PER_CLIENT": "0"},
        **{"STREAM_STORE_BACKEND": store, "SQLITE_PATH": str(folder / "bench.db")},
        **{"HISTORY_LIMIT": "100000", "FRAME_MIN_BYTES": str(FRAME_BYTES), **settings},
    }
    name = REFERENCE if store == "memory" else REFERENCE_SQLITE
    command = [sys.executable, "-m", "reference_server"]
    with _serving(command, folder, cpus, env) as (address, pid):
        yield Reference(name, address, pid)


@contextlib.contextmanager
def peer(name: str, folder: Path, cpus: Cpus) -> Iterator[Subject]:
    """A peer by its name. Raises tools.Missing."""
    if name == NCHAN:
        with _nchan(folder, cpus) as found:
            yield found
        return
    command = {
        LOOP: lambda: [tools.plain_loop()],
        AXUM: lambda: [tools.axum()],
        GO_SSE: lambda: [tools.go_sse()],
        NODE: lambda: [tools.node(), tools.PEERS / "node.js"],
        SSE_STARLETTE: lambda: [
            tools.sse_starlette(),
            tools.PEERS / "sse_starlette" / "app.py",
        ],
    }[name]()
    arguments = [str(part) for part in command]
    with _serving(arguments, folder, cpus, {"GOMAXPROCS": "1"}) as (address, pid):
        yield Peer(name, address, pid)


@contextlib.contextmanager
def _nchan(folder: Path, cpus: Cpus) -> Iterator[Nchan]:
    program = tools.nginx()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (tools.PEERS / "nginx.conf").read_text()
    config = folder / "nginx.conf"
    config.write_text(text.format(module=tools.NCHAN_MODULE, folder=folder, port=port))
    command = [str(program), "-p", str(folder), "-e", "stderr", "-c", str(config)]
    with _process(command, folder, cpus, {}) as process:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"nginx does not listen: {_tail(folder)}")
            time.sleep(0.05)
        yield Nchan(NCHAN, ("127.0.0.1", port), process.pid)


@contextlib.contextmanager
def _serving(
    command: list[str], folder: Path, cpus: Cpus, env: Mapping[str, str]
) -> Iterator[tuple[tuple[str, int], int]]:
    """A process that says where it listens."""
    with _process(command, folder, cpus, env) as process:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_S)
        line = process.stdout.readline().decode().strip() if ready else ""
        if not line.startswith("listening on http://"):
            raise BenchError(f"{command[-1]} does not listen: {line!r} {_tail(folder)}")
        host, _, port = line.rpartition("/")[2].rpartition(":")
        yield (host, int(port)), process.pid


@contextlib.contextmanager
def _process(
    command: list[str], folder: Path, cpus: Cpus, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A child on the server's processor; ended by its pid, whatever happens."""
    mine = os.sched_getaffinity(0)
    pin(cpus.server)  # inherited, by every thread and process of the child
    try:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=tools.ROOT,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
    finally:
        os.sched_setaffinity(0, mine)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_S)
        if process.stdout is not None:
            process.stdout.close()


def _tail(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-400:]
