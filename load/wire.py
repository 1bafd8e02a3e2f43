"""HTTP/1.1 on plain sockets under gevent, as little of it as reading event streams takes.

A load generator that costs more per event than its target measures itself. So the bytes of a stream
go from `recv` to the judge with one copy, and the moment of that `recv` is the event's arrival.
"""

from __future__ import annotations

import socket as plain
import ssl
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import gevent
from gevent import monkey, socket
from gevent.ssl import SSLContext

from streamgauge.framing import (
    Cut,
    Head,
    Headers,
    NoConnection,
    request_bytes,
    said,
    take_head,
)

CONNECT_S: Final = 10.0
"""A TCP and TLS handshake that takes longer is no connection."""
ANSWER_S: Final = 10.0
"""From a request to the end of its answer's head; for whole answers to their end."""
READABLE: Final = 1
"""The event loop's word for it."""
READ_BYTES: Final = 65_536
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """Where the target is, resolved once: look-ups per stream would measure the resolver."""

    host: str
    port: int
    path: str
    """Stands before every path, without a slash at its end."""
    query: str
    """What the address itself asks for; sent where the address is the stream."""
    authority: str
    tls: SSLContext | None
    resolved: tuple[tuple[int, tuple[object, ...]], ...] = field(compare=False)

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises ValueError where it is no http or https URL, NoConnection for an unknown host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"expected an address that begins with http:// or https://, got {url!r}"
            )
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        tls = None
        if secure:
            tls = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            tls.load_default_certs()
            tls.set_alpn_protocols(["http/1.1"])
        try:
            found = socket.getaddrinfo(parts.hostname, port, 0, socket.SOCK_STREAM)
        except plain.gaierror as error:
            raise NoConnection(
                f"the host {parts.hostname} is not known: {error.strerror}"
            ) from error
        resolved = tuple((family, address) for family, _, _, _, address in found)
        authority = parts.netloc.rpartition("@")[2]
        path = parts.path.rstrip("/")
        return cls(parts.hostname, port, path, parts.query, authority, tls, resolved)

    def connect(self, receive_bytes: int = 0) -> socket.socket:
        """A connection. `receive_bytes`: how much the system keeps for a slow reader; 0: its own.

        Raises NoConnection.
        """
        error: Exception | None = None
        for family, address in self.resolved:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                if receive_bytes:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
                sock.settimeout(CONNECT_S)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls is not None:
                    sock = self.tls.wrap_socket(sock, server_hostname=self.host)
            except OSError as caught:
                sock.close()
                error = caught
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise NoConnection(f"no connection to {self.authority}: {said(error)}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    fields: dict[str, str]
    body: bytes


class Exchange:
    """One request on a connection of its own, and its answer as it comes."""

    __slots__ = ("_data", "_drained", "_hub", "_io", "_sock", "body", "head", "received_at")

    def __init__(
        self,
        address: Address,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | None = None,
        receive_bytes: int = 0,
    ) -> None:
        """Connect, send, and read the answer's head. Raises WireError."""
        self._data = b""
        self.received_at = 0.0
        """Unix time of the last read."""
        self._hub: Any = None
        self._io: Any = None
        self._drained = False
        """The last read took all that there was."""
        self._sock = address.connect(receive_bytes)
        try:
            self._sock.settimeout(ANSWER_S)
            self._sock.sendall(request_bytes(address.authority, method, target, headers, body))
            self.head = self._read_head()
            self._sock.settimeout(None)
            if address.tls is None:
                self._go_raw()
        except TimeoutError:
            self.close()
            raise Cut(
                f"no answer to {method} {target.partition('?')[0]} in {ANSWER_S:g} s"
            ) from None
        except OSError as error:
            self.close()
            raise Cut(f"the connection broke before the answer: {said(error)}") from error
        except BaseException:
            self.close()
            raise
        self.body = self.head.body()

    def _read_head(self) -> Head:
        raw = b""
        while (taken := take_head(raw)) is None:
            data = self._sock.recv(READ_BYTES)
            self.received_at = time.time()
            if not data:
                raise Cut("the connection was closed before the answer")
            raw += data
        head, self._data = taken
        return head

    def read(self, size: int = READ_BYTES) -> bytes:
        """The next bytes of the body, b"" at its end. Raises Cut."""
        body = self.body
        while not body.ended:
            if self._data:
                data, self._data = self._data, b""
            else:
                try:
                    data = self._sock.recv(size) if self._io is None else self._recv(size)
                except OSError as error:
                    raise Cut(f"the connection broke: {said(error)}") from error
                self.received_at = time.time()
                if not data:
                    if body.cut():
                        raise Cut("the connection was closed in the middle of the answer")
                    return b""
            if part := body.feed(data):
                return part
        return b""

    def _go_raw(self) -> None:
        """Wait for bytes and take them, instead of taking them in vain and waiting then.

        A gevent socket tries first; on a stream of single events every second try fails, and costs
        more than the read that succeeds.
        """
        raw = monkey.get_original("socket", "socket")
        self._sock = raw(fileno=self._sock.detach())
        self._sock.setblocking(False)
        self._hub = gevent.get_hub()
        self._io = self._hub.loop.io(self._sock.fileno(), READABLE)

    def _recv(self, size: int) -> bytes:
        while True:
            if self._drained:
                self._hub.wait(self._io)
            try:
                data: bytes = self._sock.recv(size)
            except BlockingIOError:
                self._drained = True
                continue
            self._drained = len(data) < size
            return data

    def close(self) -> None:
        """Leave. A greenlet that waits in `read` gets a `Cut`."""
        if self._io is not None:
            io, self._io = self._io, None
            self._hub.cancel_wait(io, OSError("left"), close_watcher=True)
        self._sock.close()


def ask(
    address: Address, method: str, target: str, headers: Headers, body: bytes | None = None
) -> Answer:
    """One exchange, its answer read to the end, within `ANSWER_S`. Raises WireError."""
    exchange: Exchange | None = None
    with gevent.Timeout(ANSWER_S, Cut(f"no answer, or none that ends, in {ANSWER_S:g} s")):
        try:
            exchange = Exchange(address, method, target, headers, body)
            parts: list[bytes] = []
            size = 0
            while part := exchange.read():
                parts.append(part)
                size += len(part)
                if size > ANSWER_BYTES_MAX:
                    raise Cut(f"the answer is longer than {ANSWER_BYTES_MAX} octets")
            return Answer(exchange.head.status, exchange.head.fields, b"".join(parts))
        finally:
            if exchange is not None:
                exchange.close()


def quoted(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")
