"""The relay does to an exchange exactly what it was told to, and nothing else.

In front stands a plain client, behind a tiny server that sends the bytes it is given, so that every
power can be held against the bytes that go in and come out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from streamgauge.client import Client, LiveExchange
from streamgauge.clock import RunClock
from streamgauge.recording import End, Recording, Request
from streamgauge.relay import Passage, Powers, Relay
from streamgauge.relay.cache import Answer, Cache
from streamgauge.relay.real import INSTALL, KINDS, Kind, RealProxy
from streamgauge.reproduce import curl

FRAME = b"id: 1\nevent: step\ndata: {}\n\n:   \n"
BODY = b'event: connection\ndata: {"after":0}\n\n' + FRAME + FRAME.replace(b"1", b"2")
PLAIN = (("Content-Type", "text/event-stream"),)


@dataclass
class Origin:
    """A server that sends pieces, pausing before each, and keeps what it was asked."""

    pieces: Sequence[tuple[float, bytes]] = ((0.0, BODY),)
    fields: Sequence[tuple[str, str]] = PLAIN
    framing: str = "chunked"
    """chunked, length or close; `broken` ends without the last chunk."""
    status: int = 200
    asked: list[bytes] = field(default_factory=list)
    left: int = 0
    """Connections that the other side closed before the end."""
    port: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def aclose(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed is gone only then

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = [
                line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
            ]
            body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
            self.asked.append(head + body)
            await self._answer(writer)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        fields = [f"{name}: {value}" for name, value in self.fields]
        whole = b"".join(piece for _, piece in self.pieces)
        fields += {
            "chunked": ["Transfer-Encoding: chunked"],
            "broken": ["Transfer-Encoding: chunked"],
            "length": [f"Content-Length: {len(whole)}"],
        }.get(self.framing, [])
        writer.write("\r\n".join([f"HTTP/1.1 {self.status} OK", *fields, "", ""]).encode())
        try:
            for pause, piece in self.pieces:
                await asyncio.sleep(pause)
                chunked = self.framing in ("chunked", "broken")
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                await writer.drain()
        except ConnectionError:
            self.left += 1
            raise
        if self.framing == "chunked":
            writer.write(b"0\r\n\r\n")
        await writer.drain()


@contextlib.asynccontextmanager
async def running(origin: Origin) -> AsyncIterator[tuple[Client, Passage]]:
    """The origin, a client of it, and the passage between them."""
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    origin.port = server.sockets[0].getsockname()[1]
    target = f"http://127.0.0.1:{origin.port}"
    client, passage = Client(target, RunClock()), Passage(target)
    await passage.start()
    try:
        yield client, passage
    finally:
        await passage.aclose()
        await client.aclose()
        server.close()
        await origin.aclose()


def opened(client: Client, passage: Passage, powers: Powers, **how: object) -> LiveExchange:
    """An exchange through the relay."""
    return client.open("/stream", label="x", bound_s=5.0, via=passage.via(powers), **how)  # type: ignore[arg-type]


async def body_through(powers: Powers, origin: Origin | None = None) -> tuple[bytes, End, str]:
    """What the client gets, how it ends, and what the relay says it did."""
    async with running(origin or Origin()) as (client, passage):
        got = await opened(client, passage, powers).finish()
        assert "fault" not in got.info["relay"]
        return got.body, got.end, got.info["relay"].get("did", "")


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_without_powers_nothing_is_changed(framing: str) -> None:
    """If the relay has no power to use, then bytes and the orderly end pass as they are."""
    body, end, did = await body_through(Powers(), Origin(framing=framing))
    assert (body, end, did) == (BODY, End.COMPLETE, "")


async def test_the_target_is_asked_as_if_nothing_stood_in_between() -> None:
    """If a request passes, then its Host is the target's and its fields and body are unchanged."""
    origin = Origin()
    async with running(origin) as (client, passage):
        live = client.open(
            "/start?x=%2F",
            label="x",
            method="POST",
            headers=[("X-Client-Id", "me")],
            body=b"{}",
            bound_s=5.0,
            via=passage.via(),
        )
        got = await live.finish()
    (asked,) = origin.asked
    assert asked.startswith(b"POST /start?x=%2F HTTP/1.1\r\n")
    assert asked.endswith(b"\r\n\r\n{}")
    assert f"Host: 127.0.0.1:{origin.port}\r\n".encode() in asked
    assert b"X-Client-Id: me\r\n" in asked
    assert b"streamgauge-exchange" not in asked.lower()
    assert got.request.url == f"http://127.0.0.1:{origin.port}/start?x=%2F"


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("place", range(0, len(BODY), 7))
async def test_a_cut_comes_after_exactly_so_many_bytes(place: int, reset: bool) -> None:
    """If a cut is set to a byte, then the bytes before it arrive and no other."""
    body, end, did = await body_through(Powers(cut_after=place, reset=reset))
    assert (body, end) == (BODY[:place], End.RESET if reset else End.CUT)
    assert did == f"{'reset' if reset else 'cut'} after {place} bytes"


