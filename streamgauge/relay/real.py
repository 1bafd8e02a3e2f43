"""Real proxies in their stock reverse-proxy configuration, started on loopback for one scenario.

They run in a temporary folder of their own and on a free port, never as the system's service, and
are ended by their process id. What they proxy to is the relay, so that they reach any target.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

START_S = 8.0
STOP_S = 2.0
_LOOK_EVERY_S = 0.03
_PLACES = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/sbin"))

_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {upstream}; }}
    }}
}}
"""
_HAPROXY = """\
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server target {authority}
"""
_CADDY = """\
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    reverse_proxy {authority}
}}
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """One proxy program."""

    name: str
    config: str
    command: Callable[[str, Path], list[str]]
    """Of the program's path and the configuration's."""

    @property
    def program(self) -> str | None:
        """Where it is installed, None where it is not."""
        path = os.environ.get("PATH", os.defpath) + os.pathsep + _PLACES
        return shutil.which(self.name, path=path)


KINDS = (
    Kind("nginx", _NGINX, lambda program, file: [program, "-c", str(file), "-e", "stderr"]),
    Kind("haproxy", _HAPROXY, lambda program, file: [program, "-db", "-f", str(file)]),
    Kind(
        "caddy",
        _CADDY,
        lambda program, file: [program, "run", "--adapter", "caddyfile", "--config", str(file)],
    ),
)
INSTALL = "apt-get install nginx haproxy caddy"


class RealProxy:
    """One running proxy; end it with `stop`."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.address = ""
        self.trouble = ""
        """Why it does not run."""
        self._process: asyncio.subprocess.Process | None = None
        self._folder = tempfile.TemporaryDirectory(prefix=f"streamgauge-{kind.name}-")

    async def start(self, upstream: str) -> bool:
        """Start it in front of an http:// address; tells whether it takes connections."""
        folder, port = Path(self._folder.name), _free_port()
        file = folder / "config"
        authority = upstream.removeprefix("http://")
        file.write_text(
            self.kind.config.format(
                folder=folder, port=port, upstream=upstream, authority=authority
            ),
            "utf-8",
        )
        program = self.kind.program
        if program is None:
            self.trouble = f"{self.kind.name} is not installed"
            return False
        home = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        with (folder / "output").open("wb") as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self.kind.command(program, file),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    env={"PATH": os.environ.get("PATH", os.defpath), **home},
                )
            except OSError as error:
                self.trouble = f"{self.kind.name} could not be started: {error}"
                return False
        if await self._takes_connections(port):
            self.address = f"http://127.0.0.1:{port}"
            return True
        said = (folder / "output").read_text("utf-8", "replace").strip().splitlines()
        self.trouble = f"{self.kind.name} did not start: {said[-1][:200] if said else 'no word'}"
        return False

    async def _takes_connections(self, port: int) -> bool:
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                while self._process.returncode is None:
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        await asyncio.sleep(_LOOK_EVERY_S)
                        continue
                    writer.close()
                    return True
        return False

    async def stop(self) -> None:
        """End the process and remove its folder."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._folder.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
