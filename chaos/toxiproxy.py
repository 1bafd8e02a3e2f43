"""Toxiproxy, and the links of a deployment that lead through it.

The server is the real one: a running one by TOXIPROXY_URL, else `toxiproxy-server` on the PATH or
in `.tools` (`make deps-toxiproxy` puts it there), started here on a free loopback port. It is
driven through toxiproxy-python behind a facade for what that client lacks: its address is a class
attribute, so that one process has one server; it cannot change a toxic; a clash of listening ports
is a KeyError; a toxic that is added twice raises that the *proxy* exists.

What was tried with 2.12 and an open stream, and is not what the names suggest: `timeout` 0 drops
data and closes when it is taken away; `bandwidth` 0 is a pause that loses nothing; `reset_peer`
ends an open stream with the next chunk; `limit_data` counts from when it was added.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import requests
from toxiproxy import Toxiproxy
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists
from toxiproxy.proxy import Proxy

from .services import MissingProgram, Service, ServiceFailed
from .toxics import DOWN, Toxic

TOOLS: Final = Path(__file__).parents[1] / ".tools"
PROGRAM: Final = "toxiproxy-server"
INSTALL: Final = "make deps-toxiproxy (needs Go)"
ANSWER_S: Final = 10.0
CALLS: Final = ("get", "post", "delete")


def installed() -> str:
    """Where the program is. Raises MissingProgram."""
    found = shutil.which(PROGRAM) or shutil.which(str(TOOLS / PROGRAM))
    if found is None:
        raise MissingProgram("Toxiproxy", INSTALL)
    return found


class ToxiproxyServer(Service):
    """One server for all the links of this process. Use as a context manager."""

    def __init__(self) -> None:
        """Raises MissingProgram."""
        self._external = os.environ.get("TOXIPROXY_URL", "")
        self._program = "" if self._external else installed()
        super().__init__(Path(tempfile.mkdtemp(prefix="streamgauge-toxiproxy-")), None)
        self._links: list[Link] = []
        self._toxiproxy = Toxiproxy()

    def command(self) -> list[str]:
        return [self._program, "-host", "127.0.0.1", "-port", str(self.port)]

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(ANSWER_S)
            return probe.connect_ex((self._host, self._port)) == 0

    @property
    def _host(self) -> str:
        return urlsplit(self._external).hostname or "127.0.0.1"

    @property
    def _port(self) -> int:
        return (urlsplit(self._external).port or 8474) if self._external else self.port

    @property
    def version(self) -> str:
        """What the server says it is; a build by `go install` says "git"."""
        with urllib.request.urlopen(f"{self._url}/version", timeout=ANSWER_S) as answer:
            text = answer.read(1024).decode()
        return str(json.loads(text).get("version", "")) if text.startswith("{") else text

    @property
    def _url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def __enter__(self) -> Self:
        if self._external:
            if not self.answers():
                raise ServiceFailed(f"no Toxiproxy answers at TOXIPROXY_URL={self._external}")
        else:
            super().__enter__()
        self._toxiproxy.update_api_consumer(self._host, self._port)
        for name in CALLS:
            call = getattr(APIConsumer, name)
            if not hasattr(call, "bounded"):
                setattr(APIConsumer, name, staticmethod(_bounded(call)))
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            for link in self._links:
                link.remove()
        finally:
            super().__exit__(*exc)

    def link(self, name: str, port: int) -> Link:
        """A new link to a port of this machine.

        Raises:
            ServiceFailed: there is one of this name, or it could not be made.
        """
        unique = f"{os.getpid()}-{name}"
        try:
            proxy = self._toxiproxy.create(
                upstream=f"127.0.0.1:{port}", name=unique, listen="127.0.0.1:0"
            )
        except (ProxyExists, KeyError, requests.RequestException) as error:
            raise ServiceFailed(f"Toxiproxy made no link {name}: {error!r}") from error
        link = Link(name, proxy, self._url)
        self._links.append(link)
        return link


class Link:
    """A listening port that leads to another one, until it is told otherwise."""

    def __init__(self, name: str, proxy: Proxy, api: str) -> None:
        self.name = name
        self._proxy = proxy
        self._api = f"{api}/proxies/{proxy.name}"
        self._toxics: set[str] = set()

    @property
    def port(self) -> int:
        """Where it listens; the same before and after it was down."""
        return int(self._proxy.listen.rpartition(":")[2])

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it."""
        return bool(self._proxy.enabled) and not self._toxics

    def poison(self, toxic: Toxic) -> None:
        """Begin a fault. Raises ServiceFailed."""
        try:
            if toxic.type == DOWN:
                self._proxy.disable()
                return
            name = f"{toxic.type}-{toxic.stream}"
            # Toxicity is rolled once a connection, from a generator that cannot be seeded.
            self._proxy.add_toxic(
                type=toxic.type,
                stream=toxic.stream,
                name=name,
                toxicity=1.0,
                attributes=dict(toxic.attributes),
            )
            self._toxics.add(name)
        except (ProxyExists, InvalidToxic, NotFound, KeyError) as error:
            raise ServiceFailed(f"{self.name}: no {toxic.type}: {error}") from error
        except requests.RequestException as error:
            raise ServiceFailed(f"Toxiproxy does not answer: {error}") from error

    def change(self, toxic: Toxic) -> None:
        """Give a fault that is under way other attributes. Raises ServiceFailed."""
        url = f"{self._api}/toxics/{toxic.type}-{toxic.stream}"
        body: dict[str, Any] = {"attributes": dict(toxic.attributes)}
        try:
            answer = requests.patch(url, json=body, timeout=ANSWER_S)
        except requests.RequestException as error:
            raise ServiceFailed(f"Toxiproxy does not answer: {error}") from error
        if answer.status_code != 200:
            raise ServiceFailed(f"{self.name}: {toxic.type} was not changed: {answer.text[:200]}")

    def heal(self) -> None:
        """End every fault of it. Raises ServiceFailed."""
        try:
            for name in tuple(self._toxics):
                self._proxy.destroy_toxic(name)
                self._toxics.discard(name)
            if not self._proxy.enabled:
                self._proxy.enable()
        except (NotFound, KeyError, requests.RequestException) as error:
            raise ServiceFailed(f"{self.name}: was not healed: {error!r}") from error

    def remove(self) -> None:
        """Take it away; a server that has gone has taken it along."""
        try:
            self._proxy.destroy()
        except (NotFound, requests.RequestException):
            return


def _bounded(call: Callable[..., Any]) -> Callable[..., Any]:
    """The client's own calls wait for ever."""

    def bounded(*args: Any, **kwargs: Any) -> Any:
        return call(*args, timeout=ANSWER_S, **kwargs)

    bounded.bounded = True  # type: ignore[attr-defined]
    return bounded
