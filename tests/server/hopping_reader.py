"""A reader that survives everything: it comes back with its cursor, at whichever instance."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx
from server_process import frames_of

#: Silence after which the connection is given up; the servers send heartbeats far more often.
SILENCE_S = 2.0
PAUSE_S = 0.05


class HoppingReader(threading.Thread):
    """Reads one job to its end and keeps what it saw, in order."""

    def __init__(self, urls: Sequence[str], job_id: str, seed: int, stay_s: float = 1.0) -> None:
        super().__init__(daemon=True)
        self._urls = urls
        self._path = f"/api/jobs/{job_id}/stream"
        self._random = random.Random(seed)
        self._stay_s = stay_s
        self.seen: list[dict[str, Any]] = []
        self.gaps = 0
        self.complete = False
        self.start()

    @property
    def cursor(self) -> int:
        return int(self.seen[-1]["id"]) if self.seen else 0

    def run(self) -> None:
        while not self.complete:
            try:
                self._visit(self._random.choice(self._urls))
            except httpx.HTTPError:
                time.sleep(PAUSE_S)

    def _visit(self, url: str) -> None:
        """One connection: until it ends, breaks, or it is time to hop."""
        headers = {"Last-Event-ID": str(self.cursor)}
        leave = time.monotonic() + self._random.uniform(0.2, 2 * self._stay_s)
        with httpx.stream("GET", url + self._path, headers=headers, timeout=SILENCE_S) as answer:
            if answer.status_code == 204:
                self.complete = True
            if answer.status_code != 200:
                time.sleep(PAUSE_S)
                return
            rest = b""
            for data in answer.iter_raw():
                whole, _, rest = (rest + data).rpartition(b"\n\n")
                self._take(whole)
                if self.complete or time.monotonic() > leave:
                    return

    def _take(self, whole: bytes) -> None:
        for frame in frames_of(whole):
            self.gaps += frame["event"] == "replay_gap"
            if frame["id"]:
                self.seen.append(frame["data"])
                self.complete = self.complete or frame["event"] == "done"
