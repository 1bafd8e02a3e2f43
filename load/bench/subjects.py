"""What the fan-out benchmark measures: a reference server of this checkout, and a bare socket loop.

Both offer the same job: a first event that opens the measured window, a rest, the events that
count, a rest, and two events more. So one client and one clock serve both, and the loop says what
this machine takes for moving these bytes at all.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from .readers import CONNECT_AT_ONCE, FRAME_BYTES, WAIT_S, BenchError, Offer

ROOT: Final = Path(__file__).resolve().parents[2]
#: The first event opens the window; the last two (status and `done`) come after it.
EVENTS_AROUND: Final = 3
RAW: Final = "raw sockets"
#: Pause around the window, so that the processor time is read while the server rests.
GAP_S: Final = 0.3
CONNECT_BASE_S: Final = 0.3
CONNECT_PER_READER_S: Final = 0.003
SENDER_LIFE_S: Final = 120
END_S: Final = 12.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One job: how many readers, how many measured events, at which pace (0: at once)."""

    readers: int
    events: int
    pace_ms: float
    patience: int = 1

    @property
    def interval_ms(self) -> float:
        """From one event to the next."""
        return self.patience * self.pace_ms

    @property
    def lead_s(self) -> float:
        """From the job's start to its first event: all readers connect in this time."""
        return self.patience * (CONNECT_BASE_S + CONNECT_PER_READER_S * self.readers)

    @property
    def gap_s(self) -> float:
        """The rest before and after the window."""
        return self.patience * GAP_S

    @property
    def deliveries(self) -> int:
        """Events times readers within the window."""
        return self.events * self.readers

    @property
    def events_total(self) -> int:
        """The whole log."""
        return self.events + EVENTS_AROUND


class Subject(Protocol):
    """What is measured."""

    @property
    def name(self) -> str: ...

    def offer(self, plan: Plan) -> AbstractContextManager[Offer]:
        """A job after this plan, from its start on."""


@dataclass(frozen=True, slots=True)
class ServerSubject:
    """A running reference server."""

    name: str
    address: tuple[str, int]
    pid: int

    @contextlib.contextmanager
    def offer(self, plan: Plan) -> Iterator[Offer]:
        pauses = [(0, plan.lead_s), (1, plan.gap_s), (plan.events + 1, plan.gap_s)]
        script = {
            "events": plan.events_total,
            "interval_ms": plan.interval_ms,
            "pauses": [[event, round(1000 * seconds)] for event, seconds in pauses],
        }
        job = self._post("/api/pipeline/start", {"resume_text": "bench", "pipeline": script})
        try:
            yield Offer(self.address, job["stream_url"], self.pid)
        finally:
            # A job that was given up must not run on beside the next one.
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._post(f"/api/jobs/{job['job_id']}/cancel", {})

    def _post(self, path: str, members: dict[str, object]) -> dict[str, str]:
        connection = http.client.HTTPConnection(*self.address, timeout=WAIT_S)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(members), headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        if answer.status != 202:
            raise BenchError(f"expected 202 from {path}, got {answer.status}: {text[:200]}")
        answered: dict[str, str] = json.loads(text)
        return answered


@dataclass(frozen=True, slots=True)
class RawSubject:
    """A process of its own that does nothing but accept and send."""

    cpu: int | None
    name: str = RAW

    @contextlib.contextmanager
    def offer(self, plan: Plan) -> Iterator[Offer]:
        with socket.create_server(("127.0.0.1", 0), backlog=4 * CONNECT_AT_ONCE) as listener:
            sender = multiprocessing.get_context("fork").Process(
                target=_send_raw, args=(listener, plan, self.cpu), daemon=True
            )
            sender.start()
            try:
                yield Offer(listener.getsockname(), "/", sender.pid or 0)
            finally:
                sender.kill()
                sender.join(END_S)


def _send_raw(listener: socket.socket, plan: Plan, cpu: int | None) -> None:
    """The raw limit: one `send()` per reader and frame, the frame encoded before."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(SENDER_LIFE_S)
    pin(cpu)
    frame = b'id: 1\nevent: x\ndata: {"id":1}\n\n:'.ljust(FRAME_BYTES - 1) + b"\n"
    hello = b"HTTP/1.1 200 OK\r\n\r\n" + b":".ljust(FRAME_BYTES - 1) + b"\n"
    readers: list[socket.socket] = []
    for _ in range(plan.readers):
        reader, _ = listener.accept()
        reader.settimeout(WAIT_S)
        reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader.recv(65_536)  # unread bytes would turn the close into a reset
        reader.sendall(hello)
        readers.append(reader)
    for number in range(1, plan.events_total + 1):
        if number in (1, 2, plan.events + 2):
            time.sleep(plan.gap_s)
        else:
            time.sleep(plan.interval_ms / 1000)
        for reader in readers:
            reader.sendall(frame)
    time.sleep(WAIT_S)  # the parent closes first: it still counts


@contextlib.contextmanager
def serving(store: str, folder: Path, cpus: tuple[int, int] | None) -> Iterator[ServerSubject]:
    """A reference server of this checkout; ended by its pid, whatever happens."""
    env = {
        **os.environ,
        **{"HOST": "127.0.0.1", "PORT": "0", "ROOT_PATH": "", "SCRIPTED_PIPELINES": "1"},
        **{"TLS_CERT_FILE": "", "TLS_KEY_FILE": "", "QUOTA_RUNS_PER_CLIENT": "0"},
        **{"STREAM_STORE_BACKEND": store, "SQLITE_PATH": str(folder / "bench.db")},
        **{"HISTORY_LIMIT": "100000", "FRAME_MIN_BYTES": str(FRAME_BYTES)},
    }
    pin(cpus and cpus[0])  # inherited, by every thread of the server
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "reference_server"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        pin(cpus and cpus[1])
        host, _, port = _listening(process, folder / "server.log").rpartition(":")
        yield ServerSubject(store, (host.rpartition("/")[2], int(port)), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_S)


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None
    with process.stdout as output:
        ready, _, _ = select.select([output], [], [], WAIT_S)
        line = output.readline().decode().strip() if ready else ""
    if not line.startswith("listening on http://"):
        tail = log.read_text(errors="replace")[-400:]
        raise BenchError(f"expected a server that listens, got {line!r}; its log: {tail}")
    return line


def pin(cpu: int | None) -> None:
    """Stay on one processor from now on; children inherit it."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
