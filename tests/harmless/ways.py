"""Ways between the suite and the reference server that break no rule, each as a context.

A way yields the address to judge and what the suite's environment needs for it. All that it starts
listens on loopback, lives in a temporary folder and ends with the context.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from chaos.nginx import PLACES, NginxServer
from tests.suite_process import listening

from .wire import Wire, WireServer

STARTED_S = 20.0
LATENCY_S = 0.1
"""Each way: a round trip takes 200 ms more."""
JITTER_S = 0.025
SLICE_BYTES = 700


@dataclass(frozen=True, slots=True)
class Place:
    """Where to judge."""

    url: str
    env: Mapping[str, str] = field(default_factory=dict)
    """What the suite's process needs, for instance the certificate that it may trust."""


Way = Callable[[Path], AbstractContextManager[Place]]


@contextmanager
def busy(folder: Path) -> Iterator[Place]:
    """Nothing in between, and a process on every core that never rests."""
    burners = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        with _reference(folder) as url:
            yield Place(url)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@contextmanager
def latency(folder: Path) -> Iterator[Place]:
    """A long way: 200 ms and up to 50 more there and back, differently for every piece."""
    with (
        _reference(folder) as url,
        _wired(url, Wire(latency_s=LATENCY_S, jitter_s=JITTER_S)) as address,
    ):
        yield Place(address)


@contextmanager
def slicer(folder: Path) -> Iterator[Place]:
    """Frames arrive in pieces of 700 bytes."""
    with _reference(folder) as url, _wired(url, Wire(slice_bytes=SLICE_BYTES)) as address:
        yield Place(address)


@contextmanager
def tls(folder: Path) -> Iterator[Place]:
    """The server itself speaks TLS."""
    key, certificate = _certificate(folder)
    env = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
    with _reference(folder, env) as url:
        port = urlsplit(url).port
        yield Place(f"https://localhost:{port}", {"SSL_CERT_FILE": str(certificate)})


@contextmanager
def http2(folder: Path) -> Iterator[Place]:
    """nginx ends TLS and speaks HTTP/2 with clients, as a platform's front end does."""
    key, certificate = _certificate(folder)
    with _reference(folder) as url:

        def config(own: str, listen: str) -> str:
            # Its own user may not read this folder.
            for pem in (key, certificate):
                (Path(own) / pem.name).write_bytes(pem.read_bytes())
            return NGINX.format(folder=own, listen=listen, server=urlsplit(url).netloc)

        with NginxServer(config) as server:
            address = f"https://localhost:{server.port}"
            yield Place(address, {"SSL_CERT_FILE": str(certificate)})


NGINX = (
    """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
"""
    + PLACES
    + """\
    client_max_body_size 2m;
    large_client_header_buffers 8 64k;
    server_tokens off;
    server {{
        listen {listen} ssl http2 backlog=4096;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://{server};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 75s;
        }}
    }}
}}
"""
)

WAYS: Mapping[str, Way] = {
    "busy": busy,
    "latency": latency,
    "slicer": slicer,
    "tls": tls,
    "http2": http2,
}

#: Those that keep every core busy by themselves.
ALONE = frozenset({"busy"})


@contextmanager
def _reference(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[str]:
    settings = {
        "SCRIPTED_PIPELINES": "1",
        "SQLITE_PATH": str(folder / "jobs.db"),
        "LOG_LEVEL": "critical",
        **(env or {}),
    }
    with listening("reference_server", env=settings) as (url, _):
        yield url


@contextmanager
def _wired(target: str, wire: Wire) -> Iterator[str]:
    """A wire to the target, in a thread with an event loop of its own."""
    began, end = threading.Event(), threading.Event()
    address = ""

    async def serve() -> None:
        nonlocal address
        parts = urlsplit(target)
        async with WireServer(str(parts.hostname), int(parts.port or 80), wire) as server:
            address = server.address
            began.set()
            await asyncio.to_thread(end.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert began.wait(STARTED_S), "the wire did not start"
        yield address
    finally:
        end.set()
        thread.join()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for localhost that nobody has signed."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return key, certificate
