"""New events go straight to the connections of caught-up readers; all other readers are right too.

Over real sockets: what matters is what arrives, in whole chunks, once and in order, and that the
short way was really taken. Whoever falls off it must be carried on by its own task.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from contextlib import ExitStack
from pathlib import Path

import h11
import httpx
import pytest
from server_process import (
    DEADLINE_S,
    RawConnection,
    ServerProcess,
    frames_of,
    running_server,
    wait_until,
)

SCRIPTED = {"SCRIPTED_PIPELINES": "1"}
READERS = 20


def direct_writes(server: ServerProcess) -> int:
    """How many writes went past the readers' tasks."""
    text = httpx.get(f"{server.url}/metrics").text
    found = re.search(r"^stream_direct_writes_total (\S+)$", text, re.MULTILINE)
    assert found, text
    return int(float(found[1]))


def readers_of(
    server: ServerProcess, path: str, count: int, peers: ExitStack
) -> list[RawConnection]:
    """Readers whose streams have begun."""
    readers = [peers.enter_context(RawConnection(server.address)) for _ in range(count)]
    for reader in readers:
        reader.get(path)
    for reader in readers:
        reader.receive_until(lambda got: b"event: connection\n" in got)
    return readers


def body_of(received: bytes) -> bytes:
    """The whole body of an answer in chunks, read as strictly as h11 does; it must have an end."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "test")]))
    client.receive_data(received)
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA, f"no end after {len(received)} octets"
        body += event.data if isinstance(event, h11.Data) else b""
    return body


def ids_of(body: bytes) -> list[int]:
    """The ids of the log's events in this body."""
    return [int(frame["id"]) for frame in frames_of(body) if frame["id"]]


def ended(got: bytes) -> bool:
    return got.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("switch", ["1", "0"])
def test_both_ways_deliver_the_same(tmp_path: Path, peers: ExitStack, switch: str) -> None:
    """Each event once and in order, in whole chunks, to the end; the connection lives on.

    With the pinned Hypercorn and h11 nearly every event takes the short way: were their insides
    not what `edge.py` expects, all would quietly take the long one, and only be slow.
    """
    with running_server(tmp_path, **SCRIPTED, DIRECT_WRITES=switch) as server:
        script = {"events": 60, "interval_ms": 10, "pauses": [[0, 500]]}
        job = server.start_job(pipeline=script)
        readers = readers_of(server, job["stream_url"], READERS, peers)
        for reader in readers:
            reader.receive_until(ended)
        bodies = [body_of(reader.received) for reader in readers]
        for body in bodies:
            assert ids_of(body) == list(range(1, 61))
            assert body.partition(b"id: 1\n")[2] == bodies[0].partition(b"id: 1\n")[2]
        assert direct_writes(server) == 0 if switch == "0" else direct_writes(server) > 50 * READERS
        counted = re.search(
            r"^stream_event_latency_seconds_count (\S+)$",
            httpx.get(f"{server.url}/metrics").text,
            re.MULTILINE,
        )
        assert counted
        assert float(counted[1]) > 50 * READERS
        readers[0].received = b""
        readers[0].get("/healthz")
        assert b'"ok"' in readers[0].receive_until(lambda got: b'"ok"' in got)


def test_events_of_one_turn_travel_in_one_chunk(tmp_path: Path, peers: ExitStack) -> None:
    """What is emitted together is joined; nothing waits for it."""
    with running_server(tmp_path, **SCRIPTED) as server:
        pauses = [[0, 500], [8, 100], [16, 100]]
        job = server.start_job(pipeline={"events": 24, "interval_ms": 0, "pauses": pauses})
        (reader,) = readers_of(server, job["stream_url"], 1, peers)
        reader.receive_until(ended)
        assert ids_of(body_of(reader.received)) == list(range(1, 25))
        assert reader.received.count(b"\r\n%x\r\nid: " % (8 * 4096)) == 3


def test_other_protocols_are_never_written_to_directly(tmp_path: Path, peers: ExitStack) -> None:
    """HTTP/2 has frames of its own, HTTP/1.0 no chunks: their readers' tasks write."""
    with running_server(tmp_path, **SCRIPTED) as server:
        script = {"events": 20, "interval_ms": 10, "pauses": [[0, 300]]}
        job = server.start_job(pipeline=script)
        old = peers.enter_context(RawConnection(server.address))
        old.send(f"GET {job['stream_url']} HTTP/1.0\r\n\r\n".encode())
        with httpx.Client(http1=False, http2=True, timeout=DEADLINE_S) as client:
            new = client.get(server.url + job["stream_url"])
        assert new.http_version == "HTTP/2"
        assert ids_of(new.content) == list(range(1, 21))
        assert ids_of(old.receive_all().partition(b"\r\n\r\n")[2]) == list(range(1, 21))
        assert direct_writes(server) == 0


