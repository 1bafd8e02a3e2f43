"""An HTTP/2 connection on which the suite decides about every window, reset and header.

An ordinary client hides what the HTTP/2 rules are about: it grants windows as it goes, keeps below
the stated limits, and refuses malformed header fields before anybody has seen them. Here h2 does
framing and HPACK, and all decisions are the scenario's. Streams become ordinary recordings; what
the connection as a whole did is told by `facts`. Nothing here judges.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from h2.settings import SettingCodes

from .client import ANSWER_BYTES_MAX, CONNECT_S, Client
from .raw import tls_context
from .recording import End, Read, Recording, Request
from .secrets import REDACTED
from .sse import Block, Parser

WIDE = 2**30
"""A window that no answer within this suite's bounds uses up."""
SETTINGS_S = 3.0
"""So long for the first SETTINGS of a target that may not speak HTTP/2."""
READ_BYTES = 64 * 1024
_NO_LIMIT = 2**31 - 1

#: Where RFC 9113 says what a peer has broken when this error is the right answer.
SECTIONS: Mapping[int, str] = {
    h2.errors.ErrorCodes.FLOW_CONTROL_ERROR: "§6.9",
    h2.errors.ErrorCodes.FRAME_SIZE_ERROR: "§4.2",
    h2.errors.ErrorCodes.COMPRESSION_ERROR: "§4.3",
    h2.errors.ErrorCodes.STREAM_CLOSED: "§5.1",
}


class H2Stream:
    """One request and its answer on a connection that it shares."""

    def __init__(
        self, owner: H2Connection, number: int, request: Request, label: str, info: dict[str, Any]
    ) -> None:
        self.label = label
        self.number = number
        self.info = info
        self.status: int | None = None
        self.end: End | None = None
        self.error = ""
        self.size = 0
        """Octets of the body so far."""
        self.headers: tuple[tuple[str, str], ...] = ()
        self.head_at: float | None = None
        self.reads: list[Read] = []
        self.blocks: list[Block] = []
        self.ended_at = 0.0
        self._parser: Parser | None = None
        self._request = request
        self._owner = owner
        self._secrets, self._members = owner.secrets, owner.members
        self.sent_at = owner.clock.now()
        self._news = asyncio.Event()
        self._final: Recording | None = None

    async def until(self, seen: Callable[[H2Stream], bool], within_s: float) -> bool:
        """Wait until `seen(self)`, the end of the stream, or `within_s`; tells whether it was."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not seen(self) and self.end is None:
                    self._news.clear()
                    await self._news.wait()
        return seen(self)

    async def finish(self, within_s: float) -> Recording:
        """Wait for the end of the stream; what is open after `within_s` has timed out."""
        await self.until(lambda stream: stream.end is not None, within_s)
        if self.end is None:
            self.reset(End.TIMEOUT)
        return self.recording()

    def grant(self, octets: int) -> None:
        """Open this stream's window by so much."""
        if self.end is None:
            self._owner.grant(octets, self.number)

    def reset(self, end: End = End.LEFT) -> None:
        """Send RST_STREAM(CANCEL), where the stream is still open."""
        if self.end is None:
            self._owner.cancel(self.number)
            self.finished(end)

    async def leave(self) -> Recording:
        """Go away as a reader does, and hand out the recording."""
        self.reset()
        return self.recording()

    def recording(self) -> Recording:
        """The record so far; final once the stream has ended."""
        if self._final is not None:
            return self._final
        recording = Recording(
            label=self.label,
            request=self._request,
            sent_at=self.sent_at,
            status=self.status,
            http_version="HTTP/2",
            headers=self.headers,
            head_at=self.head_at,
            reads=tuple(self.reads),
            end=self.end or End.LEFT,
            ended_at=self.ended_at or self._owner.clock.now(),
            error=self.error,
            info=self.info,
            members=self._members,
        )
        if self.end is not None and not self._members:
            # Seed the cache: these bytes were parsed as they came.
            rest = self._parser.close(self.ended_at) if self._parser is not None else None
            recording.__dict__["blocks"] = (*self.blocks, *((rest,) if rest else ()))
        if self.end is not None:
            self._final, self.reads = recording, []
        return recording

    # -- told by the connection -----------------------------------------------------------------

    def answered(self, headers: Iterable[tuple[bytes, bytes]], at: float) -> None:
        """Note the head: pseudo-header fields apart, all names and values as they were sent."""
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        status = next((value for name, value in fields if name == ":status"), "")
        self.status = int(status) if status.isdigit() else None
        self.headers = tuple(
            (name, REDACTED if name.lower() == "set-cookie" else self._secrets.masked_text(value))
            for name, value in fields
            if name != ":status"
        )
        self.head_at = at
        media_type = next((v for n, v in self.headers if n.lower() == "content-type"), "")
        if media_type.lower().startswith("text/event-stream"):
            self._parser = Parser()
        self._news.set()

    def received(self, data: bytes, at: float) -> None:
        data = self._secrets.masked(data)
        self.reads.append(Read(at, data))
        if self._parser is not None:
            self.blocks.extend(self._members.translated(self._parser.feed(data, at)))
        self.size += len(data)
        self._news.set()
        if self.size > ANSWER_BYTES_MAX:
            self.reset(End.TIMEOUT)

    def finished(self, end: End, error: str = "") -> None:
        if self.end is None:
            self.end, self.error, self.ended_at = end, error, self._owner.clock.now()
            self._news.set()


