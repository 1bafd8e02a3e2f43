"""Buffering proxies: padded events pass them in time, and unpadded ones are shown not to.

The same jobs on two servers, with and without padding, are read through the same proxies. That the
unpadded ones stall is what proves that a proxy buffers at all; where they do not, the proxy is
reported and no experiment is made of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from streamgauge.relay import Powers, Relay
from streamgauge.relay.real import KINDS, Kind, RealProxy

from .crowd import Seen, watch
from .experiments import ENV
from .instance import Instance
from .nginx import NginxServer, buffering
from .outcome import FAIL, INCONCLUSIVE, PASS
from .services import MissingProgram, Service, ServiceFailed
from .trial import Size

IN_TIME_S: Final = 1.0
INTERVAL_MS: Final = 200
EVENTS: Final = 200
LARGE: Final = "An event that no buffer holds. " * 700
"""In every sixth event: 20 KiB, so that what follows begins in mid-buffer."""
BLOCK_BYTES: Final = 4096
NGINX: Final = {"nginx-buffering-http1.0": "1.0", "nginx-buffering-http1.1": "1.1"}
BLOCKS: Final = "full-4k-blocks"
MUST_STALL: Final = ("nginx-buffering-http1.0", BLOCKS)
"""Ways that are known to buffer; the others are reported beside them."""
_S = TypeVar("_S", bound=Service)
Way = Callable[[int], AbstractAsyncContextManager[str]]


@dataclass(frozen=True, slots=True)
class Plain:
    """An instance as `ENV` has it."""

    heartbeat_s: float = float(ENV["HEARTBEAT_SECONDS"])
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One way, with and without padding."""

    way: str
    padded: Seen
    unpadded: Seen

    @property
    def must_stall(self) -> bool:
        return self.way in MUST_STALL

    @property
    def stalls(self) -> bool:
        """Whether unpadded events are late behind it."""
        return self.unpadded.age_p95_s > IN_TIME_S

    @property
    def proven(self) -> bool:
        """Whether it holds back what it has to, so that passing it means something."""
        return self.stalls or not self.must_stall

    @property
    def verdict(self) -> str:
        """That of the experiment that it is."""
        if not self.passes:
            return FAIL
        return PASS if self.proven else INCONCLUSIVE

    @property
    def passes(self) -> bool:
        """Whether padded events come whole and in time."""
        return self.padded.ledger.clean and self.padded.age_p95_s < IN_TIME_S


async def play(seed: int) -> list[Delivery]:
    """Every way at once. Raises MissingProgram, ServiceFailed, httpx.HTTPError."""
    plain = Size(readers=7, events=EVENTS, interval_ms=INTERVAL_MS)
    large = Size(readers=7, events=EVENTS, interval_ms=INTERVAL_MS, payload=LARGE)
    few = Size(readers=3, events=EVENTS // 2, interval_ms=INTERVAL_MS)
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(_running(partial(_server, frame_bytes)))
            for frame_bytes in (BLOCK_BYTES, 0)
        ]
        behind = [
            {
                name: await stack.enter_async_context(way(server.port))
                for name, way in _ways().items()
            }
            for server in servers
        ]
        good, bad = await asyncio.gather(
            watch(servers[0].url, behind[0], (plain, plain, large), seed, Plain()),
            watch(servers[1].url, behind[1], (few,), seed, Plain()),
        )
    return [Delivery(way, good[way], bad[way]) for way in good]


def _server(frame_bytes: int) -> Instance:
    env = {
        **ENV,
        "STREAM_STORE_BACKEND": "memory",
        "SCRIPTED_PIPELINES": "1",
        "FRAME_MIN_BYTES": str(frame_bytes),
    }
    return Instance(1, env, ("reference_server",))


@asynccontextmanager
async def _running(make: Callable[[], _S]) -> AsyncGenerator[_S, None]:
    service = await asyncio.to_thread(make)
    try:
        await asyncio.to_thread(service.start)
        yield service
    finally:
        await asyncio.to_thread(service.__exit__)


def _ways() -> Mapping[str, Way]:
    nginx = {name: partial(_nginx, version) for name, version in NGINX.items()}
    real = {kind.name: partial(_real, kind) for kind in KINDS if kind.name != "nginx"}
    return {**nginx, BLOCKS: _blocks, **real}


@asynccontextmanager
async def _nginx(version: str, port: int) -> AsyncGenerator[str, None]:
    config = partial(buffering, upstream=f"127.0.0.1:{port}", version=version)
    async with _running(partial(NginxServer, config)) as server:
        yield server.url


@asynccontextmanager
async def _blocks(port: int) -> AsyncGenerator[str, None]:
    async with Relay(f"http://127.0.0.1:{port}", Powers(block_bytes=BLOCK_BYTES)) as relay:
        yield relay.address


@asynccontextmanager
async def _real(kind: Kind, port: int) -> AsyncGenerator[str, None]:
    if kind.program is None:
        raise MissingProgram(kind.name, f"apt-get install -y {kind.name}")
    proxy = RealProxy(kind)
    try:
        if not await proxy.start(f"http://127.0.0.1:{port}"):
            raise ServiceFailed(proxy.trouble)
        yield proxy.address
    finally:
        await proxy.stop()
