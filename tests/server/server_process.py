"""A reference server in a process of its own, on a free port, and raw readers for it.

Used by the tests that need real sockets: shutdown, restart, framing, slow readers.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
DEADLINE_S = 20.0
RESUME = {"resume_text": "Ten years of plumbing."}


class ServerProcess:
    """A running server and what it has written."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._errors = folder / f"stderr-{time.monotonic_ns()}.log"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reference_server"],
                cwd=ROOT,
                env={**os.environ, "PORT": "0", "SQLITE_PATH": str(folder / "jobs.db"), **env},
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.url = self._listening_on()
        host, _, port = self.url.rpartition("/")[2].rpartition(":")
        self.address = (host, int(port))

    def _listening_on(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE_S)
        line = self.process.stdout.readline().decode() if ready else ""
        assert line.startswith("listening on http"), f"{line!r}, logs: {self.logs}"
        return line.split()[-1]

    @property
    def logs(self) -> str:
        return self._errors.read_text()

    def start_job(self, client: httpx.Client | None = None, **members: Any) -> dict[str, Any]:
        answer = (client or httpx).post(
            f"{self.url}/api/pipeline/start",
            json={**RESUME, **members},
            headers={"X-Client-Id": os.urandom(8).hex()},
        )
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def events(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        """The whole log by polling."""
        found: list[dict[str, Any]] = []
        while True:
            page = httpx.get(
                f"{self.url}/api/jobs/{job_id}/events", params={"after": after, "limit": 1000}
            ).json()
            found += page["events"]
            after = page["cursor"]
            if not page["has_more"]:
                return found

    def wait_ended(self, job_id: str) -> None:
        """Wait until the job has ended."""
        url = f"{self.url}/api/jobs/{job_id}/events?limit=1"
        wait_until(
            lambda: httpx.get(url).json()["status"] in ("completed", "failed", "canceled"),
            f"job {job_id} ends",
        )

    def terminate(self) -> float:
        """SIGTERM; returns how long the process took to end."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE_S)
        return time.monotonic() - began

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def running_server(folder: Path, **env: str) -> Iterator[ServerProcess]:
    """Start a server with these variables; kill whatever is left of it afterwards."""
    server = ServerProcess(folder, env)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Poll a condition until it is true; fail with `what` where that takes too long."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"timed out: {what}")


def frames_of(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream's bytes: name, id and parsed data; comments are left out."""
    frames = []
    for block in body.decode().split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":")
        )
        if "data" in fields:
            frames.append(
                {
                    "event": fields["event"],
                    "id": fields.get("id"),
                    "data": json.loads(fields["data"]),
                    "retry": fields.get("retry"),
                }
            )
    return frames


class RawConnection:
    """An HTTP/1.1 connection by hand."""

    def __init__(self, address: tuple[str, int], receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(address)
        self.received = b""

    def send(self, text: bytes) -> None:
        self.socket.sendall(text)

    def get(self, path: str, *headers: str) -> None:
        lines = [f"GET {path} HTTP/1.1", "Host: test", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def receive_until(self, condition: Callable[[bytes], bool]) -> bytes:
        while not condition(self.received):
            data = self.socket.recv(65536)
            if not data:
                break
            self.received += data
        return self.received

    def receive_all(self) -> bytes:
        """Everything until the server closes; a reset counts as a close."""
        try:
            return self.receive_until(lambda _received: False)
        except ConnectionResetError:
            return self.received

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()
