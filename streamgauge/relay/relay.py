"""A deterministic HTTP proxy on loopback, between whoever asks and one target.

It parses heads and framing and lets bodies pass as bytes, so that what it does to them is exact. It
contacts nothing but its target (redirects are the client's business), and is bounded in
connections, bytes and time. Whatever it does to an exchange it writes into that exchange's note.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .cache import Answer, Cache, Fields, value_of
from .pace import CLEAN, Ending, Pace
from .powers import Powers
from .stages import HELD_BYTES_MAX, Pipeline
from .wire import Asked, ClientSide, Faulty, TargetSide, without_hops

EXCHANGE_HEADER = "Streamgauge-Exchange"
"""Names the exchange to the relay, and goes no further."""
MOVED = "/~moved"
"""Where a redirect of the relay leads: the same path below this."""
CONNECTIONS_MAX = 256
EXCHANGE_S_MAX = 600.0
REQUEST_S = 30.0


@dataclass(slots=True)
class Exchange:
    """What shall be done to one exchange, and what was."""

    powers: Powers
    prefix: str = ""
    note: dict[str, Any] = field(default_factory=dict)
    """`is`: what stands in between. `did`: how it ended the exchange, where it was the relay that
    did. `target`: what became of the way to the target, where it was not orderly. `fault`: the
    relay's own mistake."""


class Relay:
    """The proxy. Use as an async context manager, or `start` and `aclose`."""

    def __init__(
        self,
        target: str,
        powers: Powers | None = None,
        *,
        prefix: str = "",
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """
        Args:
            target: the only address that is ever contacted; a base path is left to the client.
            powers: what happens to exchanges that are not announced.
            prefix: the path prefix of such exchanges, see `announce`.
            connections_max: further ones are closed at once.
        """
        self.powers = powers or Powers()
        self._prefix = prefix
        self.address = ""
        """http://127.0.0.1:PORT, once started."""
        self._target = urlsplit(target)
        self._connections_max = connections_max
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._announced: dict[str, Exchange] = {}
        self._numbers = itertools.count(1)
        self._cache = Cache()
        self._context: ssl.SSLContext | None = None

    async def __aenter__(self) -> Relay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        if self._target.scheme == "https":
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"

    async def aclose(self) -> None:
        """Stop listening and end all that is open."""
        if self._server is not None:
            self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def announce(self, powers: Powers, prefix: str = "") -> tuple[str, dict[str, Any]]:
        """Arrange what happens to an exchange to come.

        Args:
            powers: what happens to it.
            prefix: the path prefix that it comes under; the target is asked without it, and a
                request that lacks it is answered 404.

        Returns:
            the value of `EXCHANGE_HEADER` that names it, and its note.
        """
        number = str(next(self._numbers))
        exchange = Exchange(powers, prefix, {"is": powers.words})
        self._announced[number] = exchange
        return number, exchange.note

    # -- one connection -------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= self._connections_max:
            writer.close()
            return
        self._tasks.add(task)
        try:
            async with asyncio.timeout(EXCHANGE_S_MAX):
                await self._serve(ClientSide(reader, writer))
        except (Faulty, OSError, TimeoutError, asyncio.CancelledError):
            pass  # the client did not speak HTTP, went away, or its time is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, client: ClientSide) -> None:
        async with asyncio.timeout(REQUEST_S):
            asked = await client.request()
        if asked is None:
            return
        number = value_of(asked.fields, EXCHANGE_HEADER.lower())
        exchange = self._announced.pop(number, None) or Exchange(self.powers, self._prefix)
        path = asked.target.removeprefix(MOVED)
        if not path.startswith(exchange.prefix + "/"):
            await self._own(client, 404, ())
            return
        path = path.removeprefix(exchange.prefix)
        powers = exchange.powers
        if powers.answer:
            told = (("Retry-After", powers.retry_after),) if powers.retry_after else ()
            await self._own(client, powers.answer, told)
            exchange.note["did"] = f"answered {powers.answer}"
            return
        if powers.redirect and not asked.target.startswith(MOVED):
            await self._own(client, powers.redirect, (("Location", MOVED + asked.target),))
            exchange.note["did"] = f"redirected with {powers.redirect}"
            return
        asked = Asked(asked.method, path, self._forwarded(asked, powers), asked.body)
        await self._race(client, self._exchange(client, asked, exchange), exchange)

    async def _race(
        self, client: ClientSide, work: Coroutine[Any, Any, None], exchange: Exchange
    ) -> None:
        """Do the work as long as the client is there."""
        working = asyncio.create_task(work)
        leaving = asyncio.create_task(client.left())
        cap_s = exchange.powers.cap_s or None
        try:
            done, _ = await asyncio.wait(
                {working, leaving}, timeout=cap_s, return_when=asyncio.FIRST_COMPLETED
            )
            if working in done:
                await working
            elif not done:
                exchange.note["did"] = f"cut {cap_s:g} s after the request"
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    async def _own(self, client: ClientSide, status: int, fields: Fields) -> None:
        """An answer of the relay itself."""
        length = (("Content-Length", "0"), ("Cache-Control", "no-store"))
        await client.head(status, (*fields, *length))
        await client.end()

    def _forwarded(self, asked: Asked, powers: Powers) -> Fields:
        own = {"host", "content-length", EXCHANGE_HEADER.lower()}
        fields = [(n, v) for n, v in without_hops(asked.fields) if n.lower() not in own]
        if powers.lower_case:
            fields = [(name.lower(), value) for name, value in fields]
        fields = [("Host", self._target.netloc), *fields, ("Connection", "close")]
        if asked.body or asked.method in ("POST", "PUT", "PATCH"):
            fields.append(("Content-Length", str(len(asked.body))))
        return tuple(fields)

    # -- one exchange ---------------------------------------------------------------------------

    async def _exchange(self, client: ClientSide, asked: Asked, exchange: Exchange) -> None:
        try:
            await self._ask(client, asked, exchange)
        except Faulty as faulty:
            exchange.note["target"] = str(faulty)
        except OSError:
            pass  # the client went away while it was written to
        except Exception as error:
            exchange.note["fault"] = f"{type(error).__name__}: {error}"

    async def _ask(self, client: ClientSide, asked: Asked, exchange: Exchange) -> None:
        powers, now = exchange.powers, asyncio.get_running_loop().time()
        if powers.cache and (known := self._cache.find(asked.method, *_key(asked), now)):
            exchange.note["did"] = "answered from its cache"
            await client.head(known.status, known.fields)
            if known.body and asked.method != "HEAD":
                await client.body(known.body)
            await client.end()
            return
        try:
            target = await TargetSide.connect(self._target, self._context)
        except (OSError, TimeoutError) as error:
            exchange.note["target"] = f"no connection to the target: {error or 'timed out'}"
            client.close(reset=True)
            return
        try:
            await self._answer(client, target, asked, exchange)
        finally:
            target.close()

    async def _answer(
        self, client: ClientSide, target: TargetSide, asked: Asked, exchange: Exchange
    ) -> None:
        powers = exchange.powers
        head = await target.ask(asked)
        fields = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in head.headers.raw_items()
        )
        bodiless = asked.method == "HEAD" or head.status_code in (204, 304)
        compress = powers.gzip and not bodiless and _may_compress(asked.fields, fields)
        willing = value_of(fields, "x-accel-buffering").strip().lower() == "no"
        pipeline = Pipeline(
            powers,
            compress=compress,
            hold_all=powers.hold_all or (powers.honour_accel and not willing),
        )
        if powers.latency_s:
            await asyncio.sleep(powers.latency_s)
        await client.head(head.status_code, _shown(fields, powers, compress=compress))
        pace = Pace(powers)
        kept = bytearray() if powers.cache else None
        reading = asyncio.create_task(_read(target, pipeline, pace, powers, kept))
        try:
            ending = await pace.run(client.body)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if ending is not CLEAN:
            exchange.note["target" if ending.by_target else "did"] = ending.why
            client.close(reset=ending.reset)
            return
        if kept is not None:
            answer = Answer(head.status_code, fields, bytes(kept))
            at = asyncio.get_running_loop().time()
            self._cache.offer(asked.method, *_key(asked), answer, at)
        if powers.slow_close_s:
            await asyncio.sleep(powers.slow_close_s)
        await client.end()


