"""The suite and its targets as processes: what a user would start in two terminals.

Tests of a whole run go through the command line on purpose: exit codes, signals and what stands on
the screen are part of what they judge.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[1]
STARTED_S = 30.0
"""A busy machine takes its time to start a Python process."""
RUN_MAX_S = 180.0
ENDED_S = 10.0
COMMAND_S = 60.0
T = TypeVar("T")


@contextmanager
def in_background(
    calls: Mapping[str, Callable[[], T]], at_once: int, stop: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Future[T]]]:
    """Runs that are begun in this order, some at a time, and awaited one by one.

    What has not begun when nobody waits any more is dropped; `stop` ends what is under way.
    """
    with ThreadPoolExecutor(at_once) as pool:
        try:
            yield {name: pool.submit(call) for name, call in calls.items()}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the suite left behind."""

    exit_code: int
    output: str
    folder: Path
    seconds: float

    @property
    def results(self) -> dict[str, Any]:
        """`results.json`; an assertion where the run wrote none."""
        path = self.folder / "results.json"
        assert path.is_file(), f"no report was written; output:\n{self.output}"
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found

    @property
    def verdicts(self) -> dict[str, str]:
        return {check["id"]: check["verdict"] for check in self.results["checks"]}

    def ids(self, *verdicts: str) -> list[str]:
        """The checks with one of these verdicts."""
        return [name for name, verdict in self.verdicts.items() if verdict in verdicts]


@contextmanager
def listening(
    *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A module's server in a process of its own, by the address that it prints; killed at the end.

    Its log goes nowhere: a pipe that nobody empties would stop it.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "PORT": "0", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], STARTED_S)
        line = process.stdout.readline().decode() if ready else ""
        assert line.startswith("listening on http"), f"{arguments}: {line!r}"
        yield line.split()[-1], process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(ENDED_S)
        process.stdout.close()


def command(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """One call of the `streamgauge` command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "streamgauge", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )


class SuiteProcess:
    """One run of the whole suite, from the outside."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *arguments: str,
        profile: str = "resume-optimizer",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._output = folder / "output.txt"
        self._began = time.monotonic()
        command = ["pytest", "conformance", f"--base-url={url}", f"--profile={profile}"]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, f"--report-dir={folder}", "-q", *arguments],
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End the run, where it has not ended by itself."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(ENDED_S)

    def left_over(self) -> list[str]:
        """The command lines of processes that the run has left behind: all are of its session."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.getsid(int(entry.name)) == self.process.pid:
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # it has just ended
        return found

    def finish(self, within_s: float = RUN_MAX_S) -> Outcome:
        """Wait for the end; kill the run and fail where it exceeds its bound."""
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            said = self._output.read_text("utf-8", "replace")
            raise AssertionError(f"the run did not end within {within_s:.0f} s:\n{said}") from None
        seconds = time.monotonic() - self._began
        return Outcome(code, self._output.read_text("utf-8", "replace"), self.folder, seconds)
