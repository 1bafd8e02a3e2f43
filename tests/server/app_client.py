"""A whole app without a socket: real parts, the memory or SQLite store, Quart's test client."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from quart.typing import TestClientProtocol
from server_process import RESUME, frames_of

from reference_server.app import Parts, build_parts, create_app
from reference_server.settings import Settings
from reference_server.store.base import Store

CLIENTS = itertools.count(1)


@dataclass
class AppClient:
    """The client, and the parts behind it."""

    http: TestClientProtocol
    parts: Parts

    async def start(self, **members: Any) -> str:
        """Start a job as a fresh client; returns its id."""
        answer = await self.post_start({**RESUME, **members})
        assert answer.status_code == 202, await answer.get_data()
        body = await answer.get_json()
        return str(body["job_id"])

    async def post_start(self, body: Any, headers: dict[str, str] | None = None) -> Any:
        sent = {"X-Client-Id": f"client-{next(CLIENTS)}", **(headers or {})}
        if isinstance(body, bytes):
            sent.setdefault("Content-Type", "application/json")
            return await self.http.post("/api/pipeline/start", data=body, headers=sent)
        return await self.http.post("/api/pipeline/start", json=body, headers=sent)

    async def ended(self, job_id: str) -> None:
        """Wait until the job has ended."""
        after = 0
        async with asyncio.timeout(20):
            while True:
                page = await (
                    await self.http.get(f"/api/jobs/{job_id}/events?after={after}&wait=5")
                ).get_json()
                after = page["cursor"]
                if page["done"]:
                    return

    async def stream(
        self, job_id: str, headers: dict[str, str] | None = None, query: str = ""
    ) -> Any:
        """A stream that ends by itself: its frames."""
        answer = await self.http.get(f"/api/jobs/{job_id}/stream{query}", headers=headers)
        assert answer.status_code == 200, answer.status_code
        return frames_of(await answer.get_data())


@asynccontextmanager
async def app_client(store: Store | None = None, **changes: Any) -> AsyncIterator[AppClient]:
    """An open app; `changes` are settings, `store` replaces the one that they name."""
    settings = replace(
        Settings(
            stream_store_backend="memory",
            scripted_pipelines=True,
            pipeline_time_scale=0.0,
            instance_id="test",
        ),
        **changes,
    )
    parts = build_parts(settings, store=store)
    await parts.open()
    try:
        yield AppClient(create_app(settings, parts).test_client(), parts)
    finally:
        await parts.close()


def script(events: int = 10, **members: Any) -> dict[str, Any]:
    """A scripted pipeline."""
    return {"events": events, "interval_ms": 0, **members}