async def _read(
    target: TargetSide, pipeline: Pipeline, pace: Pace, powers: Powers, kept: bytearray | None
) -> None:
    """Read the target's body through the stages until it ends, or something ends it."""
    passed = 0
    ending = CLEAN
    try:
        while not pipeline.cut:
            async with asyncio.timeout(powers.idle_s or None):
                data = await target.body()
            if target.ended and not data:
                break
            if kept is not None and len(kept) < HELD_BYTES_MAX:
                kept += data
            if out := pipeline.feed(data):
                passed += len(out)
                await pace.put(out)
        if not pipeline.cut and (rest := pipeline.close()):
            passed += len(rest)
            await pace.put(rest)
    except TimeoutError:
        ending = Ending(f"cut after {powers.idle_s:g} s without a byte")
    except (Faulty, OSError) as error:
        ending = Ending(f"the target broke the answer off: {error}", by_target=True)
    if pipeline.cut:
        verb = "reset" if powers.reset else "cut"
        ending = Ending(f"{verb} after {passed} bytes", reset=powers.reset)
    await pace.put(ending)


def _key(asked: Asked) -> tuple[str, Fields]:
    return asked.target, asked.fields


def _may_compress(asked: Fields, answered: Fields) -> bool:
    """What a compressing proxy asks before it does (RFC 9110 §12.5.3, RFC 9111 §5.2.2.6)."""
    offered = value_of(asked, "accept-encoding").lower()
    told = value_of(answered, "cache-control").lower()
    coded = value_of(answered, "content-encoding").strip().lower() not in ("", "identity")
    text = value_of(answered, "content-type").lower().startswith(("text/", "application/json"))
    return "gzip" in offered and "no-transform" not in told and not coded and text


def _shown(fields: Fields, powers: Powers, *, compress: bool) -> Fields:
    """The answer's fields as the client gets them."""
    hidden = {name.lower() for name in powers.strip}
    if powers.honour_accel:
        hidden.add("x-accel-buffering")  # it was meant for the proxy
    if compress:
        hidden |= {"content-length", "etag"}
    kept = [(n, v) for n, v in fields if n.lower() not in hidden]
    if compress:
        kept += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return tuple(kept)
