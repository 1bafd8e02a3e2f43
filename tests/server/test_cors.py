"""CORS: every answer carries it, foreign origins get nothing, preflights are free (protocol §9)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from app_client import AppClient, app_client
from server_process import RESUME

ORIGIN = {"Origin": "http://localhost:3000"}
FOREIGN = {"Origin": "https://evil.example"}
UNKNOWN = "/api/jobs/00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppClient]:
    async with app_client(quota_runs_per_client=1) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "method"),
    [("/api/pipeline/start", "POST"), (f"{UNKNOWN}/stream", "GET"), (f"{UNKNOWN}/cancel", "POST")],
)
async def test_preflight(app: AppClient, path: str, method: str) -> None:
    """204 without a body, with the methods and headers that clients need, without credentials."""
    headers = {**ORIGIN, "Access-Control-Request-Method": method}
    answer = await app.http.options(path, headers=headers)
    assert answer.status_code == 204
    assert await answer.get_data() == b""
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    allowed = answer.headers["Access-Control-Allow-Headers"]
    for name in ("Content-Type", "X-Client-Id", "Last-Event-ID", "Idempotency-Key"):
        assert name in allowed
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]


async def test_foreign_preflight_allows_nothing(app: AppClient) -> None:
    """An origin that is not on the list: 204, no allow header."""
    headers = {**FOREIGN, "Access-Control-Request-Method": "POST"}
    answer = await app.http.options("/api/pipeline/start", headers=headers)
    assert answer.status_code == 204
    assert not [name for name in answer.headers if name[0].startswith("Access-Control")]


async def test_preflight_costs_nothing(app: AppClient) -> None:
    """Any number of preflights leaves the quota untouched."""
    for _ in range(3):
        await app.http.options("/api/pipeline/start", headers=ORIGIN)
    assert (await app.post_start(RESUME, {"X-Client-Id": "p"})).status_code == 202


async def test_answers_and_errors_carry_the_headers(app: AppClient) -> None:
    """200, 400, 404, 405, 406, 415, 422, 429: each names the origin and Vary."""
    start = "/api/pipeline/start"
    client = {"X-Client-Id": "c", **ORIGIN}
    await app.post_start(RESUME, client)
    answers = {
        429: await app.post_start(RESUME, client),
        422: await app.post_start({}, client),
        400: await app.post_start(b"{", client),
        415: await app.http.post(start, data=b"{}", headers=client),
        405: await app.http.get(start, headers=ORIGIN),
        404: await app.http.get(f"{UNKNOWN}/stream", headers=ORIGIN),
        406: await app.http.get("/healthz", headers={"Accept": "image/png", **ORIGIN}),
        200: await app.http.get("/healthz", headers=ORIGIN),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Vary"] == "Origin, Accept"


async def test_foreign_and_absent_origins_get_no_allow_header(app: AppClient) -> None:
    """Nothing is allowed to whom nothing was promised; Vary is there all the same."""
    for headers in (FOREIGN, {}, {"Origin": "null"}, {"Origin": "http://localhost:3000.evil"}):
        answer = await app.http.get("/healthz", headers=headers)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin, Accept"


async def test_preflight_to_nowhere_is_404(app: AppClient) -> None:
    """OPTIONS invents no resources."""
    assert (await app.http.options("/nowhere", headers=ORIGIN)).status_code == 404