def test_a_reader_that_rests_is_carried_on(tmp_path: Path, peers: ExitStack) -> None:
    """While it reads nothing it costs bounded memory and delays nobody; then it gets all the rest,
    and, once it has caught up, is written to directly again."""
    events = 1500
    with running_server(tmp_path, **SCRIPTED) as server:
        pauses = [[0, 500], [events - 103, 4000]]
        script = {"events": events, "interval_ms": 1, "payload_bytes": 6000, "pauses": pauses}
        job = server.start_job(pipeline=script)
        rested = peers.enter_context(RawConnection(server.address, receive_buffer=4096))
        rested.get(job["stream_url"])
        rested.receive_until(lambda got: b"event: connection\n" in got)
        (steady,) = readers_of(server, job["stream_url"], 1, peers)
        before_mib = server.rss_mib()
        last = b"\nid: %d\n" % (events - 103)
        steady.receive_until(lambda got: last in got[-20_000:])
        assert server.rss_mib() - before_mib < 40
        assert direct_writes(server) > events // 2
        rested.receive_until(lambda got: last in got[-20_000:])
        before = direct_writes(server)
        rested.receive_until(ended)
        steady.receive_until(ended)
        for reader in (rested, steady):
            assert ids_of(body_of(reader.received)) == list(range(1, events + 1))
        assert direct_writes(server) - before > 150  # of 200 to the two of them


def test_large_events_take_the_long_way(tmp_path: Path, peers: ExitStack) -> None:
    """A frame above what may be handed over goes out in slices that wait for the reader."""
    with running_server(tmp_path, **SCRIPTED) as server:
        script = {"events": 12, "interval_ms": 20, "payload_bytes": 300_000, "pauses": [[0, 300]]}
        job = server.start_job(pipeline=script)
        (reader,) = readers_of(server, job["stream_url"], 1, peers)
        reader.receive_until(ended)
        assert ids_of(body_of(reader.received)) == list(range(1, 13))


def test_heartbeats_count_from_what_was_handed_over(tmp_path: Path, peers: ExitStack) -> None:
    """None while events come, one per interval of silence, none inside another frame."""
    with running_server(tmp_path, **SCRIPTED, HEARTBEAT_SECONDS="0.5") as server:
        script = {"events": 43, "interval_ms": 50, "pauses": [[0, 100], [40, 1700]]}
        job = server.start_job(pipeline=script)
        (reader,) = readers_of(server, job["stream_url"], 1, peers)
        reader.receive_until(ended)
        names = [frame["event"] for frame in frames_of(body_of(reader.received))]
        beats = [index for index, name in enumerate(names) if name == "heartbeat"]
        assert beats == [41, 42, 43]  # behind `connection` and 40 events
        assert direct_writes(server) > 30


def test_readers_that_vanish_in_mid_burst_harm_nobody(tmp_path: Path, peers: ExitStack) -> None:
    """Half of the connections are reset while they are written to; the others get everything."""
    with running_server(tmp_path, **SCRIPTED) as server:
        job = server.start_job(pipeline={"events": 600, "interval_ms": 2, "pauses": [[0, 500]]})
        readers = readers_of(server, job["stream_url"], 2 * READERS, peers)
        for number, reader in enumerate(readers[:READERS]):
            reader.receive_until(lambda got, last=number: b"\nid: %d\n" % (5 + 2 * last) in got)  # type: ignore[misc]
            reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            reader.socket.close()
        for reader in readers[READERS:]:
            reader.receive_until(ended)
            assert ids_of(body_of(reader.received)) == list(range(1, 601))
        wait_until(
            lambda: "stream_readers 0.0" in httpx.get(f"{server.url}/metrics").text,
            "all streams are over",
        )
        assert direct_writes(server) > 500 * READERS
        assert "Traceback" not in server.logs
        assert '"level": "error"' not in server.logs


def test_a_drain_in_mid_burst_ends_streams_cleanly(tmp_path: Path, peers: ExitStack) -> None:
    """SIGTERM while events are handed out: whole chunks, the recycle mark, the last chunk."""
    with running_server(tmp_path, **SCRIPTED) as server:
        job = server.start_job(pipeline={"events": 5000, "interval_ms": 2, "pauses": [[0, 500]]})
        readers = readers_of(server, job["stream_url"], READERS, peers)
        readers[0].receive_until(lambda got: b"\nid: 50\n" in got)
        began = time.monotonic()
        server.terminate()
        assert time.monotonic() - began < 4
        assert server.process.returncode == 0, server.logs
        for reader in readers:
            body = body_of(reader.receive_all())
            ids = ids_of(body)
            assert ids == list(range(1, len(ids) + 1))
            assert len(ids) >= 50
            assert body.endswith(b": recycle\n")