@pytest.mark.parametrize("piece", [1, 3, 1000])
async def test_a_cut_comes_behind_an_event(piece: int) -> None:
    """If a cut is set behind an event, then its empty line is the last that arrives."""
    pieces = [(0.0, BODY[at : at + piece]) for at in range(0, len(BODY), piece)]
    body, end, _ = await body_through(Powers(cut_events=2), Origin(pieces=pieces))
    assert (body, end) == (BODY[: BODY.index(b"{}\n\n") + 4], End.CUT)


@pytest.mark.parametrize("piece", [1, 1000])
async def test_a_cut_comes_before_the_first_id_counts(piece: int) -> None:
    """If a cut is set before the first id, then one byte is missing for it to be dispatched."""
    pieces = [(0.0, BODY[at : at + piece]) for at in range(0, len(BODY), piece)]
    body, _, _ = await body_through(Powers(cut_before_id=True), Origin(pieces=pieces))
    assert body == BODY[: BODY.index(b"{}\n\n") + 3]


async def test_what_is_not_reached_is_not_cut() -> None:
    """If the body is shorter than the cut, then it ends as the target ends it."""
    body, end, did = await body_through(Powers(cut_after=10_000))
    assert (body, end, did) == (BODY, End.COMPLETE, "")


async def test_a_break_of_the_target_is_passed_on_and_told_apart() -> None:
    """If the target breaks off, then so does the answer, and it is not the relay's doing."""
    async with running(Origin(framing="broken")) as (client, passage):
        got = await opened(client, passage, Powers()).finish()
    assert (got.body, got.end) == (BODY, End.CUT)
    assert "did" not in got.info["relay"]
    assert got.info["relay"]["target"].startswith("the target broke the answer off")


async def arrivals(powers: Powers, *pieces: tuple[float, bytes]) -> list[int]:
    """How many bytes had arrived with each read."""
    async with running(Origin(pieces=pieces)) as (client, passage):
        got = await opened(client, passage, powers).finish()
    assert got.head_at is not None and got.body == b"".join(piece for _, piece in pieces)
    found, size = [], 0
    for read in got.reads:
        size += len(read.data)
        found.append(size)
    return found


async def test_holding_back_lets_all_go_at_once() -> None:
    """If the relay holds back until it has n bytes, then all that it has goes on with the nth."""
    got = await arrivals(Powers(hold_bytes=100), (0, b"a" * 60), (0.3, b"b" * 60), (0.3, b"c"))
    assert got == [120, 121]


async def test_only_full_blocks_pass() -> None:
    """If only full blocks pass, then what is over waits for the next block or the end."""
    got = await arrivals(Powers(block_bytes=100), (0, b"a" * 150), (0.3, b"b" * 60), (0.3, b"c"))
    assert got == [100, 200, 211]


async def test_all_is_held_until_the_end() -> None:
    """If all is held back, then the head comes at once and the body with the end."""
    assert await arrivals(Powers(hold_all=True), (0, b"a"), (0.3, b"b")) == [2]


@pytest.mark.parametrize(
    ("fields", "live"), [((), False), ((("X-Accel-Buffering", "no"),), True)], ids=["absent", "no"]
)
async def test_buffering_is_switched_off_by_the_header(
    fields: tuple[tuple[str, str], ...], live: bool
) -> None:
    """If the proxy honours X-Accel-Buffering, then `no` passes at once; the field is consumed."""
    origin = Origin(pieces=((0, b"a"), (0.3, b"b")), fields=(*PLAIN, *fields))
    async with running(origin) as (client, passage):
        got = await opened(client, passage, Powers(honour_accel=True)).finish()
    assert (len(got.reads) == 2) is live
    assert got.header("x-accel-buffering") is None


