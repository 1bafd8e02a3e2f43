"""The HTTP/2 client against servers that do odd things: nothing is hidden, nothing made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame

from streamgauge import h2client
from streamgauge.client import REDACTED, Client
from streamgauge.clock import RunClock
from streamgauge.h2client import WIDE, H2Connection
from streamgauge.recording import End
from streamgauge.reproduce import curl
from tests.odd_server import client_of

Server = h2.connection.H2Connection
Answer = Callable[[Server, h2.events.Event], bytes | None]
"""Reacts to an event; bytes that it returns are sent as they are, behind what h2 has to send."""

EVENT = b"id: 1\ndata: x\n\n"
FIELDS = [(b":status", b"200"), (b"content-type", b"text/event-stream")]
CODES = h2.settings.SettingCodes


@asynccontextmanager
async def serving(answer: Answer, **limits: int) -> AsyncIterator[Client]:
    """An HTTP/2 server with prior knowledge that does one thing."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        server = h2.connection.H2Connection(config)
        for name, value in limits.items():
            server.local_settings[CODES[name]] = value
            server.local_settings.acknowledge()
        server.initiate_connection()
        writer.write(server.data_to_send())
        try:
            while data := await reader.read(65536):
                for event in server.receive_data(data):
                    raw = answer(server, event)
                    writer.write(server.data_to_send() + (raw or b""))
        except h2.exceptions.ProtocolError:
            writer.write(server.data_to_send())  # h2's GOAWAY

    async with client_of(once) as client:
        yield client


@asynccontextmanager
async def connected(client: Client, initial_window: int = WIDE) -> AsyncIterator[H2Connection]:
    connection = H2Connection(client, "c", initial_window=initial_window)
    assert await connection.open() == ""
    try:
        yield connection
    finally:
        await connection.close()


def whole(server: Server, event: h2.events.Event) -> None:
    """The whole answer at once."""
    if isinstance(event, h2.events.RequestReceived):
        server.send_headers(event.stream_id, FIELDS)
        server.send_data(event.stream_id, EVENT, end_stream=True)


