"""Starting jobs: what is accepted, what is refused, in which order, and what it costs."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from app_client import AppClient, app_client, script
from server_process import RESUME


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppClient]:
    async with app_client() as client:
        yield client


async def problem(answer: Any, status: int) -> Any:
    """The problem document, checked for the members that every one has."""
    assert answer.status_code == status, await answer.get_data()
    assert answer.content_type == "application/problem+json"
    document = json.loads(await answer.get_data())
    assert document["status"] == status
    assert set(document) >= {"type", "title", "detail"}
    return document


async def test_start_answers_with_urls_that_work_at_once(app: AppClient) -> None:
    """202, Location, three URLs and the quota; each URL answers before the job has emitted."""
    answer = await app.post_start({**RESUME, "wait_for_subscriber": True})
    body = await answer.get_json()
    assert answer.status_code == 202
    assert uuid.UUID(body["job_id"]).version == 4
    assert answer.headers["Location"] == body["snapshot_url"]
    assert body["quota"] == {"limit": 5, "remaining": 4}
    snapshot = await (await app.http.get(body["snapshot_url"])).get_json()
    assert (snapshot["status"], snapshot["cursor"], snapshot["events"]) == ("queued", 0, [])
    assert (await app.http.get(body["events_url"])).status_code == 200
    assert (await app.http.head(body["stream_url"])).status_code == 200


async def test_urls_carry_the_root_path() -> None:
    """Behind a prefix the answer's URLs name it."""
    async with app_client(root_path="/stream") as app:
        body = await (await app.post_start(RESUME)).get_json()
        assert body["stream_url"].startswith("/stream/api/jobs/")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"nonsense", b'{"resume_text":NaN}', b'{"resume_text":"\xff"}', b'{"a":1e999}'],
)
async def test_malformed_json_is_400(app: AppClient, body: bytes) -> None:
    """What is not the JSON text of an object is malformed."""
    await problem(await app.post_start(body), 400)


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({}, "#/resume_text"),
        ({"resume_text": ""}, "#/resume_text"),
        ({"resume_text": "x" * 200_001}, "#/resume_text"),
        ({"resume_text": 5}, "#/resume_text"),
        ({**RESUME, "job_text": 5}, "#/job_text"),
        ({**RESUME, "job_url": "ftp://a.example/x"}, "#/job_url"),
        ({**RESUME, "job_url": "/relative"}, "#/job_url"),
        ({**RESUME, "job_url": "http://"}, "#/job_url"),
        ({**RESUME, "job_url": "http://a:b"}, "#/job_url"),
        ({**RESUME, "job_url": "http://[x"}, "#/job_url"),
        ({**RESUME, "wait_for_subscriber": "yes"}, "#/wait_for_subscriber"),
        ({**RESUME, "pipeline": {"events": 3}}, "#/pipeline/events"),
        ({"resume_text": "\ud800"}, "#/resume_text"),
        ({**RESUME, "extra": ["\udfff"]}, "#/extra/0"),
    ],
)
async def test_wrong_member_is_422_with_its_pointer(
    app: AppClient, members: dict[str, Any], pointer: str
) -> None:
    """A member that fails validation is named by a JSON pointer."""
    document = await problem(await app.post_start(json.dumps(members).encode()), 422)
    assert pointer in [error["pointer"] for error in document["errors"]]


async def test_script_is_refused_where_it_is_not_switched_on() -> None:
    """Without SCRIPTED_PIPELINES the member is a fault, not something to ignore."""
    async with app_client(scripted_pipelines=False) as app:
        document = await problem(await app.post_start({**RESUME, "pipeline": script()}), 422)
        assert document["errors"][0]["pointer"].startswith("#/pipeline")


@pytest.mark.parametrize("value", ["", "   ", "x" * 129, "é", "a\x7fb"])
async def test_bad_client_id_is_400(app: AppClient, value: str) -> None:
    """Blank, too long and non-printable client ids are refused."""
    await problem(await app.post_start(RESUME, {"X-Client-Id": value}), 400)


async def test_missing_and_repeated_client_id_are_400(app: AppClient) -> None:
    """There has to be exactly one client id while a quota is in force."""
    headers = [("Content-Type", "application/json")]
    for ids in ([], [("X-Client-Id", "a"), ("X-Client-Id", "a")]):
        answer = await app.http.post(
            "/api/pipeline/start", data=json.dumps(RESUME), headers=headers + ids
        )
        await problem(answer, 400)


