"""Locust in a process of its own, as a user calls it: exit code, what it said, what it wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCUSTFILE = ROOT / "load" / "locustfile.py"
BOUND_S = 60.0
START_S = 20.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of Locust came to."""

    code: int
    said: str
    results: dict[str, Any]

    @property
    def reasons(self) -> str:
        return " | ".join(self.results["reasons"])


class LocustProcess:
    """A running Locust."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._log = folder / "locust.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--only-summary"),
                    *("--report-dir", str(folder), *arguments),
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def records(self) -> list[dict[str, Any]]:
        path = self.folder / "streams.jsonl"
        return (
            [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
        )

    def wait_until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, f"timed out: {what}\n{self.said}"
            time.sleep(0.05)

    def outcome(self) -> Outcome:
        code = self.process.wait(BOUND_S)
        results = json.loads((self.folder / "results.json").read_text("utf-8"))
        return Outcome(code, self.said, results)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(BOUND_S)


@contextmanager
def locust(folder: Path, *arguments: str) -> Iterator[LocustProcess]:
    """Start Locust; whatever is left of it afterwards is killed with its workers."""
    process = LocustProcess(folder, *arguments)
    try:
        yield process
    finally:
        process.kill()


def headless(folder: Path, host: str, users: int, seconds: float, *more: str) -> Outcome:
    """A whole run without the web page."""
    with locust(
        folder, "--headless", "--host", host, "-u", str(users), "-r", "100", "-t", f"{seconds:g}s",
        *more,
    ) as process:  # fmt: skip
        return process.outcome()


@contextmanager
def broken_server(name: str, folder: Path, **env: str) -> Iterator[str]:
    """One of the mutants of the reference server; its address."""
    settings: Mapping[str, str] = {
        **os.environ,
        "HOST": "127.0.0.1",
        "PORT": "0",
        "SQLITE_PATH": str(folder / "jobs.db"),
        "STREAM_STORE_BACKEND": "sqlite",
        "SCRIPTED_PIPELINES": "1",
        "LOG_LEVEL": "error",
        **env,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mutants.serve", name],
        cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), line
        yield line.split()[-1]
    finally:
        process.kill()
        process.wait(BOUND_S)
        assert process.stdout is not None
        process.stdout.close()
