"""How the instrument's client goes through the relay: the transport differs, the record does not.

A recording names the target's own URL, whatever stood in between, so that whoever reproduces it
asks the target; what stood in between, and what it did, is in the recording's `info["relay"]`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from .powers import Powers
from .relay import EXCHANGE_HEADER, MOVED, Relay

CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Via:
    """The way that one exchange takes."""

    http: httpx.AsyncClient
    address: str
    """Where it goes: the relay, or a proxy in front of it."""
    number: str
    note: dict[str, Any]
    prefix: str = ""

    def url(self, url: str) -> str:
        """Where an exchange with this URL of the target is sent to."""
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.address}{self.prefix}{parts.path or '/'}{query}"

    @property
    def header(self) -> tuple[str, str]:
        return EXCHANGE_HEADER, self.number


class Passage:
    """A relay in front of the target, and the client side that belongs to it."""

    def __init__(self, target: str) -> None:
        self.relay = Relay(target)
        self._starting = asyncio.Lock()
        # Loopback only: no proxy of the environment, and no certificates to look at.
        self._http = httpx.AsyncClient(
            verify=False,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            timeout=httpx.Timeout(None, connect=CONNECT_S),
        )
        self._http.headers.clear()

    async def start(self) -> None:
        """Listen; asked for twice, also at once, it is done once."""
        async with self._starting:
            if not self.relay.address:
                await self.relay.start()

    async def aclose(self) -> None:
        """End all that is under way."""
        await self._http.aclose()
        await self.relay.aclose()

    def via(
        self,
        powers: Powers | None = None,
        *,
        prefix: str = "",
        moved: bool = False,
        front: str = "",
        words: str = "",
    ) -> Via:
        """The way of one exchange.

        Args:
            powers: what happens to it in the relay.
            prefix: a path prefix that only the proxy knows.
            moved: go where a redirect of the relay has led.
            front: the address of another proxy, in front of the relay.
            words: what that proxy is.
        """
        number, note = self.relay.announce(powers or Powers(), prefix)
        if words:
            note["is"] = words
        below = (MOVED if moved else "") + prefix
        return Via(self._http, front or self.relay.address, number, note, below)