@pytest.mark.parametrize("told", ["no-cache", "no-cache, no-transform"])
async def test_compression_obeys_no_transform(told: str) -> None:
    """If the answer says no-transform, then it is left alone; else it is compressed unflushed."""
    origin = Origin(pieces=((0, BODY), (0.2, BODY)), fields=(*PLAIN, ("Cache-Control", told)))
    async with running(origin) as (client, passage):
        headers = [("Accept-Encoding", "gzip")]
        got = await opened(client, passage, Powers(gzip=True), headers=headers).finish()
    coded = got.header("content-encoding") == "gzip"
    assert coded is ("no-transform" not in told)
    assert (zlib.decompress(got.body, 31) if coded else got.body) == BODY + BODY


async def test_slices_are_written_one_by_one() -> None:
    """If bodies are sliced, then no read holds more than a slice where the client keeps up."""
    async with running(Origin()) as (client, passage):
        got = await opened(client, passage, Powers(slice_bytes=5, bytes_per_s=1000)).finish()
    assert got.body == BODY
    assert max(len(read.data) for read in got.reads) <= 10


async def test_coalescing_joins_what_comes_close_together() -> None:
    """If the relay collects for a while, then what came meanwhile arrives in one piece."""
    got = await arrivals(Powers(coalesce_s=0.3), (0, b"a"), (0.1, b"b"), (0.1, b"c"), (0.4, b"d"))
    assert got == [3, 4]


async def test_latency_keeps_the_order() -> None:
    """If pieces are delayed by chance, then none overtakes another, and each is late enough."""
    powers = Powers(latency_s=0.1, jitter_s=0.1, seed=7)
    began = time.monotonic()
    body, end, _ = await body_through(powers, Origin(pieces=[(0, b"%d," % n) for n in range(50)]))
    assert body == b"".join(b"%d," % n for n in range(50)) and end is End.COMPLETE
    assert time.monotonic() - began >= 0.2  # once for the head, once for the body


async def test_bandwidth_is_limited() -> None:
    """If the bandwidth is limited, then a body takes as long as its size asks for."""
    began = time.monotonic()
    await body_through(
        Powers(bytes_per_s=10_000, slice_bytes=1000), Origin(pieces=((0, b"x" * 4000),))
    )
    assert 0.4 <= time.monotonic() - began < 2.0


async def test_a_stall_sends_no_more_and_stays_open() -> None:
    """If the relay stalls after n bytes, then these arrive and the connection lives on."""
    async with running(Origin()) as (client, passage):
        live = opened(client, passage, Powers(stall_after=20))
        assert not await live.until(lambda each: each.end is not None, 0.5)
        got = await live.leave()
    assert got.body == BODY[:20]


async def test_silence_is_cut_and_bytes_keep_alive() -> None:
    """If nothing comes for the idle time, then the relay cuts; any byte starts it anew."""
    pieces = ((0, b"a"), (0.2, b"b"), (0.2, b"c"), (1.0, b"d"))
    body, end, did = await body_through(Powers(idle_s=0.4), Origin(pieces=pieces))
    assert (body, end, did) == (b"abc", End.CUT, "cut after 0.4 s without a byte")


async def test_a_cap_cuts_whatever_is_sent() -> None:
    """If there is an absolute cap, then a stream that never pauses is cut all the same."""
    body, end, did = await body_through(
        Powers(cap_s=0.5), Origin(pieces=[(0.1, b"x") for _ in range(20)])
    )
    assert 1 <= len(body) < 10 and end is End.CUT and did == "cut 0.5 s after the request"


async def test_the_end_can_come_late() -> None:
    """If the relay closes slowly, then the body is there at once and the end is not."""
    async with running(Origin()) as (client, passage):
        got = await opened(client, passage, Powers(slow_close_s=0.4)).finish()
    assert got.body == BODY and got.end is End.COMPLETE
    assert got.ended_at - got.reads[-1].at >= 0.35


async def test_a_spell_of_503_does_not_reach_the_target() -> None:
    """If the relay answers in the target's place, then the target is not asked."""
    origin = Origin()
    async with running(origin) as (client, passage):
        got = await opened(client, passage, Powers(answer=503, retry_after="1")).finish()
    assert (got.status, got.header("retry-after"), origin.asked) == (503, "1", [])