async def test_a_stream_becomes_an_ordinary_recording() -> None:
    """If an answer comes over HTTP/2, then its bytes, times, fields and end are recorded."""
    asked: list[dict[bytes, bytes]] = []

    def answer(server: Server, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            asked.append(dict(event.headers))
        whole(server, event)

    async with serving(answer) as client, connected(client) as connection:
        stream = connection.request(client.url("/s?x=1"), label="s", headers=[("Accept", "a/b")])
        recording = await stream.finish(5)
    assert recording.end is End.COMPLETE
    assert recording.status == 200
    assert recording.http_version == "HTTP/2"
    assert recording.is_stream
    assert recording.body == EVENT
    assert recording.blocks[0].own_id == "1"
    assert recording.sent_at <= (recording.head_at or 0) <= recording.reads[0].at
    assert asked[0][b":path"] == b"/s?x=1"
    assert asked[0][b"authorization"] == b"Bearer secret"
    assert recording.request.header("authorization") == REDACTED
    assert "--http2-prior-knowledge" in curl(recording)


async def test_field_names_are_kept_as_they_were_sent() -> None:
    """If a field must not be sent over HTTP/2, then it is recorded, and nothing fails here."""

    def answer(server: Server, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            odd = [(b"Connection", b"keep-alive"), (b"transfer-encoding", b"chunked")]
            server.send_headers(event.stream_id, [*FIELDS, *odd], end_stream=True)

    async with serving(answer) as client, connected(client) as connection:
        recording = await connection.request(client.url("/"), label="s").finish(5)
    assert ("Connection", "keep-alive") in recording.headers
    assert ("transfer-encoding", "chunked") in recording.headers


async def test_a_reset_is_told_with_its_code() -> None:
    """If the server resets a stream, then that is its end, and the connection lives on."""

    def answer(server: Server, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived) and event.stream_id == 1:
            server.reset_stream(1, h2.errors.ErrorCodes.REFUSED_STREAM)
        else:
            whole(server, event)

    async with serving(answer) as client, connected(client) as connection:
        refused = await connection.request(client.url("/"), label="1").finish(5)
        other = await connection.request(client.url("/"), label="2").finish(5)
        assert not connection.closed
    assert (refused.end, refused.error) == (End.RESET, "RST_STREAM(REFUSED_STREAM)")
    assert other.end is End.COMPLETE


async def test_a_body_waits_for_the_window_that_is_granted() -> None:
    """If a stream has no window, then its body comes when it is granted one."""
    waiting: dict[int, bytes] = {}

    def answer(server: Server, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            server.send_headers(event.stream_id, FIELDS)
            waiting[event.stream_id] = EVENT
        for number, left in tuple(waiting.items()):
            now = left[: server.local_flow_control_window(number)]
            if now:
                waiting[number] = left[len(now) :]
                server.send_data(number, now, end_stream=not waiting[number])

    async with serving(answer) as client, connected(client, initial_window=0) as connection:
        stream = connection.request(client.url("/"), label="s")
        assert await stream.until(lambda each: each.status == 200, 5)
        await asyncio.sleep(0.1)
        assert stream.size == 0
        stream.grant(4)
        assert await stream.until(lambda each: each.size == 4, 5)
        stream.grant(WIDE)
        recording = await stream.finish(5)
    assert recording.body == EVENT


async def test_more_than_the_window_is_the_targets_fault() -> None:
    """If the server sends more than it may, then the connection's fault names the rule."""

    def answer(server: Server, event: h2.events.Event) -> bytes | None:
        if isinstance(event, h2.events.RequestReceived):
            server.send_headers(event.stream_id, FIELDS)
            return DataFrame(event.stream_id, EVENT).serialize()
        return None

    async with serving(answer) as client, connected(client, initial_window=0) as connection:
        recording = await connection.request(client.url("/"), label="s").finish(5)
        assert "§6.9" in connection.fault
    assert recording.end is End.PROTOCOL_ERROR


async def test_streams_beyond_the_stated_limit_can_be_asked_for() -> None:
    """If a limit is stated, then it is known, and the scenario may exceed it."""

    def answer(server: Server, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            server.send_headers(event.stream_id, FIELDS)

    async with (
        serving(answer, MAX_CONCURRENT_STREAMS=2) as client,
        connected(client) as connection,
    ):
        assert connection.max_streams == 2
        streams = [connection.request(client.url("/"), label=str(n)) for n in range(3)]
        await streams[2].until(lambda each: each.end is not None, 5)
        assert connection.closed
    assert connection.goaway == "PROTOCOL_ERROR"  # h2's own answer: all streams are lost
    assert [each.end for each in streams] == [End.CUT] * 3


async def test_open_streams_go_on_after_a_graceful_goaway() -> None:
    """If GOAWAY(NO_ERROR) comes, then streams that are open are read to their end."""

    def answer(server: Server, event: h2.events.Event) -> bytes | None:
        if isinstance(event, h2.events.RequestReceived):
            server.send_headers(event.stream_id, FIELDS)
            return server.data_to_send() + GoAwayFrame(0, last_stream_id=1).serialize()
        if isinstance(event, h2.events.WindowUpdated) and event.stream_id:
            server.send_data(event.stream_id, EVENT, end_stream=True)
        return None

    async with serving(answer) as client, connected(client) as connection:
        stream = connection.request(client.url("/"), label="s")
        assert await stream.until(lambda _: connection.goaway == "NO_ERROR", 5)
        stream.grant(10)
        recording = await stream.finish(5)
    assert recording.end is End.COMPLETE
    assert recording.body == EVENT


async def test_a_cancelled_stream_was_left() -> None:
    """If the scenario resets a stream, then the server is told, and what came is kept."""
    resets: list[int] = []

    def answer(server: Server, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            server.send_headers(event.stream_id, FIELDS)
            server.send_data(event.stream_id, EVENT)
        elif isinstance(event, h2.events.StreamReset):
            resets.append(event.error_code)

    async with serving(answer) as client, connected(client) as connection:
        stream = connection.request(client.url("/"), label="s")
        await stream.until(lambda each: each.size > 0, 5)
        recording = await stream.leave()
        await asyncio.sleep(0.1)
    assert recording.end is End.LEFT
    assert recording.body == EVENT
    assert resets == [h2.errors.ErrorCodes.CANCEL]


async def _speaks_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def _closes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize("server", [_speaks_http1, _closes, _is_silent])
async def test_a_target_without_http2_is_told_so(
    server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no SETTINGS come in answer to the preface, then it is no HTTP/2; no exception."""
    monkeypatch.setattr(h2client, "SETTINGS_S", 0.5)
    async with client_of(server) as client:
        connection = H2Connection(client, "c")
        assert "no SETTINGS" in await connection.open()
    assert not connection.offered


async def test_nobody_there_is_told_so() -> None:
    """If no connection can be made, then that is the reason."""
    client = Client("http://127.0.0.1:9", RunClock())
    assert "no connection" in await H2Connection(client, "c").open()
    await client.aclose()
