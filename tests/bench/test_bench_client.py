"""The benchmark's client and its plain loop: what is counted is what was sent."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from load.bench import subjects, tools
from load.bench.client import Client, NotReady, Offer
from load.bench.machine import Cpus

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
pytestmark = needs_gcc


@contextmanager
def speaking(say: Callable[[socket.socket], None]) -> Iterator[Offer]:
    """A server for one connection."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):  # the client leaves when it has enough
            connection.recv(4096)
            say(connection)
            connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield Offer(listener.getsockname(), "/")
        thread.join()


def frame(number: int, age_s: float = 0.0) -> bytes:
    stamp = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(timespec="microseconds")
    text = f'id: {number}\ndata: {{"timestamp":"{stamp[:26]}Z"}}\n\n'
    return text.encode() + b":" + b" " * 300 + b"\n"


def chunk(*frames: bytes) -> bytes:
    data = b"".join(frames)
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("step", [1, 7, 100, 1_000_000], ids=["bytes", "odd", "slices", "whole"])
def test_events_are_counted_wherever_reads_end(step: int) -> None:
    """Three events, two of them in one chunk, one out of order, dated two seconds ago."""

    def say(connection: socket.socket) -> None:
        text = b"HTTP/1.1 200 OK\r\n\r\n" + chunk(frame(1, 2), frame(2, 2)) + chunk(frame(4, 2))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(text), step):
            connection.sendall(text[start : start + step])

    with speaking(say) as offer, Client(tools.client(), offer, "strict") as client:
        client.connect(1)
        client.until(3, 10)
        state = client.state
        assert (state.least, state.most, state.joined, state.odd) == (3, 3, 1, 1)
        ages = client.ages()
        assert ages.events == 3
        assert 2_000_000 <= ages.p50 <= ages.p99 <= ages.most < 8_000_000
        assert client.ages().events == 0


def test_a_stream_that_ends_early_is_no_measurement() -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + chunk(frame(1)))
        connection.shutdown(socket.SHUT_WR)

    with speaking(say) as offer, Client(tools.client(), offer, "eager") as client:
        client.connect(1)
        with pytest.raises(NotReady, match="ended"):
            client.until(2, 10)


def test_waiting_is_bounded() -> None:
    with (
        speaking(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")) as offer,
        Client(tools.client(), offer, "lazy") as client,
    ):
        client.connect(1)
        began = time.monotonic()
        with pytest.raises(NotReady, match="1 readers"):
            client.until(1, 0.2)
        assert time.monotonic() - began < 5


def test_the_plain_loop_sends_what_it_is_told(tmp_path: Path) -> None:
    """Five events to three readers, in bursts of two: whole, in order, counted once."""
    free = sorted(os.sched_getaffinity(0))
    cpus = Cpus(free[0], free[-1])
    plan = subjects.Plan(3, 5, 2, 1000)
    with (
        subjects.peer(subjects.LOOP, tmp_path, cpus) as loop,
        loop.job(plan) as job,
        Client(tools.client(), job.offer, "strict") as client,
    ):
        client.connect(3)
        client.settle()
        job.open()
        client.until(1, 10)
        job.go()
        client.until(6, 10)
        state = client.state
        assert (state.least, state.most, state.joined, state.odd) == (6, 6, 3 * 2, 0)