class H2Connection:
    """One connection and its streams."""

    def __init__(self, client: Client, name: str, *, initial_window: int = WIDE) -> None:
        """`initial_window`: how much each stream may send before it is granted more."""
        self.name = name
        self.clock = client.clock
        self.secrets, self.members = client.secrets, client.members
        self.max_streams: int | None = None
        """SETTINGS_MAX_CONCURRENT_STREAMS as stated, None: no limit was stated."""
        self.goaway: str = ""
        """The error code of a GOAWAY ("NO_ERROR" too), "" where none came."""
        self.fault: str = ""
        """What the target did against RFC 9113, so that the connection could not go on."""
        self.offered = False
        """By ALPN; with prior knowledge nothing is offered."""
        self.closed = False
        self._client = client
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            # What is malformed has to be recorded, not refused.
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: initial_window,
            },
        )
        self._streams: dict[int, H2Stream] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._pump: asyncio.Task[None] | None = None
        self._settled = False
        """The target's SETTINGS have come."""
        self._looked = asyncio.Event()
        """They have, or the connection has ended without them."""

    @property
    def facts(self) -> dict[str, Any]:
        """What is to be known of the connection as a whole; JSON-able."""
        return {
            "max_streams": self.max_streams,
            "goaway": self.goaway,
            "fault": self.fault,
            "closed": self.closed,
        }

    async def open(self) -> str:
        """Connect and exchange SETTINGS; returns why that is no HTTP/2, "" where it is."""
        parts = urlsplit(self._client.base_url)
        secure = parts.scheme == "https"
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, self._writer = await asyncio.open_connection(
                    parts.hostname,
                    parts.port or (443 if secure else 80),
                    ssl=tls_context("h2", "http/1.1") if secure else None,
                )
        except (OSError, TimeoutError) as error:
            return f"no connection could be made ({error or 'timed out'})"
        if secure:
            chosen = self._writer.get_extra_info("ssl_object").selected_alpn_protocol()
            if chosen != "h2":
                self._writer.transport.abort()
                return f"by ALPN the target chose {chosen or 'no protocol'}"
            self.offered = True
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WIDE)
        self._flush()
        self._pump = asyncio.create_task(self._run(reader))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTINGS_S):
                await self._looked.wait()
        if not self._settled:
            await self.close()
            return "the target sent no SETTINGS in answer to an HTTP/2 preface"
        return ""

    def request(
        self,
        url: str,
        *,
        label: str,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        info: Mapping[str, Any] | None = None,
    ) -> H2Stream:
        """Open a stream, whatever limit the target has stated."""
        self._client.require_harmless(method)
        parts = urlsplit(self._client.secrets.sent(url))
        own = [*headers, ("Accept-Encoding", "identity"), ("User-Agent", "streamgauge")]
        if body:
            own.append(("Content-Length", str(len(body))))
        names = {name.lower() for name, _ in own}
        extra = [pair for pair in self._client.extra_headers if pair[0].lower() not in names]
        shown = (*own, *((name, REDACTED) for name, _ in extra))
        number = self._h2.get_next_available_stream_id()
        stream = H2Stream(
            self,
            number,
            Request(method, self._client.secrets.shown(url), shown, body),
            label,
            dict(info or {}),
        )
        if self.closed:
            stream.finished(End.REFUSED, "the connection had ended")
            return stream
        self._streams[number] = stream
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        pseudo = [(":method", method), (":scheme", parts.scheme), (":authority", parts.netloc)]
        fields = [*pseudo, (":path", target), *((n.lower(), v) for n, v in (*own, *extra))]
        self._h2.send_headers(number, fields, end_stream=not body)
        if body:
            self._h2.send_data(number, body, end_stream=True)
        self._flush()
        return stream

    def grant(self, octets: int, number: int) -> None:
        """Open a stream's window."""
        with contextlib.suppress(h2.exceptions.ProtocolError):  # it ended meanwhile
            self._h2.increment_flow_control_window(octets, number)
        self._flush()

    def cancel(self, number: int) -> None:
        """Reset a stream."""
        with contextlib.suppress(h2.exceptions.ProtocolError):  # it ended meanwhile
            self._h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        self._streams.pop(number, None)
        self._flush()

    async def close(self) -> None:
        """End the connection; streams that are open were left."""
        for stream in tuple(self._streams.values()):
            stream.finished(End.LEFT)
        if not self.closed:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self._h2.close_connection()
            self._flush()
        if self._writer is not None:
            self._writer.close()
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump  # what it may have raised is a fault of this tool

    # -- the connection itself ------------------------------------------------------------------

    async def _run(self, reader: asyncio.StreamReader) -> None:
        end, error = End.CUT, "the connection ended"
        try:
            while data := await reader.read(READ_BYTES):
                self._take(data)
                self._flush()
        except h2.exceptions.ProtocolError as fault:
            self._flush()
            if self.goaway:
                error = f"the connection ended after GOAWAY({self.goaway})"
            else:
                end, error = End.PROTOCOL_ERROR, _told(fault)
                self.fault = error
        except OSError as reset:
            end, error = End.RESET, str(reset) or "the connection was reset"
        finally:
            self.closed = True
            self._looked.set()
            if self._writer is not None:
                self._writer.transport.abort()
            for stream in tuple(self._streams.values()):
                stream.finished(end, error)

    def _take(self, data: bytes) -> None:
        at = self.clock.now()
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self._note_settings(event)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = _code(event.error_code)
                if event.error_code == h2.errors.ErrorCodes.NO_ERROR:
                    # h2 takes this for the end, but open streams go on (RFC 9113 §6.8).
                    self._h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
            else:
                self._tell_stream(event, at)

    def _note_settings(self, event: h2.events.RemoteSettingsChanged) -> None:
        limit = event.changed_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)
        if limit is not None:
            self.max_streams = limit.new_value
            # The scenario decides whether to keep to it.
            self._h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = _NO_LIMIT
            self._h2.remote_settings.acknowledge()
        self._settled = True
        self._looked.set()

    def _tell_stream(self, event: h2.events.Event, at: float) -> None:
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            stream.answered(event.headers or (), at)
        elif isinstance(event, h2.events.DataReceived):
            stream.received(event.data or b"", at)
        elif isinstance(event, h2.events.StreamEnded):
            stream.finished(End.COMPLETE)
            del self._streams[stream.number]
        elif isinstance(event, h2.events.StreamReset):
            stream.finished(End.RESET, f"RST_STREAM({_code(event.error_code)})")
            del self._streams[stream.number]

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)


def _code(code: int | None) -> str:
    try:
        return h2.errors.ErrorCodes(code or 0).name
    except ValueError:
        return str(code)


def _told(fault: h2.exceptions.ProtocolError) -> str:
    """What the target did wrong, with the place in RFC 9113."""
    section = SECTIONS.get(fault.error_code, "§5.4.1")
    return f"{_code(fault.error_code)} (RFC 9113 {section}): {fault}"
