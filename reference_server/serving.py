"""Runs the app under Hypercorn and ends it in time (protocol §8 "SIGTERM").

Hypercorn's own shutdown waits for open streams, on newer Pythons without a limit. So streams are
ended here first, and whoever does not take its last bytes is dropped. Each step has its share of
`GRACE_SECONDS`; a timer thread ends the process even if the event loop should hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Final

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from .app import Parts, create_app
from .cors import CorsPolicy
from .edge import Edge, answer_broken_bodies_with, refuse_surplus_streams
from .guard import Guard
from .lifecycle import Lifecycle
from .settings import Settings

#: Shares of GRACE_SECONDS, counted from the signal.
RUNNER_SHARE: Final = 0.3
STREAMS_SHARE: Final = 0.6
SERVER_SHARE: Final = 0.8
EXIT_SHARE: Final = 0.95
_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 30.0
_REQUESTS_PER_CONNECTION: Final = 1_000_000_000
#: RFC 9113 §6.5.2 asks for 100 at least; a browser's tabs of one site share a connection.
_H2_STREAMS_PER_CONNECTION: Final = 250
#: Above the guard's own limit, so that the guard can answer in full.
_HEAD_MAX_BYTES: Final = 262_144
_LOOK_S: Final = 0.05
_LOG: Final = logging.getLogger(__name__)


class CannotListen(Exception):
    """The address or the certificate cannot be used."""


def open_socket(settings: Settings) -> socket.socket:
    """Bind and listen. Raises CannotListen.

    The socket is made here and not by Hypercorn, because accepted connections inherit the option
    that makes the kernel give up a peer that acknowledges nothing.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            stalled_ms = int(settings.stalled_reader_seconds * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from error
    return sock


def server_config(settings: Settings, sock: socket.socket) -> Config:
    """Hypercorn's settings. Takes the socket over. Raises CannotListen for a bad certificate."""
    config = Config()
    config.backlog = _BACKLOG
    config.keep_alive_timeout = _KEEP_ALIVE_S
    config.keep_alive_max_requests = _REQUESTS_PER_CONNECTION
    config.h2_max_concurrent_streams = _H2_STREAMS_PER_CONNECTION
    config.h11_max_incomplete_size = _HEAD_MAX_BYTES
    config.graceful_timeout = settings.grace_seconds
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    if settings.tls_cert_file:
        config.certfile, config.keyfile = settings.tls_cert_file, settings.tls_key_file
        try:
            config.create_ssl_context()
        except (OSError, ssl.SSLError) as error:
            raise CannotListen("TLS_CERT_FILE and TLS_KEY_FILE are no usable pair") from error
    config.bind = f"fd://{sock.detach()}"
    return config


class Server:
    """One process's server, from its first connection to its last."""

    def __init__(self, settings: Settings, parts: Parts, announce: Callable[[], None]) -> None:
        self._settings = settings
        self._parts = parts
        self._announce = announce
        self._lifecycle: Lifecycle = parts.lifecycle
        self._stop = asyncio.Event()
        self._stop_s = 0.0
        guard = Guard(
            create_app(settings, parts),  # type: ignore[arg-type]  # ASGI, typed differently
            CorsPolicy(settings.cors_allow_origins),
            settings.root_path,
        )
        answer_broken_bodies_with(guard.error_answer)
        refuse_surplus_streams()
        self.edge = Edge(
            guard,
            stalled_reader_s=settings.stalled_reader_seconds,
            on_cut=parts.metrics.reader_cut,
            direct_writes=settings.direct_writes,
        )

    def stop(self) -> None:
        """Begin to shut down; what a signal calls."""
        if not self._stop.is_set():
            self._stop_s = asyncio.get_running_loop().time()
            self._stop.set()

    async def run(self, config: Config) -> None:
        """Serve until `stop`, then end within the grace period. Raises what made serving fail."""
        watchdog = asyncio.create_task(self.edge.watch(), name="stalled-readers")
        serving = asyncio.create_task(
            hypercorn_serve(
                self.edge,  # type: ignore[arg-type]  # ASGI, typed differently
                config,
                shutdown_trigger=self._stopped_and_drained,
            ),
            name="hypercorn",
        )
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            while not serving.done() and not self._share_passed(SERVER_SHARE):
                await asyncio.wait({serving}, timeout=_LOOK_S)
                if self._share_passed(STREAMS_SHARE):
                    self.edge.abort_all()  # whoever is still there does not read
        finally:
            for task in (watchdog, stopped, serving):
                task.cancel()
        if serving.done() and not serving.cancelled() and serving.exception() is not None:
            error = serving.exception()
            if error is not None and not self._stop.is_set():
                raise error
            _LOG.info("server ended with open connections", exc_info=error)

    async def _stopped_and_drained(self) -> None:
        """Hypercorn's shutdown trigger: it closes the listener when this returns."""
        self._announce()
        await self._stop.wait()
        _LOG.info("draining", extra={"requests": self.edge.live})
        self._lifecycle.begin_draining()
        try:
            async with asyncio.timeout(self._settings.grace_seconds * RUNNER_SHARE):
                await self._parts.runner.drain()
        except TimeoutError:
            _LOG.warning("jobs were not released in time")
        self._lifecycle.begin_recycling()
        while self.edge.live and not self._share_passed(STREAMS_SHARE):
            self._parts.hub.wake_all()
            await asyncio.sleep(_LOOK_S)
        _LOG.info("drained", extra={"requests": self.edge.live})

    def _share_passed(self, share: float) -> bool:
        passed_s = asyncio.get_running_loop().time() - self._stop_s
        return passed_s >= self._settings.grace_seconds * share


async def serve(settings: Settings, parts: Parts, sock: socket.socket) -> None:
    """Open the parts, serve on `sock` until SIGTERM or SIGINT, close the parts.

    Raises StoreUnavailable where the store cannot be opened, and CannotListen.
    """
    config = server_config(settings, sock)
    scheme = "https" if settings.tls_cert_file else "http"
    address = address_of(config)

    def announce() -> None:
        sys.stdout.write(f"listening on {scheme}://{address}\n")
        sys.stdout.flush()

    server = Server(settings, parts, announce)

    def on_signal() -> None:
        _end_process_after(settings.grace_seconds * EXIT_SHARE)
        server.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await parts.open()
    try:
        await server.run(config)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.grace_seconds * (1 - SERVER_SHARE)):
                await parts.close()


def _end_process_after(delay_s: float) -> None:
    """Let a thread end the process, whatever the event loop or a library's thread is doing.

    Nothing is lost by it: whatever a reader has seen was committed before it was sent.
    """
    timer = threading.Timer(delay_s, os._exit, (0,))
    timer.daemon = True
    timer.start()


def address_of(config: Config) -> str:
    """Host and port that the socket really has (port 0 means any free one)."""
    sock = socket.socket(fileno=os.dup(int(config.bind[0].removeprefix("fd://"))))
    with sock:
        host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
