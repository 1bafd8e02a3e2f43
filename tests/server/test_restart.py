"""Killing the server in mid-job: nothing that a reader saw is lost, and the job goes on (§8)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
from server_process import RawConnection, frames_of, running_server, wait_until

ENV = {"SCRIPTED_PIPELINES": "1", "LEASE_SECONDS": "1", "INSTANCE_ID": "same-name"}
EVENTS = 300


class Witness(threading.Thread):
    """Reads a stream until the connection breaks, and remembers every event."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.body = b""

    def run(self) -> None:
        try:
            with httpx.stream("GET", self._url, timeout=20) as answer:
                for data in answer.iter_raw():
                    self.body += data
        except httpx.HTTPError:
            pass  # the server was killed; that is the point

    def events(self) -> list[dict[str, Any]]:
        whole = self.body.rpartition(b"\n\n")[0]
        return [frame["data"] for frame in frames_of(whole) if frame["id"]]


def test_kill_in_mid_job_loses_nothing_that_was_seen(tmp_path: Path) -> None:
    """After kill -9 and a restart on the same file: the seen events are in the log, ids are
    contiguous, the job goes on after the last stored event and ends."""
    script = {"events": EVENTS, "interval_ms": 4, "payload_bytes": 300}
    with running_server(tmp_path, **ENV) as server:
        jobs = [server.start_job(pipeline=script)["job_id"] for _ in range(3)]
        witnesses = [Witness(f"{server.url}/api/jobs/{job}/stream") for job in jobs]
        for witness in witnesses:
            witness.start()
        wait_until(lambda: all(len(w.events()) >= 40 for w in witnesses), "events are seen")
        server.kill()
        for witness in witnesses:
            witness.join(10)
    with running_server(tmp_path, **ENV) as server:
        for job, witness in zip(jobs, witnesses, strict=True):
            seen = witness.events()
            assert 40 <= len(seen) < EVENTS
            kept = server.events(job)
            assert kept[: len(seen)] == seen
            rest = httpx.get(
                f"{server.url}/api/jobs/{job}/stream",
                headers={"Last-Event-ID": str(seen[-1]["id"])},
                timeout=30,
            )
            resumed = [frame["data"] for frame in frames_of(rest.content) if frame["id"]]
            log = server.events(job)
            assert seen + resumed == log
            assert [event["id"] for event in log] == list(range(1, EVENTS + 1))
            assert log[-1]["type"] == "done"
            assert log[-1]["data"]["status"] == "completed"
        metrics = httpx.get(f"{server.url}/metrics").text
        assert "jobs_taken_over_total 3.0" in metrics


def test_orderly_restart_continues_at_once(tmp_path: Path) -> None:
    """After SIGTERM the leases are free: the next process goes on without waiting for them."""
    env = {**ENV, "LEASE_SECONDS": "60"}
    script = {"events": 100, "interval_ms": 10}
    with running_server(tmp_path, **env) as server:
        job = server.start_job(pipeline=script)["job_id"]
        with RawConnection(server.address) as reader:
            reader.get(f"/api/jobs/{job}/stream")
            reader.receive_until(lambda got: b"id: 5\n" in got)
            assert server.terminate() < 5
    with running_server(tmp_path, **env) as server:
        body = httpx.get(f"{server.url}/api/jobs/{job}/stream", timeout=20).content
        assert frames_of(body)[-1]["event"] == "done"
        assert [e["id"] for e in server.events(job)] == list(range(1, 101))


def test_quota_survives_a_restart(tmp_path: Path) -> None:
    """What a client has used is counted in the store."""
    start = {"json": {"resume_text": "x"}, "headers": {"X-Client-Id": "same"}}
    for expected in (202, 429):
        with running_server(tmp_path, QUOTA_RUNS_PER_CLIENT="1") as server:
            answer = httpx.post(f"{server.url}/api/pipeline/start", **start)  # type: ignore[arg-type]
            assert answer.status_code == expected
            server.kill()


def test_two_processes_share_one_file(tmp_path: Path) -> None:
    """A job that runs in one process streams from the other, whole and without delay."""
    with running_server(tmp_path, **ENV) as one, running_server(tmp_path, **ENV) as other:
        job = one.start_job(pipeline={"events": 60, "interval_ms": 20})
        body = httpx.get(other.url + job["stream_url"], timeout=20).content
        assert [frame["data"] for frame in frames_of(body) if frame["id"]] == one.events(
            job["job_id"]
        )
        canceled = one.start_job(pipeline={"events": 60, "interval_ms": 1000})
        answer = httpx.post(f"{other.url}/api/jobs/{canceled['job_id']}/cancel")
        assert answer.json()["status"] == "canceled"
        assert one.events(canceled["job_id"])[-1]["type"] == "done"