async def test_a_redirect_leads_to_the_same_path_and_query() -> None:
    """If the relay redirects, then who follows reaches the target with the same path and query."""
    origin = Origin()
    async with running(origin) as (client, passage):
        first = await client.open(
            "/stream?a=1", label="x", bound_s=5.0, via=passage.via(Powers(redirect=307))
        ).finish()
        assert (first.status, first.header("location")) == (307, "/~moved/stream?a=1")
        again = passage.via(Powers(redirect=307), moved=True)
        second = await client.open("/stream?a=1", label="y", bound_s=5.0, via=again).finish()
    assert second.body == BODY
    assert origin.asked[0].startswith(b"GET /stream?a=1 ")


async def test_a_prefix_is_known_to_the_proxy_alone() -> None:
    """If there is a path prefix, then the target is asked without it; without it: 404."""
    origin = Origin()
    async with running(origin) as (client, passage):
        ok = client.open("/stream", label="x", bound_s=5.0, via=passage.via(prefix="/app"))
        assert (await ok.finish()).status == 200
        async with Relay(client.base_url, prefix="/app") as relay, httpx.AsyncClient() as plain:
            assert (await plain.get(relay.address + "/stream")).status_code == 404
            assert (await plain.get(relay.address + "/app/stream")).content == BODY
    assert [asked.split(b" ")[1] for asked in origin.asked] == [b"/stream", b"/stream"]


async def test_field_names_can_be_lowered_and_fields_stripped() -> None:
    """If names are lowered, then values are kept; a stripped field is gone from the answer."""
    origin = Origin(fields=(*PLAIN, ("X-Accel-Buffering", "no")))
    async with running(origin) as (client, passage):
        powers = Powers(lower_case=True, strip=("X-Accel-Buffering",))
        got = await opened(client, passage, powers, headers=[("Last-Event-ID", "Ab")]).finish()
    assert b"\r\nlast-event-id: Ab\r\n" in origin.asked[0]
    assert got.header("x-accel-buffering") is None and got.header("content-type")


async def test_who_leaves_is_missed_by_the_target() -> None:
    """If the client leaves, then the target's connection is closed, too."""
    origin = Origin(pieces=[(0.05, b"x" * 100) for _ in range(100)])
    async with running(origin) as (client, passage):
        live = opened(client, passage, Powers())
        await live.until(lambda each: bool(each.reads), 2.0)
        await live.leave()
        for _ in range(40):
            if origin.left:
                break
            await asyncio.sleep(0.05)
    assert origin.left == 1


async def test_no_target_is_told_apart_from_a_cut() -> None:
    """If the target takes no connection, then the client gets none, and the note says why."""
    passage = Passage("http://127.0.0.1:9")
    client = Client("http://127.0.0.1:9", RunClock())
    await passage.start()
    got = await opened(client, passage, Powers()).finish()
    await passage.aclose()
    await client.aclose()
    assert got.status is None
    assert got.info["relay"]["target"].startswith("no connection to the target")


async def test_connections_are_bounded() -> None:
    """If there are as many connections as may be, then a further one is closed at once."""
    origin = Origin(pieces=((0, b"a"), (5, b"b")))
    async with (
        running(origin) as (client, _),
        Relay(client.base_url, connections_max=1) as relay,
        httpx.AsyncClient() as plain,
        plain.stream("GET", f"{relay.address}/") as one,
    ):
        assert one.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await plain.get(f"{relay.address}/")


def kept(told: str, *, asked: tuple[tuple[str, str], ...] = (), age: float = 1.0) -> bool:
    """Whether a cache reuses an answer with these fields for the same request."""
    cache = Cache()
    fields = tuple(
        (name, value)
        for name, _, value in (line.partition(": ") for line in told.split("\n") if line)
    )
    cache.offer("GET", "/x", asked, Answer(200, fields, b"old"), 0.0)
    return cache.find("GET", "/x", asked, age) is not None


@pytest.mark.parametrize(
    ("told", "reused"),
    [
        ("Cache-Control: public, max-age=60", True),
        ("Cache-Control: max-age=1, s-maxage=60", True),
        ("Cache-Control: no-store, max-age=60", False),
        ("Cache-Control: no-cache, max-age=60", False),
        ("Cache-Control: private, max-age=60", False),
        ("Cache-Control: max-age=0", False),
        ("Cache-Control: max-age=60\nAge: 60", False),
        ("Cache-Control: max-age=60\nVary: *", False),
        ("Date: Thu, 01 Jan 2026 00:00:00 GMT\nExpires: Thu, 01 Jan 2026 00:01:00 GMT", True),
        ("Date: Thu, 01 Jan 2026 00:00:00 GMT\nExpires: 0", False),
        ("Date: Thu, 01 Jan 2026 01:00:00 GMT\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT", True),
        ("", False),
    ],
)
def test_the_cache_keeps_what_it_may(told: str, reused: bool) -> None:
    """If RFC 9111 allows an answer to be reused, then it is; else it never is."""
    assert kept(told) is reused


