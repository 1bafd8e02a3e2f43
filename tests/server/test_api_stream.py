"""The stream: headers, first frame, replay from every cursor, gaps, heartbeats, ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from app_client import AppClient, app_client, script
from server_process import RESUME, frames_of

from reference_server.events import to_json


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppClient]:
    async with app_client() as client:
        yield client


def ids(frames: list[dict[str, Any]]) -> list[int]:
    return [int(frame["id"]) for frame in frames if frame["id"] is not None]


class LiveReader:
    """A stream that is read as it arrives."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.body = b""

    async def until(self, text: bytes) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while text not in self.body:
                self.body += await self._connection.receive()
        return frames_of(self.body)

    async def to_the_end(self) -> bytes:
        async with asyncio.timeout(10):
            while data := await self._connection.receive():
                self.body += data
            return self.body


async def test_headers(app: AppClient) -> None:
    """A stream forbids caching, buffering and transformation, and has no length."""
    job = await app.start(pipeline=script())
    await app.ended(job)
    answer = await app.http.get(f"/api/jobs/{job}/stream")
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == ("no-cache, no-store, must-revalidate, no-transform")
    assert answer.headers["Pragma"] == "no-cache"
    assert answer.headers["Expires"] == "0"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Vary"] == "Origin, Accept"
    assert "Content-Encoding" not in answer.headers


async def test_connection_comes_first_and_tells_the_truth(app: AppClient) -> None:
    """The first frame names job, status, cursor and newest id, with retry and without an id."""
    job = await app.start(pipeline=script(12))
    await app.ended(job)
    first, *rest = await app.stream(job, {"Last-Event-ID": "4"})
    assert first["event"] == "connection"
    assert first["id"] is None
    assert first["retry"] == "2000"
    assert first["data"]["data"] == {
        "job_id": job,
        "status": "completed",
        "after": 4,
        "latest": 12,
    }
    assert ids(rest) == list(range(5, 13))


async def test_every_cursor_gives_exactly_the_rest(app: AppClient) -> None:
    """For every k: the events after k, with the same bytes each time; 204 for the last."""
    job = await app.start(pipeline=script(15))
    await app.ended(job)
    whole = await app.stream(job)
    for k in range(15):
        frames = await app.stream(job, query=f"?last_event_id={k}")
        assert frames[1:] == whole[1 + k :]
    answer = await app.http.get(f"/api/jobs/{job}/stream", headers={"Last-Event-ID": "15"})
    assert answer.status_code == 204
    assert await answer.get_data() == b""


@pytest.mark.parametrize("cursor", ["01", "+1", "-1", "1e3", "x", str(2**63)])
async def test_malformed_cursor_is_400(app: AppClient, cursor: str) -> None:
    """What is no cursor is refused, as a header and as a parameter."""
    job = await app.start(wait_for_subscriber=True)
    url = f"/api/jobs/{job}/stream"
    assert (await app.http.get(url, headers={"Last-Event-ID": cursor})).status_code == 400
    assert (await app.http.get(url, query_string={"last_event_id": cursor})).status_code == 400


async def test_cursor_ahead_of_the_log_is_a_gap(app: AppClient) -> None:
    """A cursor that the store has not reached: replay_gap, then the whole kept log."""
    job = await app.start(pipeline=script(8))
    await app.ended(job)
    connection, gap, *rest = await app.stream(job, {"Last-Event-ID": "100"})
    assert connection["data"]["data"]["after"] == 100
    assert gap["event"] == "replay_gap"
    assert gap["data"]["data"] == {"requested": 100, "earliest": 1, "latest": 8}
    assert ids(rest) == list(range(1, 9))


async def test_pruned_history_is_a_gap() -> None:
    """Before the oldest kept event: replay_gap directly after connection, then what is kept."""
    async with app_client(history_limit=20) as app:
        job = await app.start(pipeline=script(50))
        await app.ended(job)
        _connection, gap, *rest = await app.stream(job)
        assert gap["data"]["data"] == {"requested": 0, "earliest": 31, "latest": 50}
        assert ids(rest) == list(range(31, 51))
        frames = await app.stream(job, {"Last-Event-ID": "30"})
        assert frames[1]["id"] == "31"


async def test_pruning_that_overtakes_a_reader_is_told() -> None:
    """A reader whom pruning overtakes in mid-stream gets replay_gap, never a silent skip."""
    async with app_client(history_limit=20, hot_cache_events=10) as app:
        job = await app.start(pipeline=script(60, interval_ms=5))
        async with app.http.request(f"/api/jobs/{job}/stream") as connection:
            await connection.send_complete()
            reader = LiveReader(connection)
            await reader.until(b"id: 1\n")
            await app.ended(job)
            frames = frames_of(await reader.to_the_end())
        seen = 0
        for frame in frames[1:]:
            if frame["event"] == "replay_gap":
                assert frame["data"]["data"]["requested"] == seen
                seen = frame["data"]["data"]["earliest"] - 1
            else:
                seen += 1
                assert int(frame["id"]) == seen
        assert frames[-1]["event"] == "done"


async def test_joining_mid_run_is_seamless(app: AppClient) -> None:
    """Readers that join at any moment get every event once, in order."""
    job = await app.start(pipeline=script(120, interval_ms=3))
    streams = []
    for _ in range(6):
        streams.append(asyncio.ensure_future(app.stream(job)))
        await (await app.http.get(f"/api/jobs/{job}/events?after=20&wait=1")).get_data()
    for frames in await asyncio.gather(*streams):
        assert ids(frames) == list(range(1, 121))


