"""The client that talks to the target and records every byte with its time of arrival.

httpx carries the requests; nothing of it reaches a judgement. Redirects are not followed (no
request goes to an address that the user did not name), proxies of the environment are not used for
loopback targets, and every read has a bound on the wall clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from .clock import RunClock
from .members import PLAIN, Members
from .recording import End, PackedReads, Read, Recording, Request
from .relay import Via
from .secrets import REDACTED, Secrets
from .sse import Block, Parser
from .verdict import ReadsOnly

Headers = Iterable[tuple[str, str]]

CONNECT_S = 10.0
"""A TCP and TLS handshake that takes longer is no connection."""
ANSWER_S = 10.0
"""Default bound on an exchange that should answer at once."""
ANSWER_BYTES_MAX = 128 * 1024 * 1024
"""No answer is read beyond this."""
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_ALWAYS_SECRET = frozenset({"authorization", "cookie", "set-cookie", "proxy-authorization"})


class Client:
    """One target's address, the headers that go with every request, and the run's clock."""

    def __init__(
        self,
        base_url: str,
        clock: RunClock,
        headers: Headers = (),
        *,
        query: Headers = (),
        members: Members = PLAIN,
        reads_only: str = "",
    ) -> None:
        """
        Args:
            base_url: the address that the user named.
            clock: the run's.
            headers: sent with every request, redacted in every record.
            query: parameters that every URL gets, redacted likewise.
            members: where this target keeps types and ids.
            reads_only: why nothing may be asked for that could change the target; "" if it may.
        """
        self.base_url = base_url.rstrip("/")
        self.clock = clock
        self.extra_headers = tuple(headers)
        self.members = members
        self.reads_only = reads_only
        self.secrets = Secrets(self.extra_headers, tuple(query))
        self.doubts = 0
        """How many exchanges have ended as if the target were gone."""
        self.asked_at = 0.0
        """When the last exchange began."""
        context = ssl.create_default_context()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        timeout = httpx.Timeout(None, connect=CONNECT_S)
        # A fresh connection for each exchange: a kept one that the target closes at the wrong
        # moment would look like a fault of the target.
        self._http = httpx.AsyncClient(
            verify=context,
            limits=limits,
            timeout=timeout,
            trust_env=not is_loopback(base_url),
            follow_redirects=False,
        )
        self._http.headers.clear()

    async def aclose(self) -> None:
        await self._http.aclose()

    def url(self, path: str) -> str:
        """Absolute URL of a path of the API; a whole URL (from `resolve`) is left as it is."""
        if not path.startswith("/"):
            return path
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}"

    def below(self, url: str) -> str:
        """Path and query of one of this target's URLs, without the base URL's own path."""
        parts = urlsplit(self.url(url))
        path = parts.path.removeprefix(urlsplit(self.base_url).path.rstrip("/"))
        return path + (f"?{parts.query}" if parts.query else "")

    def resolve(self, reference: str) -> str:
        """Absolute URL of a reference that the target answered (RFC 3986).

        Whatever host the target names, only the one that the user named is ever asked.
        """
        base = urlsplit(self.base_url)
        parts = urlsplit(urljoin(self.base_url + "/", reference))
        told = self.secrets.stripped(parts.query)
        query = f"?{told}" if told else ""
        return f"{base.scheme}://{base.netloc}{parts.path}{query}"

    async def ask(
        self,
        method: str,
        path: str,
        *,
        label: str,
        headers: Headers = (),
        body: bytes | None = None,
        bound_s: float = ANSWER_S,
        info: Mapping[str, Any] | None = None,
    ) -> Recording:
        """Make one exchange and read its answer to the end, for at most `bound_s`."""
        live = self.open(
            path, method=method, label=label, headers=headers, body=body, bound_s=bound_s, info=info
        )
        return await live.finish()

    def open(
        self,
        path: str,
        *,
        label: str,
        method: str = "GET",
        headers: Headers = (),
        body: bytes | None = None,
        bound_s: float,
        info: Mapping[str, Any] | None = None,
        bulk: bool = False,
        via: Via | None = None,
    ) -> LiveExchange:
        """Begin an exchange in the background; it ends by itself within `bound_s`.

        `bulk`: one of hundreds alike; it is not parsed as it comes, and its record is packed.
        `via`: the way through the relay; what is recorded is the request as the target gets it.
        """
        self.require_harmless(method)
        own = tuple(headers)
        named = {name.lower() for name, _ in own}
        sent = [*own, *((n, v) for n, v in self.extra_headers if n.lower() not in named)]
        if "accept-encoding" not in named:
            sent.append(("Accept-Encoding", "identity"))
        if "user-agent" not in named:
            sent.append(("User-Agent", "streamgauge"))
        url = self.url(path)
        request = Request(
            method,
            self.secrets.shown(url),
            tuple(self._shown(name, value) for name, value in sent),
            body or b"",
        )
        http, url, facts = self._http, self.secrets.sent(url), dict(info or {})
        if via is not None:
            http, url, facts["relay"] = via.http, via.url(url), via.note
            sent.append(via.header)
        built = http.build_request(
            method,
            url,
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in sent],
            content=body,
        )
        self.asked_at = self.clock.now()
        return LiveExchange(
            http,
            self.clock,
            built,
            request,
            label,
            bound_s,
            facts,
            bulk,
            self.members,
            self.secrets,
            # What the relay cuts on purpose says nothing about the target.
            self._ended if via is None else _nothing,
        )

    def _ended(self, end: End) -> None:
        self.doubts += end in (End.REFUSED, End.RESET, End.CUT)

    def require_harmless(self, method: str) -> None:
        """Stop a request that could change the target, where the run may only read.

        Raises:
            ReadsOnly: it could.
        """
        if self.reads_only and method.upper() not in _HARMLESS:
            raise ReadsOnly(self.reads_only)

    def _shown(self, name: str, value: str) -> tuple[str, str]:
        secret = is_secret(name) or (name, value) in self.extra_headers
        return name, REDACTED if secret else value


class LiveExchange:
    """An exchange under way: what has come so far, and ways to wait for more."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        clock: RunClock,
        built: httpx.Request,
        request: Request,
        label: str,
        bound_s: float,
        info: dict[str, Any],
        bulk: bool,
        members: Members,
        secrets: Secrets,
        ended: Callable[[End], None],
    ) -> None:
        self.label = label
        self.request = request
        self.info = info
        self.sent_at = clock.now()
        self.status: int | None = None
        self.headers: tuple[tuple[str, str], ...] = ()
        self.head_at: float | None = None
        self.reads: list[Read] = []
        self.blocks: list[Block] = []
        self.end: End | None = None
        self.ended_at = 0.0
        self.error = ""
        self._version = ""
        self._parser: Parser | None = None
        self._size = 0
        self._bulk = bulk
        self._members = members
        self._secrets = secrets
        self._tell_end = ended
        self._final: Recording | None = None
        self._clock = clock
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run(http, built, bound_s))

    # -- what others may ask --------------------------------------------------------------------

    async def until(self, seen: Callable[[LiveExchange], bool], within_s: float) -> bool:
        """Wait until `seen(self)`, the end of the exchange, or `within_s`; tells whether it was."""
        try:
            async with asyncio.timeout(within_s):
                while not seen(self):
                    if self.end is not None:
                        return seen(self)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return seen(self)
        return True

    async def finish(self) -> Recording:
        """Wait for the end (within the bound given at the start) and hand out the recording."""
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            await self.leave()
            raise
        return self.recording()

    async def leave(self) -> Recording:
        """Close now, as a reader that goes away, and hand out the recording."""
        if not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        return self.recording()

    def recording(self) -> Recording:
        """The record so far; final, and always the same, once the exchange has ended."""
        if self._final is not None:
            return self._final
        recording = Recording(
            label=self.label,
            request=self.request,
            sent_at=self.sent_at,
            status=self.status,
            http_version=self._version,
            headers=self.headers,
            head_at=self.head_at,
            reads=PackedReads.pack(self.reads) if self._bulk else tuple(self.reads),
            end=self.end or End.LEFT,
            ended_at=self.ended_at or self._clock.now(),
            error=self.error,
            info=self.info,
            members=self._members,
        )
        if self.end is None:
            return recording
        if not self._bulk:
            # Seed the cache: these bytes were parsed as they came.
            rest = self._parser.close(self.ended_at) if self._parser is not None else None
            recording.__dict__["blocks"] = (*self.blocks, *((rest,) if rest else ()))
        self._final = recording
        self.reads = []
        return recording

    # -- the exchange itself --------------------------------------------------------------------

    async def _run(self, http: httpx.AsyncClient, built: httpx.Request, bound_s: float) -> None:
        try:
            async with asyncio.timeout(bound_s), self._answer(http, built) as response:
                await self._read(response)
                framed = "content-length" in response.headers or response.headers.get(
                    "transfer-encoding"
                )
                self.end = (
                    End.COMPLETE if framed or response.http_version == "HTTP/2" else End.CLOSED
                )
        except TimeoutError:
            self.end = End.TIMEOUT
        except asyncio.CancelledError:
            self.end = End.LEFT
            raise
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            self.end, self.error = classify(error)
        finally:
            self.ended_at = self._clock.now()
            if self.end is not None:
                self._tell_end(self.end)
            self._news.set()

    @contextlib.asynccontextmanager
    async def _answer(
        self, http: httpx.AsyncClient, built: httpx.Request
    ) -> AsyncIterator[httpx.Response]:
        response = await http.send(built, stream=True)
        try:
            self.head_at = self._clock.now()
            self.headers = tuple(
                (name.decode("latin-1"), self._secrets.masked_text(_shown_value(name, value)))
                for name, value in response.headers.raw
            )
            self._version = response.http_version
            media_type = response.headers.get("content-type", "").lower()
            if media_type.startswith("text/event-stream") and not self._bulk:
                self._parser = Parser()
            self.status = response.status_code
            self._news.set()
            yield response
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> None:
        async for came in response.aiter_raw():
            at = self._clock.now()
            data = self._secrets.masked(came)
            self.reads.append(Read(at, data))
            self._size += len(data)
            if self._parser is not None:
                self._take(self._parser.feed(data, at))
            self._news.set()
            if self._size > ANSWER_BYTES_MAX:
                raise TimeoutError  # read enough: the same as being out of time

    def _take(self, blocks: list[Block]) -> None:
        if self._members and blocks:
            before = (b.event.last_event_id for b in reversed(self.blocks) if b.event is not None)
            blocks = self._members.translated(blocks, next(before, ""))
        self.blocks.extend(blocks)


def _nothing(_: End) -> None:
    """An end that concerns nobody."""


def is_secret(name: str) -> bool:
    """Whether a header's value is never shown, whoever gave it."""
    return name.lower() in _ALWAYS_SECRET


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine's loopback."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def classify(error: BaseException) -> tuple[End, str]:
    """What a network error means for the exchange, and what it said."""
    said = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL):
        return End.REFUSED, _system_said(error) or said
    if isinstance(error, httpx.RemoteProtocolError):
        cut = "peer closed" in said or "disconnected" in said
        return (End.CUT if cut else End.PROTOCOL_ERROR), said
    if isinstance(error, httpx.ReadError | httpx.WriteError | ConnectionError):
        return End.RESET, said or "the connection was reset"
    return End.PROTOCOL_ERROR, said


def _system_said(error: BaseException | None) -> str:
    """The operating system's words beneath a connection error ("Connection refused")."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, ConnectionError) and error.errno:
            return os.strerror(error.errno)
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__ or error.__context__
    return ""


def _shown_value(name: bytes, value: bytes) -> str:
    return REDACTED if name.lower() == b"set-cookie" else value.decode("latin-1")
