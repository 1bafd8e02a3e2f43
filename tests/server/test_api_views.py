"""Snapshot, polling, cancel, probes and metrics: the other views of a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from app_client import AppClient, app_client, script

from reference_server.clock import Clock
from reference_server.store.base import NewRun, Run, StartOutcome, StoreUnavailable
from reference_server.store.memory import MemoryStore

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppClient]:
    async with app_client() as client:
        yield client


async def page_of(app: AppClient, job: str, query: str) -> Any:
    answer = await app.http.get(f"/api/jobs/{job}/events?{query}")
    assert answer.status_code == 200, await answer.get_data()
    return await answer.get_json()


async def test_views_agree(app: AppClient) -> None:
    """Stream, snapshot and polling show the same events."""
    job = await app.start(pipeline=script(40))
    await app.ended(job)
    streamed = [frame["data"] for frame in (await app.stream(job))[1:]]
    snapshot = await (await app.http.get(f"/api/jobs/{job}/snapshot")).get_json()
    assert snapshot["events"] == streamed
    assert (snapshot["cursor"], snapshot["earliest"]) == (40, 1)
    assert snapshot["status"] == "completed"
    assert (await page_of(app, job, "after=0"))["events"] == streamed


async def test_pages_concatenate_to_the_log(app: AppClient) -> None:
    """Following cursor gives each event once; done is told on the last page only."""
    job = await app.start(pipeline=script(23))
    await app.ended(job)
    seen: list[int] = []
    after = 0
    while True:
        page = await page_of(app, job, f"after={after}&limit=7")
        seen += [event["id"] for event in page["events"]]
        after = page["cursor"]
        assert page["done"] is not page["has_more"]
        if page["done"]:
            break
    assert seen == list(range(1, 24))
    tail = await page_of(app, job, f"after={after}")
    assert (tail["events"], tail["cursor"], tail["done"], tail["gap"]) == ([], 23, True, None)


async def test_a_page_ends_at_four_mebibytes(app: AppClient) -> None:
    """Large events make shorter pages, and never an empty one."""
    job = await app.start(pipeline=script(60, payload_bytes=1_000_000))
    await app.ended(job)
    after, seen = 0, 0
    while True:
        answer = await app.http.get(f"/api/jobs/{job}/events?after={after}")
        assert len(await answer.get_data()) <= 4_194_304
        page = await answer.get_json()
        seen += len(page["events"])
        after = page["cursor"]
        if page["done"]:
            break
        assert page["events"]
    assert seen == 60


async def test_polling_gap(app: AppClient) -> None:
    """A cursor ahead of the log is told in the gap member, and the kept log follows."""
    job = await app.start(pipeline=script(8))
    await app.ended(job)
    page = await page_of(app, job, "after=50")
    assert page["gap"] == {"requested": 50, "earliest": 1, "latest": 8}
    assert [event["id"] for event in page["events"]] == list(range(1, 9))


async def test_pruned_polling_and_snapshot() -> None:
    """What was pruned is a gap when polling, and `earliest` in the snapshot."""
    async with app_client(history_limit=10) as app:
        job = await app.start(pipeline=script(30))
        await app.ended(job)
        page = await page_of(app, job, "after=3")
        assert page["gap"] == {"requested": 3, "earliest": 21, "latest": 30}
        snapshot = await (await app.http.get(f"/api/jobs/{job}/snapshot")).get_json()
        assert snapshot["earliest"] == 21
        assert [event["id"] for event in snapshot["events"]] == list(range(21, 31))


async def test_wait_holds_the_answer_until_there_is_news(app: AppClient) -> None:
    """`wait` answers early with the news, and with an empty page when the time is over."""
    job = await app.start(pipeline=script(6, pauses=[[2, 300]]))
    while (await page_of(app, job, "after=0"))["cursor"] < 2:
        pass
    began = asyncio.get_running_loop().time()
    page = await page_of(app, job, "after=2&wait=10")
    assert page["events"]
    assert asyncio.get_running_loop().time() - began < 5
    waiting = await app.start(wait_for_subscriber=True)
    assert (await page_of(app, waiting, "wait=0.1"))["events"] == []


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "after=1&after=1",
        "limit=",
        "limit=0",
        "limit=1001",
        "wait=",
        "wait=31",
        "wait=-1",
    ],
)
async def test_bad_parameters_are_400(app: AppClient, query: str) -> None:
    """Malformed, repeated and out-of-bounds parameters are refused; an empty after is 0."""
    job = await app.start(wait_for_subscriber=True)
    assert (await app.http.get(f"/api/jobs/{job}/events?{query}")).status_code == 400
    assert (await page_of(app, job, "after="))["cursor"] == 0


async def test_snapshot_can_be_revalidated(app: AppClient) -> None:
    """If-None-Match with the current tag: 304 without a body; HEAD has the same headers."""
    job = await app.start(pipeline=script())
    await app.ended(job)
    url = f"/api/jobs/{job}/snapshot"
    answer = await app.http.get(url)
    head = await app.http.head(url)
    for name in ("ETag", "Content-Type", "Cache-Control", "Vary"):
        assert head.headers[name] == answer.headers[name]
    for tag in (answer.headers["ETag"], f'"x", W/{answer.headers["ETag"]}', "*"):
        unchanged = await app.http.get(url, headers={"If-None-Match": tag})
        assert unchanged.status_code == 304
        assert await unchanged.get_data() == b""
        assert unchanged.headers["ETag"] == answer.headers["ETag"]
    assert (await app.http.get(url, headers={"If-None-Match": '"x"'})).status_code == 200


async def test_snapshot_and_stream_meet(app: AppClient) -> None:
    """A snapshot of a running job and the stream from its cursor are the whole log."""
    job = await app.start(pipeline=script(80, interval_ms=3))
    snapshot = await (await app.http.get(f"/api/jobs/{job}/snapshot")).get_json()
    frames = await app.stream(job, {"Last-Event-ID": str(snapshot["cursor"])})
    ids = [event["id"] for event in snapshot["events"]]
    ids += [int(frame["id"]) for frame in frames if frame["id"]]
    assert ids == list(range(1, 81))


@pytest.mark.parametrize("view", ["stream", "snapshot", "events"])
@pytest.mark.parametrize(
    "job", [UNKNOWN, "x", "..", "%00", "%2e%2e%2f", "é", "a" * 8192, UNKNOWN.upper()]
)
async def test_unknown_jobs_are_404_everywhere(app: AppClient, view: str, job: str) -> None:
    """An id that is unknown, malformed or hostile is 404 in every view."""
    assert (await app.http.get(f"/api/jobs/{job}/{view}")).status_code == 404
    assert (await app.http.post(f"/api/jobs/{job}/cancel")).status_code == 404


async def test_cancel_before_the_beginning_has_a_whole_log(app: AppClient) -> None:
    """A job that is cancelled while it waits still begins with started and ends with done."""
    job = await app.start(wait_for_subscriber=True)
    answer = await app.http.post(f"/api/jobs/{job}/cancel")
    assert (await answer.get_json())["status"] == "canceled"
    events = (await page_of(app, job, ""))["events"]
    assert [(event["type"], event["data"]["status"]) for event in events] == [
        ("job_status", "started"),
        ("job_status", "canceled"),
        ("done", "canceled"),
    ]


async def test_cancel_after_the_end_changes_nothing(app: AppClient) -> None:
    """A finished job keeps its status and its log."""
    job = await app.start(pipeline=script())
    await app.ended(job)
    answer = await app.http.post(f"/api/jobs/{job}/cancel")
    assert await answer.get_json() == {"job_id": job, "status": "completed"}
    assert (await page_of(app, job, ""))["cursor"] == 10


class AwayStore(MemoryStore):
    """A store that can be taken away."""

    away = False

    async def run(self, job_id: str) -> Run | None:
        self._check()
        return await super().run(job_id)

    async def create_run(self, new: NewRun, quota: int) -> StartOutcome:
        self._check()
        return await super().create_run(new, quota)

    async def ping(self) -> None:
        self._check()

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("taken away")


async def test_store_away_is_503_and_comes_back() -> None:
    """Without a store: 503 with Retry-After, except for liveness; afterwards all is well."""
    store = AwayStore(Clock())
    async with app_client(store=store) as app:
        job = await app.start(wait_for_subscriber=True)
        store.away = True
        answers = [
            await app.post_start({"resume_text": "x"}),
            await app.http.get("/readyz"),
            *[await app.http.get(f"/api/jobs/{job}/{v}") for v in ("stream", "snapshot", "events")],
        ]
        for answer in answers:
            assert answer.status_code == 503
            assert answer.headers["Retry-After"].isdigit()
            assert "taken away" not in await answer.get_data(as_text=True)
        assert (await app.http.get("/healthz")).status_code == 200
        store.away = False
        assert (await app.http.get("/readyz")).status_code == 200
        assert (await app.http.get(f"/api/jobs/{job}/snapshot")).status_code == 200


async def test_probes_metrics_and_page(app: AppClient) -> None:
    """Liveness, readiness, the metrics of §11 and the page are there, also by HEAD."""
    job = await app.start(pipeline=script())
    await app.ended(job)
    await app.stream(job)
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        assert (await app.http.get(path)).status_code == 200
        assert (await app.http.head(path)).status_code == 200
    metrics = await (await app.http.get("/metrics")).get_data(as_text=True)
    for name in (
        "stream_frame_bytes_count",
        "stream_replay_seconds_count",
        "stream_reader_lag_events",
        "stream_readers",
        "stream_event_latency_seconds_count",
        "store_persist_seconds_count",
        "store_persist_failures_total",
        "jobs_running",
        "jobs_taken_over_total",
        "quota_rejections_total",
    ):
        assert f"\n{name} " in metrics, name
    assert "stream_readers 0.0" in metrics
    assert "stream_replay_seconds_count 1.0" in metrics
    page = await (await app.http.get("/")).get_data(as_text=True)
    assert "{{" not in page
    assert "http" not in page.replace("http-equiv", "")