async def test_errors_come_in_the_protocols_order(app: AppClient) -> None:
    """406 before 415 before the headers' 400 before JSON before fields."""
    url = "/api/pipeline/start"
    text = {"Content-Type": "text/plain"}
    js = {"Content-Type": "application/json"}
    await problem(await app.http.post(url, data=b"{", headers={"Accept": "text/html", **text}), 406)
    await problem(await app.http.post(url, data=b"{", headers=text), 415)
    await problem(await app.http.post(url, data=b"{", headers=js), 400)
    document = await problem(
        await app.http.post(url, data=b"{}", headers={**js, "X-Client-Id": "a"}), 422
    )
    assert document["errors"]
    app.parts.lifecycle.begin_draining()
    answer = await app.http.post(url, data=b"{", headers={"Accept": "text/html", **text})
    await problem(answer, 503)
    assert answer.headers["Retry-After"].isdigit()


async def test_quota_admits_exactly_five_of_a_burst(app: AppClient) -> None:
    """25 simultaneous starts of one client: five are accepted, the others create nothing."""
    answers = await asyncio.gather(
        *(app.post_start({**RESUME, "n": n}, {"X-Client-Id": "burst"}) for n in range(25))
    )
    accepted = [await a.get_json() for a in answers if a.status_code == 202]
    assert len(accepted) == 5
    assert sorted(body["quota"]["remaining"] for body in accepted) == [0, 1, 2, 3, 4]
    refused = next(a for a in answers if a.status_code != 202)
    await problem(refused, 429)
    assert refused.headers["Cache-Control"] == "no-store"
    assert "Retry-After" not in refused.headers
    metrics = await (await app.http.get("/metrics")).get_data(as_text=True)
    assert "quota_rejections_total 20.0" in metrics


async def test_refused_starts_cost_nothing(app: AppClient) -> None:
    """Invalid requests leave the client's whole quota."""
    headers = {"X-Client-Id": "careful"}
    for body in (b"{", b"{}"):
        await app.post_start(body, headers)
    answer = await app.post_start(RESUME, headers)
    assert (await answer.get_json())["quota"]["remaining"] == 4


async def test_quota_off_needs_no_client_id() -> None:
    """QUOTA_RUNS_PER_CLIENT=0: no limit, nothing remaining, the client id may be left out."""
    async with app_client(quota_runs_per_client=0) as app:
        answer = await app.http.post("/api/pipeline/start", json=RESUME)
        assert (await answer.get_json())["quota"] == {"limit": 0, "remaining": None}


async def test_same_key_and_body_is_the_same_job(app: AppClient) -> None:
    """Racing repeats of one idempotent start make one job, one answer and one charge."""
    headers = {"X-Client-Id": "idem", "Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(app.post_start(RESUME, headers) for _ in range(5)))
    bodies = [await answer.get_json() for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["quota"]["remaining"] == 4
    await problem(await app.post_start({**RESUME, "job_text": "x"}, headers), 422)
    elsewhere = await app.post_start(RESUME, {"X-Client-Id": "other", "Idempotency-Key": "k1"})
    assert (await elsewhere.get_json())["job_id"] != bodies[0]["job_id"]


@pytest.mark.parametrize("key", ["", "two words", "é", "x" * 256])
async def test_bad_idempotency_key_is_400(app: AppClient, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    await problem(await app.post_start(RESUME, {"Idempotency-Key": key}), 400)


async def test_body_over_one_mebibyte_is_413(app: AppClient) -> None:
    """The limit holds for what arrives, not only for what is declared."""
    await problem(await app.post_start(b'{"x":"' + b"y" * 1_048_576 + b'"}'), 413)


async def test_wrong_methods_and_paths(app: AppClient) -> None:
    """404 for unknown paths; 405 with Allow for known paths, also for unknown methods."""
    await problem(await app.http.get("/api/nothing"), 404)
    for method in ("GET", "DELETE", "BREW"):
        answer = await app.http.open("/api/pipeline/start", method=method)
        await problem(answer, 405)
        assert "POST" in answer.headers["Allow"]