async def test_first_stream_starts_a_waiting_job(app: AppClient) -> None:
    """wait_for_subscriber: HEAD and polling are no subscribers, the first stream is."""
    job = await app.start(wait_for_subscriber=True, pipeline=script(6))
    assert (await app.http.head(f"/api/jobs/{job}/stream")).status_code == 200
    page = await (await app.http.get(f"/api/jobs/{job}/events?wait=0.2")).get_json()
    assert (page["status"], page["events"], page["done"]) == ("queued", [], False)
    frames = await app.stream(job)
    assert frames[0]["data"]["data"]["status"] == "queued"
    assert ids(frames) == [1, 2, 3, 4, 5, 6]


async def test_heartbeats_fill_silence() -> None:
    """A heartbeat comes after each silent interval, without an id, and tells the newest id."""
    async with app_client(heartbeat_seconds=0.1) as app:
        job = await app.start(pipeline=script(6, pauses=[[2, 450]]))
        frames = await app.stream(job)
        beats = [frame for frame in frames if frame["event"] == "heartbeat"]
        assert 3 <= len(beats) <= 5
        assert all(beat["id"] is None for beat in beats)
        assert beats[0]["data"]["data"] == {"latest": 2}
        assert frames[-1]["event"] == "done"


async def test_old_streams_are_recycled() -> None:
    """STREAM_MAX_SECONDS: the last line is the mark, and the cursor continues."""
    async with app_client(stream_max_seconds=0.2) as app:
        job = await app.start(pipeline=script(6, pauses=[[3, 600]]))
        body = await (await app.http.get(f"/api/jobs/{job}/stream")).get_data()
        assert body.endswith(b"\n: recycle\n")
        frames = frames_of(body)
        assert ids(frames) == [1, 2, 3]
        await app.ended(job)
        assert ids(await app.stream(job, {"Last-Event-ID": "3"})) == [4, 5, 6]


async def test_draining_recycles_open_and_new_streams(app: AppClient) -> None:
    """While draining: open streams end with the mark; new ones get connection and the mark."""
    job = await app.start(pipeline=script(6, pauses=[[3, 5000]]))
    async with app.http.request(f"/api/jobs/{job}/stream") as connection:
        await connection.send_complete()
        reader = LiveReader(connection)
        await reader.until(b"id: 3\n")
        app.parts.lifecycle.begin_recycling()
        app.parts.hub.wake_all()
        body = await reader.to_the_end()
        assert body.endswith(b"\n: recycle\n")
    body = await (await app.http.get(f"/api/jobs/{job}/stream")).get_data()
    assert [frame["event"] for frame in frames_of(body)] == ["connection"]
    assert body.endswith(b"\n: recycle\n")
    assert (await app.http.get("/readyz")).status_code == 503


async def test_cancel_reaches_every_reader(app: AppClient) -> None:
    """All readers of a cancelled job get job_status canceled and done."""
    job = await app.start(pipeline=script(6, pauses=[[2, 20_000]]))
    streams = [asyncio.ensure_future(app.stream(job)) for _ in range(3)]
    await (await app.http.get(f"/api/jobs/{job}/events?after=1&wait=5")).get_data()
    for _ in range(2):
        answer = await app.http.post(f"/api/jobs/{job}/cancel")
        assert answer.status_code == 202
        assert await answer.get_json() == {"job_id": job, "status": "canceled"}
    for frames in await asyncio.gather(*streams):
        assert [frame["event"] for frame in frames[-2:]] == ["job_status", "done"]
        assert frames[-1]["data"]["data"] == {"status": "canceled"}


async def test_a_stream_that_never_began_is_forgotten(app: AppClient) -> None:
    """A client that leaves before its headers leaves no reader behind."""
    job = await app.start(wait_for_subscriber=True)
    log = await app.parts.hub.log(job)
    assert log is not None
    chunks = app.parts.streams.open(log, 0)
    assert len(log.readers) == 1
    del chunks
    gc.collect()
    assert not log.readers


async def test_wrong_accept_is_406_after_404(app: AppClient) -> None:
    """Accept without event-stream: 406, but an unknown job is 404 whatever is accepted."""
    job = await app.start(wait_for_subscriber=True)
    headers = {"Accept": "application/json"}
    assert (await app.http.get(f"/api/jobs/{job}/stream", headers=headers)).status_code == 406
    other = "00000000-0000-4000-8000-000000000000"
    assert (await app.http.get(f"/api/jobs/{other}/stream", headers=headers)).status_code == 404
    wrong = {**headers, "Last-Event-ID": "x"}
    assert (await app.http.get(f"/api/jobs/{job}/stream", headers=wrong)).status_code == 406


async def test_large_events_are_whole(app: AppClient) -> None:
    """An event of 1 MiB arrives complete although it is handed over in slices."""
    job = await app.start(pipeline=script(6, payload_bytes=1_048_576))
    await app.ended(job)
    frames = await app.stream(job)
    page = await (await app.http.get(f"/api/jobs/{job}/events")).get_json()
    streamed = [to_json(frame["data"]) for frame in frames[1:]]
    assert streamed[: len(page["events"])] == [to_json(event) for event in page["events"]]
    assert RESUME["resume_text"] not in "".join(streamed)