def test_the_cache_obeys_the_request_and_vary() -> None:
    """If the request forbids it, or differs in a field that Vary names, then nothing is reused."""
    fresh = "Cache-Control: max-age=60"
    assert not kept(fresh, asked=(("Cache-Control", "no-store"),))
    assert not kept(fresh, asked=(("Authorization", "x"),))
    assert kept(fresh + ", public", asked=(("Authorization", "x"),))
    assert not kept(fresh, age=61.0)
    cache = Cache()
    answer = Answer(200, (("Cache-Control", "max-age=60"), ("Vary", "Last-Event-ID")), b"old")
    cache.offer("GET", "/x", (), answer, 0.0)
    assert cache.find("GET", "/x", (("Last-Event-ID", "5"),), 1.0) is None
    found = cache.find("GET", "/x", (), 1.0)
    assert found is not None and ("Age", "1") in found.fields


async def test_a_cached_answer_does_not_reach_the_target() -> None:
    """If an answer may be reused, then the second request is answered without the target."""
    origin = Origin(fields=(*PLAIN, ("Cache-Control", "public, max-age=60")), framing="length")
    async with running(origin) as (client, passage):
        first = await opened(client, passage, Powers(cache=True)).finish()
        second = await opened(client, passage, Powers(cache=True)).finish()
    assert first.body == second.body == BODY and len(origin.asked) == 1
    assert second.info["relay"]["did"] == "answered from its cache"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for the loopback that only itself vouches for, and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


async def test_a_target_with_tls_is_verified(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the target speaks TLS, then the relay verifies it as a client does, or does not ask."""
    cert, key = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0, ssl=context)
    target = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = Client(target, RunClock())
    for trusted in (True, False):
        monkeypatch.setenv("SSL_CERT_FILE", str(cert) if trusted else str(key))
        passage = Passage(target)
        await passage.start()
        got = await opened(client, passage, Powers(cut_after=50)).finish()
        await passage.aclose()
        if trusted:
            assert (got.body, got.end, got.request.url) == (BODY[:50], End.CUT, f"{target}/stream")
        else:
            assert got.status is None and "certificate" in got.info["relay"]["target"].lower()
    await client.aclose()
    server.close()
    await origin.aclose()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_real_proxy_is_started_passes_on_and_ends(kind: Kind) -> None:
    """If a real proxy is installed, then it runs in front of the relay until it is stopped."""
    if kind.program is None:
        pytest.skip(f"{kind.name} is not installed: {INSTALL}")
    async with running(Origin(framing="length")) as (client, passage):
        proxy = RealProxy(kind)
        try:
            assert await proxy.start(passage.relay.address), proxy.trouble
            via = passage.via(front=proxy.address, words=kind.name)
            got = await client.open("/stream", label="x", bound_s=5.0, via=via).finish()
        finally:
            await proxy.stop()
        assert (got.status, got.body, got.info["relay"]["is"]) == (200, BODY, kind.name)
        gone = await client.open("/stream", label="y", bound_s=5.0, via=via).finish()
        assert gone.end is End.REFUSED


async def test_a_real_proxy_that_does_not_start_says_why() -> None:
    """If a proxy does not start, then its trouble is told in one line, and nothing is left."""
    proxy = RealProxy(Kind("false", "", lambda program, _: [program]))
    assert not await proxy.start("http://127.0.0.1:9")
    assert proxy.trouble.startswith("false did not start")
    await proxy.stop()


def test_a_reproduction_names_the_target_and_what_was_in_between() -> None:
    """If an exchange went through the relay, then its curl line asks the target and says so."""
    request = Request("GET", "https://stream.example.com/x", (("Last-Event-ID", "3"),))
    relay = {"is": Powers(cut_after=9).words, "did": "cut after 9 bytes"}
    remark, line = curl(Recording("x", request, 0.0, info={"relay": relay})).split("\n")
    assert remark == (
        "# The suite came through a proxy that cuts after 9 bytes (cut after 9 bytes); "
        "this asks the target itself:"
    )
    assert line.endswith("'Last-Event-ID: 3' https://stream.example.com/x")
