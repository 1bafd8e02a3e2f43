"""One instance of the reference server as a service: it keeps its port when it is started again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .services import Service

ROOT: Final = Path(__file__).parents[1]
ANSWER_TIMEOUT_S: Final = 2.0


class Instance(Service):
    """A process of its own; `env` says what it shares with the others, `program` what it runs."""

    def __init__(self, number: int, env: Mapping[str, str], program: Sequence[str]) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix=f"streamgauge-instance-{number}-")), None)
        self.number = number
        self._program = tuple(program)
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SQLITE_PATH": str(self.folder / "jobs.db"),
            **env,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "INSTANCE_ID": f"instance-{number}",
        }
        self.clock: Mapping[str, str] = {}
        """Variables that make its next start see another time."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", *self._program]

    def environment(self) -> Mapping[str, str]:
        return {**self._environment, **self.clock}

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=ANSWER_TIMEOUT_S):
                return True
        except (urllib.error.URLError, OSError):
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As `kill -9`."""
        self.stop(signal.SIGKILL)

    def terminate(self) -> None:
        """As a deploy does it; returns when the process has ended."""
        self.stop(signal.SIGTERM)

    def __exit__(self, *_exc: object) -> None:
        if self.running:
            self.resume()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
