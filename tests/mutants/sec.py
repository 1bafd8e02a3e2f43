"""Servers in which a client's text becomes protocol, and errors that tell too much."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any
from urllib.parse import unquote

from .model import Mutant
from .wire import on_frames

_RAW = (
    *(f"WIRE-{n:02}" for n in (3, 7, 8, 10)),
    *("REPLAY-01", "REPLAY-02", "PRIV-02", "HDR-11", "PAD-01"),
)


def _raw_line_ends(*ends: tuple[bytes, bytes]) -> None:
    """Texts are pasted into their frame; only some line ends were thought of."""

    def pasted(frame: bytes, _name: str) -> bytes:
        for escaped, raw in ends:
            frame = frame.replace(escaped, raw)
        return frame + b"\n" if b"\n\n" not in frame[-2:] else frame

    on_frames(pasted, "agent_chunk")


def _reflected(header: str, mark: str) -> None:
    """Send a request's header back, its escapes undone, past the library that would refuse it."""
    import h11._writers as writers
    from quart import Response, request

    from reference_server import app

    make, original = app.create_app, writers.write_any_response

    def reflecting(settings: Any, parts: Any) -> Any:
        made = make(settings, parts)

        async def reflect(response: Response) -> Response:
            value = request.headers.get(header)
            if value and value.isascii() and value.isprintable():
                response.headers[mark] = value
            return response

        made.after_request(reflect)
        return made

    def written(response: Any, write: Callable[[bytes], Any]) -> None:
        parts: list[bytes] = []
        original(response, parts.append)
        lines = b"".join(parts).split(b"\r\n")
        name = mark.lower().encode() + b":"
        write(
            b"\r\n".join(
                unquote(line.decode("latin-1")).encode() if line.lower().startswith(name) else line
                for line in lines
            )
        )

    app.create_app = reflecting
    for key, writer in list(writers.WRITERS.items()):
        if writer is original:
            writers.WRITERS[key] = written


def _named_by_clients() -> None:
    """A client may name its stream, and the name stands in it as it was given."""
    from quart import request

    from reference_server.api import stream as view

    original = view.event_stream

    async def named(chunks: AsyncGenerator[bytes, None], name: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks) as each:
            async for chunk in each:
                yield chunk
                if name:
                    yield f": for {name}\n\n".encode()
                    name = ""

    def with_name(response: Any) -> Any:
        answer = original(response)
        name = request.args.get("name", "")
        if name and request.method == "GET":
            answer.response.iter = named(answer.response.iter, name)
        return answer

    view.event_stream = with_name


def _detailed(more: Callable[[Any], str]) -> None:
    """Say more in the details of problem documents."""
    from reference_server.problems import Problem

    original = Problem.__init__

    def init(self: Problem, status: int, detail: str | None = None, **rest: Any) -> None:
        original(self, status, detail, **rest)
        self.detail = f"{self.detail}{more(self)}"

    Problem.__init__ = init  # type: ignore[method-assign]


def _trace(problem: Any) -> str:
    if problem.status != 422:
        return ""
    return (
        "\nTraceback (most recent call last):\n"
        f'  File "{__file__}", line 97, in start\n    read_start(body)\nValueError: fields'
    )


def _place(problem: Any) -> str:
    return f" (looked in {__file__.removesuffix('.py')}/jobs)" if problem.status == 404 else ""


def _product(problem: Any) -> str:
    return f" -- quart/0.20.0 on Python {platform.python_version()}" * (problem.status == 400)


def _tells_others() -> None:
    """A refused client is told who was let in before it."""
    from reference_server.api import start

    accepted: list[str] = []
    created = start.StartApi._create

    async def noted(self: start.StartApi, new: Any) -> Any:
        outcome = await created(self, new)
        if isinstance(outcome, start.Created):
            accepted.append(new.job_id)
        return outcome

    start.StartApi._create = noted  # type: ignore[method-assign]
    _detailed(
        lambda problem: (
            f" The last job was {accepted[-1]}." if problem.status == 415 and accepted else ""
        )
    )


def _few_workers(workers: int) -> None:
    """A connection occupies one of a few workers until its header section is there."""
    from hypercorn.asyncio import tcp_server

    from reference_server import edge

    run, call = tcp_server.TCPServer.run, edge.Edge.__call__
    free: list[asyncio.Semaphore] = []

    async def occupied(self: tcp_server.TCPServer) -> None:
        if not free:
            free.append(asyncio.Semaphore(workers))
        await free[0].acquire()
        self.occupies = True  # type: ignore[attr-defined]
        try:
            await run(self)
        finally:
            _release(self)

    def _release(server: Any) -> None:
        if server.occupies:
            server.occupies = False
            free[0].release()

    async def begun(self: edge.Edge, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            _release(send.__self__.send.__self__.send.__self__)
        await call(self, scope, receive, send)

    tcp_server.TCPServer.run = occupied  # type: ignore[method-assign]
    edge.Edge.__call__ = begun  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="sec-raw-line-feeds",
        breaks=("SEC-01",),
        follows=_RAW,
        patch=partial(_raw_line_ends, (rb"\r", b"\r"), (rb"\n", b"\n")),
        about="Texts are pasted into their frame with all their line ends.",
    ),
    Mutant(
        name="sec-raw-carriage-returns",
        breaks=("SEC-01",),
        follows=_RAW,
        patch=partial(_raw_line_ends, (rb"\r", b"\r")),
        about="The encoder thinks of LF and forgets that CR ends a line, too.",
    ),
    Mutant(
        name="sec-header-crlf",
        breaks=("SEC-02",),
        patch=partial(_reflected, "X-Request-Id", "X-Request-Id"),
        about="X-Request-Id comes back with its escapes undone.",
    ),
    Mutant(
        name="sec-client-id-crlf",
        breaks=("SEC-02",),
        patch=partial(_reflected, "X-Client-Id", "X-Client"),
        about="The client id comes back with its escapes undone.",
    ),
    Mutant(
        name="sec-named-streams",
        breaks=("SEC-02",),
        patch=_named_by_clients,
        about="A name from the query is pasted into a comment of the stream.",
    ),
    Mutant(
        name="sec-traceback",
        breaks=("SEC-03",),
        patch=partial(_detailed, _trace),
        about="Errors hold a traceback.",
    ),
    Mutant(
        name="sec-paths",
        breaks=("SEC-03",),
        patch=partial(_detailed, _place),
        about="Errors tell where on the disk something was looked for.",
    ),
    Mutant(
        name="sec-versions",
        breaks=("SEC-03",),
        patch=partial(_detailed, _product),
        about="Errors tell products and their versions.",
    ),
    Mutant(
        name="sec-tells-others",
        breaks=("SEC-03",),
        patch=_tells_others,
        about="A refused client is told the id of another client's job.",
    ),
    Mutant(
        name="sec-few-workers",
        breaks=("SEC-04",),
        follows=("QUOTA-07",),
        patch=partial(_few_workers, 64),
        about="Sixty-four connections that send no request keep everybody else out.",
    ),
]
