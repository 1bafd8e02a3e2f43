"""Refuses what cannot be read safely, before any route sees it (protocol §1 "Errors").

Hypercorn lets through what RFC 9112 wants refused: both framings at once, HTTP versions that do not
exist. And neither it nor Quart reads on after an early refusal, so that the reset which follows
takes the answer away from a client that is still sending; the guard reads on for a while.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from .cors import CorsPolicy
from .edge import AsgiApp, Message, Receive, Scope, Send
from .problems import MEDIA_TYPE, Problem

BODY_MAX_BYTES: Final = 1_048_576
HEADER_SECTION_MAX_BYTES: Final = 32_768
#: How long an unread request body is read on after the answer, so that the answer arrives.
LINGER_S: Final = 2.0
_VERSIONS: Final = frozenset({"1.0", "1.1", "2"})
_ABSOLUTE_TARGET: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*(/.*)?", re.DOTALL)
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """An ASGI layer in front of the application."""

    def __init__(self, app: AsgiApp, cors: CorsPolicy, root_path: str) -> None:
        self._app = app
        self._cors = cors
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await _refuse_websocket(send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = self._path(scope["path"])
        problem = _unreadable(scope) if path is not None else Problem(400)
        if problem is not None:
            await self._refuse(problem, scope, receive, send)
            return
        scope = {**scope, "path": path}
        if _has_body(scope):
            body = _BodyWatch(receive, send)
            await self._app(scope, body.receive, body.send)
        else:
            await self._app(scope, receive, send)

    def error_answer(self, scope: Scope, status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body of a refusal that closes the connection."""
        problem = Problem(status)
        body = problem.body()
        origin = _header(scope, b"origin")
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            **problem.headers,
            **self._cors.answer_headers(None if origin is None else origin.decode("latin1")),
        }
        if scope["http_version"] != "2":
            headers["Connection"] = "close"
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()], body

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        headers, body = self.error_answer(scope, problem.status)
        watch = _BodyWatch(receive, send)
        reading = asyncio.ensure_future(watch.read_on())
        try:
            await watch.send(
                {"type": "http.response.start", "status": problem.status, "headers": headers}
            )
            await watch.send({"type": "http.response.body", "body": body, "more_body": False})
        finally:
            reading.cancel()

    def _path(self, path: str) -> str | None:
        """The path to route by: origin form, without the prefix. None: not a request target."""
        if not path.startswith("/"):
            match = _ABSOLUTE_TARGET.fullmatch(path)
            if match is None and path != "*":
                return None
            path = "/*" if match is None else match.group(1) or "/"
        if self._root_path and path.startswith(f"{self._root_path}/"):
            path = path.removeprefix(self._root_path)
        return path


class _BodyWatch:
    """Holds an answer's end back until the request's body has been read, for a bounded time."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._read = asyncio.Event()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._read.set()
        return message

    async def read_on(self) -> None:
        while not self._read.is_set():
            await self.receive()

    async def send(self, message: Message) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and not self._read.is_set():
            await self._send({**message, "more_body": True})
            try:
                async with asyncio.timeout(LINGER_S):
                    await self._read.wait()
            except TimeoutError:
                pass  # enough: whoever is still sending now has had the time to look up
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


def _unreadable(scope: Scope) -> Problem | None:
    """The first reason not to read this request at all."""
    length = _header(scope, b"content-length")
    coding = _header(scope, b"transfer-encoding")
    expect = _header(scope, b"expect")
    version = scope["http_version"]
    if version not in _VERSIONS:
        return Problem(400)
    if coding is not None and (length is not None or version == "1.0"):
        return Problem(400)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_SECTION_MAX_BYTES:
        return Problem(431)
    if expect is not None and expect.strip().lower() != b"100-continue":
        return Problem(417)
    if length is not None and _exceeds(length, BODY_MAX_BYTES):
        return Problem(413)
    return None


def _exceeds(length: bytes, limit: int) -> bool:
    """True for a declared length over the limit; never converts a number of absurd size."""
    digits = length.lstrip(b"0")
    return digits.isdigit() and (len(digits) > len(str(limit)) or int(digits) > limit)


def _has_body(scope: Scope) -> bool:
    if scope["method"] not in _BODILESS:
        return True
    length = _header(scope, b"content-length")
    return length not in (None, b"0") or _header(scope, b"transfer-encoding") is not None


def _header(scope: Scope, name: bytes) -> bytes | None:
    values: list[bytes] = [value for key, value in scope["headers"] if key.lower() == name]
    return b", ".join(values) if values else None


async def _refuse_websocket(send: Send) -> None:
    """There is nothing here for a WebSocket; say so in HTTP."""
    problem = Problem(400)
    body = problem.body()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send(
        {"type": "websocket.http.response.start", "status": problem.status, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
