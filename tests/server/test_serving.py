"""The server on real sockets: framing, HTTP/2, slow readers, shutdown, start-up errors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import pytest
from server_process import (
    DEADLINE_S,
    ROOT,
    RawConnection,
    ServerProcess,
    frames_of,
    running_server,
    wait_until,
)

SCRIPTED = {"SCRIPTED_PIPELINES": "1", "SQLITE_SYNCHRONOUS": "normal"}
#: More than any kernel buffers for a reader that does not read.
BULKY = {"events": 200, "interval_ms": 0, "payload_bytes": 900_000}
LONG = {"events": 6, "interval_ms": 0, "pauses": [[3, 60_000]]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("serving"), **SCRIPTED) as process:
        yield process


class Http2Reader:
    """An HTTP/2 connection with prior knowledge that reads only when it is told to."""

    def __init__(self, address: tuple[str, int], window: int = 65_535) -> None:
        self.socket = socket.create_connection(address, DEADLINE_S)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.connection = h2.connection.H2Connection(config)
        self.connection.local_settings.initial_window_size = window
        self.connection.initiate_connection()
        self.flush()
        self.bodies: dict[int, bytes] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.ended: dict[int, str] = {}

    def __enter__(self) -> Http2Reader:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.connection.data_to_send())

    def get(self, path: str) -> int:
        stream_id = self.connection.get_next_available_stream_id()
        self.connection.send_headers(
            stream_id,
            [
                (":method", "GET"),
                (":path", path),
                (":scheme", "http"),
                (":authority", "test"),
            ],
            end_stream=True,
        )
        self.flush()
        return stream_id

    def read(self, acknowledge: bool = True) -> bool:
        """One read from the socket; False at its end."""
        data = self.socket.recv(65_536)
        if not data:
            return False
        for event in self.connection.receive_data(data):
            stream_id = getattr(event, "stream_id", 0)
            if isinstance(event, h2.events.ResponseReceived):
                self.headers[stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[stream_id] = self.bodies.get(stream_id, b"") + event.data
                if acknowledge:
                    self.connection.acknowledge_received_data(
                        event.flow_controlled_length, stream_id
                    )
            elif isinstance(event, h2.events.StreamEnded):
                self.ended[stream_id] = "end"
            elif isinstance(event, h2.events.StreamReset):
                self.ended[stream_id] = "reset"
        self.flush()
        return True

    def read_until(self, stream_id: int, text: bytes) -> None:
        while text not in self.bodies.get(stream_id, b""):
            assert self.read()

    def read_to_end_of(self, stream_id: int) -> str:
        while stream_id not in self.ended:
            assert self.read(), "the connection ended before the stream"
        return self.ended[stream_id]


def problem_of(raw: bytes) -> tuple[bytes, dict[str, object]]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, raw
    document: dict[str, object] = json.loads(body)
    return head, document


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (
            b"POST /api/pipeline/start HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
            400,
        ),
        (b"GET /healthz HTTP/3.7", 400),
        (b"GET /healthz HTTP/2.0", 400),
        (b"GET /healthz HTTP/1.1\r\nExpect: a-miracle", 417),
        (b"POST /nowhere HTTP/1.1\r\nContent-Length: 1048577", 413),
        (b"POST /nowhere HTTP/1.1\r\nContent-Length: 999999999999999999", 413),
        (b"GET /healthz HTTP/1.1\r\nX-Long: " + b"y" * 40_000, 431),
        (b"GET nonsense HTTP/1.1", 400),
    ],
    ids=[
        "both-framings",
        "version-3.7",
        "version-2.0",
        "expect",
        "large",
        "huge",
        "header",
        "target",
    ],
)
def test_unreadable_requests_are_problems(
    server: ServerProcess, head: bytes, status: int, peers: ExitStack
) -> None:
    """What must not be read is refused as a problem with CORS headers, and closes."""
    connection = peers.enter_context(RawConnection(server.address))
    connection.send(head + b"\r\nHost: t\r\nOrigin: http://localhost:3000\r\n\r\n0\r\n\r\n")
    answer, document = problem_of(connection.receive_all())
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert document["status"] == status
    assert b"access-control-allow-origin: http://localhost:3000" in answer.lower()
    assert b"connection: close" in answer.lower()


def test_broken_chunks_are_a_problem(server: ServerProcess, peers: ExitStack) -> None:
    """A chunk size that is none, after a readable header section: 400 with a document."""
    connection = peers.enter_context(RawConnection(server.address))
    connection.send(
        b"POST /api/pipeline/start HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nOrigin: http://localhost:3000\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n"
    )
    answer, document = problem_of(connection.receive_all())
    assert document["status"] == 400
    assert b"access-control-allow-origin" in answer.lower()


def test_large_upload_gets_its_answer(server: ServerProcess) -> None:
    """A client that is still sending when it is refused can read the refusal."""
    with httpx.Client() as client:
        for content in (b"x" * 3_000_000, iter([b"y" * 300_000] * 6)):
            answer = client.post(
                f"{server.url}/api/pipeline/start",
                content=content,
                headers={"Content-Type": "application/json", "X-Client-Id": "a"},
            )
            assert answer.status_code == 413
            assert answer.json()["status"] == 413


def test_eight_kibibyte_header_is_fine(server: ServerProcess) -> None:
    """A long header is not an error."""
    answer = httpx.get(f"{server.url}/healthz", headers={"X-Long": "y" * 8192})
    assert answer.status_code == 200
    assert "server" not in answer.headers


def test_expect_continue_and_absolute_form(server: ServerProcess, peers: ExitStack) -> None:
    """100-continue is answered, and an absolute request target is understood."""
    body = json.dumps({"resume_text": "x"}).encode()
    connection = peers.enter_context(RawConnection(server.address))
    connection.send(
        b"POST http://test/api/pipeline/start HTTP/1.1\r\nHost: test\r\nX-Client-Id: expect\r\n"
        b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    assert connection.receive_until(lambda got: b"\r\n\r\n" in got).startswith(b"HTTP/1.1 100")
    connection.send(body)
    connection.receive_until(lambda got: b'"quota"' in got)
    assert b"HTTP/1.1 202" in connection.received


def test_head_of_a_stream_leaves_the_connection_usable(
    server: ServerProcess, peers: ExitStack
) -> None:
    """HEAD on a stream answers at once; the next request on the connection is answered too."""
    job = server.start_job(pipeline=LONG)
    connection = peers.enter_context(RawConnection(server.address))
    connection.send(f"HEAD {job['stream_url']} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    head = connection.receive_until(lambda got: b"\r\n\r\n" in got)
    assert b"text/event-stream" in head
    assert b"connection: keep-alive" in head.lower()
    connection.received = b""
    connection.get("/healthz")
    assert b'"ok"' in connection.receive_until(lambda got: b'"ok"' in got)


def test_http_1_0_gets_no_chunks(server: ServerProcess, peers: ExitStack) -> None:
    """A stream to HTTP/1.0 is delimited by the end of the connection."""
    job = server.start_job(pipeline={"events": 6, "interval_ms": 0})
    connection = peers.enter_context(RawConnection(server.address))
    connection.send(f"GET {job['stream_url']} HTTP/1.0\r\n\r\n".encode())
    head, _, body = connection.receive_all().partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"keep-alive" not in head.lower()
    assert frames_of(body)[-1]["event"] == "done"


def test_http2_by_prior_knowledge(server: ServerProcess, peers: ExitStack) -> None:
    """A stream over HTTP/2 ends with END_STREAM and has no connection header."""
    job = server.start_job(pipeline={"events": 20, "interval_ms": 5})
    reader = peers.enter_context(Http2Reader(server.address))
    stream_id = reader.get(job["stream_url"])
    assert reader.read_to_end_of(stream_id) == "end"
    assert "connection" not in reader.headers[stream_id]
    assert len(frames_of(reader.bodies[stream_id])) == 21
    again = reader.get("/healthz")
    assert reader.read_to_end_of(again) == "end"


def test_surplus_http2_streams_are_refused(server: ServerProcess, peers: ExitStack) -> None:
    """One stream beyond the stated limit is refused; those within it go on (RFC 9113 §5.1.2)."""
    job = server.start_job(pipeline={"events": 5, "interval_ms": 0, "pauses": [[2, 4000]]})
    reader = peers.enter_context(Http2Reader(server.address))
    limit = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
    while reader.connection.remote_settings.get(limit, 0) != 250:
        assert reader.read()
    streams = [reader.get(job["stream_url"]) for _ in range(250)]
    reader.connection.remote_settings[limit] = 251  # as if no limit had been stated
    reader.connection.remote_settings.acknowledge()
    assert reader.read_to_end_of(reader.get(job["stream_url"])) == "reset"
    for stream_id in (streams[0], streams[-1]):
        assert reader.read_to_end_of(stream_id) == "end"
        assert frames_of(reader.bodies[stream_id])[-1]["event"] == "done"


def test_a_stalled_http2_reader_is_bounded_and_then_reset(tmp_path: Path, peers: ExitStack) -> None:
    """A peer whose window stays shut costs bounded memory, is reset in time, alone."""
    with running_server(tmp_path, **SCRIPTED, STALLED_READER_SECONDS="1.5") as server:
        job = server.start_job(pipeline={"events": 200, "interval_ms": 5, "payload_bytes": 300_000})
        before_mib = server.rss_mib()
        reader = peers.enter_context(Http2Reader(server.address))
        stalled = reader.get(job["stream_url"])
        while stalled not in reader.ended:
            assert reader.read(acknowledge=False)
        assert reader.ended[stalled] == "reset"
        assert server.rss_mib() - before_mib < 100
        reader.connection.increment_flow_control_window(65_535)  # what the reset stream had used
        reader.flush()
        other = reader.get("/healthz")
        assert reader.read_to_end_of(other) == "end"


def test_a_stalled_reader_is_cut_and_may_resume(tmp_path: Path, peers: ExitStack) -> None:
    """One that accepts no byte is cut; others are not delayed; its cursor still works."""
    with running_server(tmp_path, **SCRIPTED, STALLED_READER_SECONDS="1.5") as server:
        job = server.start_job(pipeline=BULKY)
        stalled = peers.enter_context(RawConnection(server.address, receive_buffer=4096))
        stalled.get(job["stream_url"])
        stalled.receive_until(lambda got: b"id: 1\n" in got)
        body = httpx.get(server.url + job["stream_url"], timeout=DEADLINE_S).content
        assert frames_of(body)[-1]["event"] == "done"

        def cut() -> bool:
            return "stream_readers 0.0" in httpx.get(f"{server.url}/metrics").text

        wait_until(cut, "the stalled reader is cut")
        resumed = httpx.get(server.url + job["stream_url"], headers={"Last-Event-ID": "1"})
        assert frames_of(resumed.content)[1]["id"] == "2"


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_sigterm_recycles_streams_and_ends_in_time(
    tmp_path: Path, store: str, peers: ExitStack
) -> None:
    """Open streams on HTTP/1.1 and HTTP/2 end cleanly, an idle connection does not delay it."""
    env = {**SCRIPTED, "STREAM_STORE_BACKEND": store}
    with running_server(tmp_path, **env) as server:
        job = server.start_job(pipeline=LONG)
        idle = peers.enter_context(RawConnection(server.address))
        idle.get("/healthz")
        idle.receive_until(lambda got: b'"ok"' in got)
        old = peers.enter_context(RawConnection(server.address))
        old.get(job["stream_url"])
        old.receive_until(lambda got: b"id: 3\n" in got)
        new = peers.enter_context(Http2Reader(server.address))
        stream_id = new.get(job["stream_url"])
        new.read_until(stream_id, b"id: 3\n")
        took_s = server.terminate()
        assert server.process.returncode == 0, server.logs
        assert took_s < 4
        received = old.receive_all()
        assert received.endswith(b"\r\n0\r\n\r\n")
        assert new.read_to_end_of(stream_id) == "end"
        if store == "sqlite":
            assert b": recycle\n\r\n" in received
            assert new.bodies[stream_id].endswith(b": recycle\n")
        else:
            # Nobody can go on with a job of the memory store: it ends, and says why.
            assert b'"interrupted"' in received
            assert b"event: done" in new.bodies[stream_id]


def test_sigterm_with_stalled_readers_ends_in_time(tmp_path: Path, peers: ExitStack) -> None:
    """Readers that take nothing cannot hold up the end of the process, and it is a clean one."""
    with running_server(tmp_path, **SCRIPTED, GRACE_SECONDS="3") as server:
        job = server.start_job(pipeline=BULKY)
        stalled = peers.enter_context(RawConnection(server.address, receive_buffer=4096))
        stalled.get(job["stream_url"])
        stalled.receive_until(lambda got: b"id: 1\n" in got)
        shut = peers.enter_context(Http2Reader(server.address))
        shut.get(job["stream_url"])
        shut.read(acknowledge=False)
        server.wait_ended(job["job_id"])
        assert server.terminate() < 3.3
        assert server.process.returncode == 0


def test_draining_refuses_starts_and_turns_streams_away(tmp_path: Path, peers: ExitStack) -> None:
    """While a stalled reader keeps the process: starts get 503, streams get 200 and the mark."""
    with running_server(tmp_path, **SCRIPTED, GRACE_SECONDS="6") as server:
        job = server.start_job(pipeline=BULKY)
        stalled = peers.enter_context(RawConnection(server.address, receive_buffer=4096))
        stalled.get(job["stream_url"])
        stalled.receive_until(lambda got: b"id: 1\n" in got)
        server.wait_ended(job["job_id"])
        server.process.send_signal(signal.SIGTERM)
        ready = f"{server.url}/readyz"
        wait_until(lambda: httpx.get(ready).status_code == 503, "readiness turns 503")
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        refused = httpx.post(f"{server.url}/api/pipeline/start", json={})
        assert refused.status_code == 503
        assert refused.headers["Retry-After"].isdigit()
        stream = httpx.get(server.url + job["stream_url"])
        assert stream.status_code == 200
        assert [frame["event"] for frame in frames_of(stream.content)] == ["connection"]
        assert stream.content.endswith(b"\n: recycle\n")
        server.process.wait(DEADLINE_S)
        assert server.process.returncode == 0


def run_to_end(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reference_server"],
        cwd=ROOT,
        env={**os.environ, "PORT": "0", **env},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"PORT": "x", "LOG_LEVEL": "y"}, ["PORT", "LOG_LEVEL"]),
        ({"STREAM_STORE_BACKEND": "postgres"}, ["POSTGRES_DSN must be given"]),
        ({"SQLITE_PATH": "/dev/null/jobs.db"}, ["database"]),
        ({"HOST": "203.0.113.1"}, ["cannot listen"]),
    ],
    ids=["settings", "postgres", "store", "address"],
)
def test_unusable_environment_is_told_in_lines(env: dict[str, str], named: list[str]) -> None:
    """Exit code 2, each fault in a line, no traceback, nothing on standard output."""
    ended = run_to_end(env)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    for word in named:
        assert word in ended.stderr


def test_logs_are_json_lines_without_the_resume(tmp_path: Path) -> None:
    """Standard error is JSON lines, and never holds what a client sent."""
    with running_server(tmp_path, LOG_LEVEL="debug", PIPELINE_TIME_SCALE="0") as server:
        job = server.start_job(resume_text="canary-resume-text")
        httpx.get(server.url + job["stream_url"], headers={"Authorization": "Bearer canary-token"})
        server.terminate()
        lines = server.logs.splitlines()
        assert lines
        assert all("event" in json.loads(line) for line in lines)
        assert "canary" not in server.logs


def test_replay_of_ten_thousand_events_is_quick(tmp_path: Path) -> None:
    """10,000 events are replayed in under two seconds, from the store."""
    with running_server(tmp_path, **SCRIPTED) as server:
        job = server.start_job(pipeline={"events": 10_000, "interval_ms": 0, "payload_bytes": 200})
        server.wait_ended(job["job_id"])
        began = time.monotonic()
        with httpx.stream("GET", server.url + job["stream_url"], timeout=DEADLINE_S) as answer:
            size = sum(len(data) for data in answer.iter_raw())
        took_s = time.monotonic() - began
        assert size >= 10_000 * 4096
        assert took_s < 2, took_s


def test_root_path_is_stripped_and_told(tmp_path: Path) -> None:
    """Behind a prefix, with or without a proxy that strips it, the told URLs work."""
    with running_server(tmp_path, ROOT_PATH="/prefix", PIPELINE_TIME_SCALE="0") as server:
        job = server.start_job()
        assert job["snapshot_url"].startswith("/prefix/api/")
        assert httpx.get(server.url + job["snapshot_url"]).status_code == 200
        assert httpx.get(f"{server.url}/api/jobs/{job['job_id']}/snapshot").status_code == 200


def test_http2_over_tls(tmp_path: Path) -> None:
    """With a certificate the server speaks TLS and offers HTTP/2 by ALPN."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        f" -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    env = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key), "PIPELINE_TIME_SCALE": "0"}
    with running_server(tmp_path, **env) as server:
        assert server.url.startswith("https://")
        with httpx.Client(http2=True, verify=False) as client:
            job = server.start_job(client)
            answer = client.get(server.url + job["stream_url"])
            assert answer.http_version == "HTTP/2"
            assert frames_of(answer.content)[-1]["event"] == "done"
        assert server.terminate() < 4
        assert server.process.returncode == 0
