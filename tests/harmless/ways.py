"""Ways between the suite and the reference server that break no rule, each as a context.

A way yields the address to judge and what the suite's environment needs for it. All that it starts
listens on loopback, lives in a temporary folder and ends with the context.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

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
    port = _free_port()
    with _reference(folder) as url:
        settings = folder / "nginx.conf"
        settings.write_text(
            NGINX.format(
                folder=folder,
                port=port,
                key=key,
                certificate=certificate,
                server=urlsplit(url).netloc,
            )
        )
        with _program(["nginx", "-c", str(settings), "-e", "stderr"], port):
            yield Place(f"https://localhost:{port}", {"SSL_CERT_FILE": str(certificate)})


NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 2m;
    large_client_header_buffers 8 64k;
    server_tokens off;
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
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

WAYS: Mapping[str, Way] = {
    "busy": busy,
    "latency": latency,
    "slicer": slicer,
    "tls": tls,
    "http2": http2,
}


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


@contextmanager
def _program(command: list[str], port: int) -> Iterator[None]:
    path = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
    assert path, f"{command[0]} is not installed: make deps-system"
    process = subprocess.Popen([path, *command[1:]], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + STARTED_S
        while not _listens(port):
            assert time.monotonic() < until and process.poll() is None, f"{command[0]} is not up"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for localhost that nobody has signed."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return key, certificate
