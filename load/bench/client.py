"""The client: `peers/readers.c` in a process of its own, told line by line what to wait for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from .machine import BenchError

#: How the client reads; `peers/readers.c` says what each means.
Look = Literal["lazy", "eager", "ages", "strict"]
WAIT_S: Final = 60.0
_QUIET_MS: Final = 300


class NotReady(Exception):
    """The machine was too busy for this pace; more patience may help."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Where a stream can be read."""

    address: tuple[str, int]
    path: str


class State(NamedTuple):
    """What all streams have together."""

    least: int
    most: int
    joined: int
    """Events that shared a chunk with an earlier one."""
    together: int
    """Events that shared a read with an earlier one."""
    odd: int
    """Ids that were not one more than the last."""


class Ages(NamedTuple):
    """From the time stamp in the event until it was read, in microseconds."""

    events: int
    p50: int
    p99: int
    most: int


class Client:
    """Streams of one offer."""

    def __init__(self, program: Path, offer: Offer, look: Look) -> None:
        host, port = offer.address
        self._process = subprocess.Popen(
            [str(program), host, str(port), offer.path, look],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()  # it closes its connections by that
        self._process.wait(WAIT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def connect(self, count: int) -> None:
        """Open so many more streams; their requests are sent."""
        self._told(f"connect {count}", "ok")

    def settle(self) -> None:
        """Read until nothing comes any more."""
        self._told(f"settle {_QUIET_MS}", "ok")

    def until(self, events: int, wait_s: float = WAIT_S) -> float:
        """Read until every stream has so many events; seconds since the streams were opened.

        Raises NotReady where that takes too long or a stream ends before.
        """
        answer = self._ask(f"until {events} {round(1000 * wait_s)}").split()
        if answer[0] == "late":
            raise NotReady(f"{answer[1]} readers had no {events} events in {wait_s:g} s")
        if answer[0] != "ok":
            raise NotReady(f"a stream ended before {events} events")
        return int(answer[1]) / 1e6

    @property
    def state(self) -> State:
        return State(*map(int, self._told("state", "state").split()))

    def ages(self) -> Ages:
        """Of all events since the last call."""
        return Ages(*map(int, self._told("ages", "ages").split()))

    def _told(self, command: str, expected: str) -> str:
        answer = self._ask(command)
        word, _, rest = answer.partition(" ")
        if word != expected:
            raise BenchError(f"the client answered {answer!r} to {command!r}")
        return rest

    def _ask(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{command}\n")
            answer = self._process.stdout.readline().strip()
        except OSError as error:
            raise BenchError(f"the client is gone: {error}") from error
        if not answer:
            raise BenchError(f"the client ended at {command!r}")
        return answer
