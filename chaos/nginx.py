"""nginx in front of instances: a load balancer that is right for streams, and one that buffers.

The balancer's configuration is what a real deployment needs for streams and no more; each line that
is there for streams says so. The other one is what many deployments have.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Sequence
from typing import Final

from .services import MissingProgram, Service, private_folder

ROUND_ROBIN: Final = "round-robin"
STICKY_SESSION: Final = "sticky-session"
STICKY_COOKIE: Final = "sticky-cookie"
BALANCES: Final = (ROUND_ROBIN, STICKY_SESSION, STICKY_COOKIE)

#: What the same client always has the same of; a client without it goes anywhere.
_STICKY_BY: Final = {STICKY_SESSION: "$http_x_session_id", STICKY_COOKIE: "$cookie_instance"}

PLACES: Final = """\
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
"""
"""Where nginx may write, instead of in the system's folders."""

_CONFIG: Final = (
    """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
"""
    + PLACES
    + """\
    client_max_body_size 2m;
{sticky_map}
    upstream instances {{
{balance}
{servers}
        keepalive 64;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://instances;
            proxy_http_version 1.1;          # without it streams are HTTP/1.0 and cannot be chunked
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffering off;             # an event leaves when it comes
            proxy_read_timeout 60s;          # heartbeats come at least four times as often
            proxy_next_upstream error timeout;
            proxy_connect_timeout 1s;
{sticky_header}
        }}
    }}
}}
"""
)

_BUFFERING: Final = (
    """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
"""
    + PLACES
    + """\
    server {{
        listen {listen};
        location / {{
            proxy_pass http://{upstream};
            proxy_http_version {version};
            proxy_buffering on;
            proxy_buffer_size 4k;
            proxy_buffers 8 4k;
            proxy_ignore_headers X-Accel-Buffering;
        }}
    }}
}}
"""
)


class NginxServer(Service):
    """Listens on a free loopback port."""

    def __init__(self, config: Callable[[str, str], str]) -> None:
        """`config`: the text of nginx.conf, of its folder and where it listens.

        Raises MissingProgram.
        """
        found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if found is None:
            raise MissingProgram("nginx", "apt-get install -y nginx")
        self._program = found
        folder, user = private_folder("nginx")
        super().__init__(folder, user)
        text = config(str(folder), f"127.0.0.1:{self.port}")
        (folder / "nginx.conf").write_text(text)

    def command(self) -> list[str]:
        return [self._program, "-p", str(self.folder), "-e", "stderr", "-c", self._config]

    @property
    def _config(self) -> str:
        return str(self.folder / "nginx.conf")

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def configuration(folder: str, listen: str, instances: Sequence[str], balance: str) -> str:
    """The text of nginx.conf.

    Args:
        folder: where nginx may write.
        listen: address and port.
        instances: the same of each instance.
        balance: one of `BALANCES`.
    """
    sticky_by = _STICKY_BY.get(balance)
    sticky_map = sticky_header = hashed = ""
    if sticky_by is not None:
        sticky_map = f'    map {sticky_by} $stick_to {{ "" $request_id; default {sticky_by}; }}'
        hashed = "        hash $stick_to consistent;"
    if balance == STICKY_COOKIE:
        sticky_header = '            add_header Set-Cookie "instance=$stick_to; Path=/" always;'
    return _CONFIG.format(
        folder=folder,
        listen=listen,
        sticky_map=sticky_map,
        balance=hashed,
        # A peer that failed counts as well again only when a request to it has *ended*: with
        # streams, which do not end, nginx would let one reader a second back in after an outage.
        servers="\n".join(f"        server {instance} max_fails=0;" for instance in instances),
        sticky_header=sticky_header,
    )


def buffering(folder: str, listen: str, upstream: str, version: str) -> str:
    """The text of a nginx.conf that buffers in 4 KiB, whatever the answer says of it.

    Args:
        folder: where nginx may write.
        listen: address and port.
        upstream: the same of the one server behind it.
        version: of HTTP, towards that one: 1.0 (nginx's default for long) or 1.1.
    """
    return _BUFFERING.format(folder=folder, listen=listen, upstream=upstream, version=version)
