"""Readers that hop between instances, come back after every fault, and keep what each showed.

Of an event they keep its id, what it says and when it came, not its bytes: hundreds of readers of
hundreds of padded events would not fit into memory otherwise.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from streamgauge.framing import WireError
from streamgauge.history import Entry, Gap, View
from streamgauge.sse import Block, Parser

from .deployment import Served
from .stream import Silent, ask

PAUSE_S: Final = 0.1
SILENCES: Final = 3
"""After so many heartbeats' time without a byte a reader tries elsewhere."""
TERMINAL: Final = "done"
CONTROL: Final = frozenset({"connection", "heartbeat", "replay_gap"})


@dataclass(slots=True)
class Connection:
    """What one connection showed, and how it ended."""

    url: str
    after: str
    opened_at: float
    entries: list[Entry] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    closed_at: float = 0.0
    torn: bool = False
    """It ended inside a frame."""
    broken: str = ""
    """What ended it, where that was not the reader: "cut", "silent", a status, an error's name."""

    def view(self, name: str) -> View:
        return View(
            name=name,
            kind="live",
            entries=tuple(self.entries),
            after=self.after or None,
            gaps=tuple(self.gaps),
            opened_at=self.opened_at,
            closed_at=self.closed_at,
        )


class Texts:
    """One copy of each event's text, however many readers got it, and when it was emitted."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, float]] = {}
        self._zero = time.time() - time.monotonic()
        """What the two clocks of this machine differ by."""

    def one(self, text: str) -> tuple[str, float]:
        """The text, and its timestamp on the monotonic clock."""
        known = self._known.get(text)
        if known is None:
            stamp = datetime.fromisoformat(json.loads(text)["timestamp"])
            known = self._known[text] = (text, stamp.timestamp() - self._zero)
        return known


@dataclass(frozen=True, slots=True)
class Detour:
    """Where a reader's first connection leads, and what it says there."""

    url: str
    headers: Mapping[str, str]


class Reader:
    """One client of one job. It reads until it has seen the job's end."""

    def __init__(
        self,
        served: Served,
        urls: Sequence[str],
        job: str,
        name: str,
        chance: random.Random,
        stay_s: float,
        texts: Texts,
        detour: Detour | None = None,
    ) -> None:
        """`stay_s`: it hops after about so long; 0: it stays for as long as it is served."""
        self.job = job
        self.name = name
        self.connections: list[Connection] = []
        self.ended = False
        self.newest = 0
        self._served = served
        self._urls = urls
        self._chance = chance
        self._stay_s = stay_s
        self._texts = texts
        self._detour = detour
        self._cursor = ""

    async def read(self) -> None:
        """Read on, wherever somebody serves, to the terminal event."""
        while not self.ended:
            detour, self._detour = self._detour, None
            url = detour.url if detour else self._chance.choice(self._urls)
            connection = Connection(url, self._cursor, time.monotonic())
            self.connections.append(connection)
            try:
                await self._visit(connection, detour.headers if detour else {})
            except Silent:
                connection.broken = "silent"
            except WireError as error:
                connection.broken = type(error).__name__
            finally:
                connection.closed_at = time.monotonic()
            if connection.broken:
                await asyncio.sleep(PAUSE_S)

    async def _visit(self, connection: Connection, extra: Mapping[str, str]) -> None:
        """One connection: until it ends, breaks, or it is time to hop."""
        headers = {"Accept": "text/event-stream", **self._served.headers, **extra}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        stay_s = self._chance.uniform(0.5, 1.5) * self._stay_s
        leave = time.monotonic() + stay_s if stay_s else float("inf")
        url = f"{connection.url}/api/jobs/{self.job}/stream"
        async with ask(url, headers, SILENCES * self._served.heartbeat_s) as answer:
            if answer.status == 204:
                self.ended = True
                return
            if answer.status != 200:
                connection.broken = str(answer.status)
                return
            parser = Parser()
            try:
                while data := await answer.read():
                    at = time.monotonic()
                    for block in parser.feed(data, at):
                        self._take(connection, block)
                    if self.ended or at > leave:
                        return
            finally:
                rest = parser.close(time.monotonic())
                connection.torn = rest is not None and bool(rest.fields)
        connection.broken = "cut"

    def _take(self, connection: Connection, block: Block) -> None:
        event = block.event
        if event is None:
            return
        if event.type == "replay_gap":
            earliest = str(json.loads(event.data)["data"]["earliest"])
            connection.gaps.append(Gap(len(connection.entries), earliest))
        if event.type in CONTROL or block.own_id is None:
            return
        ends = event.type == TERMINAL
        text, emitted = self._texts.one(event.data)
        connection.entries.append(
            Entry(block.own_id, (event.type, "", text), block.at, terminal=ends, emitted_at=emitted)
        )
        self._cursor = block.own_id
        self.newest = max(self.newest, int(block.own_id) if block.own_id.isdigit() else 0)
        self.ended |= ends
