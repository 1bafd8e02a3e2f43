"""Liveness, readiness, metrics and the page for trying things out (protocol §1)."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import Final

from quart import Response

from ..lifecycle import Lifecycle
from ..metrics import CONTENT_TYPE, Metrics
from ..problems import unavailable
from ..store.base import Store
from .requests import JSON, json_answer, require_acceptable

#: A probe that waits longer than this for the store is answered as if the store were away.
PING_TIMEOUT_S: Final = 2.0
#: The page is one file: nothing may be loaded from anywhere else.
_CONTENT_SECURITY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)


class OperationsApi:
    """What an operator and a developer look at."""

    def __init__(self, store: Store, lifecycle: Lifecycle, metrics: Metrics, prefix: str) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._metrics = metrics
        page = resources.files(__package__.rpartition(".")[0]).joinpath("demo.html")
        self._page = page.read_text(encoding="utf-8").replace("{{ROOT_PATH}}", prefix)

    async def live(self) -> Response:
        """200 as long as the process can answer."""
        require_acceptable(JSON)
        return json_answer({"status": "ok"})

    async def ready(self) -> Response:
        """200 where new work is welcome; 503 while draining or without a store."""
        require_acceptable(JSON)
        if self._lifecycle.draining:
            raise unavailable("This instance is shutting down.")
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self._store.ping()
        except TimeoutError as error:
            raise unavailable("The store does not answer.") from error
        return json_answer({"status": "ready"})

    async def metrics(self) -> Response:
        """The Prometheus text format."""
        require_acceptable("text/plain")
        return Response(
            self._metrics.exposition(),
            headers={"Cache-Control": "no-store"},
            content_type=CONTENT_TYPE,
        )

    async def page(self) -> Response:
        """One page that starts a job and shows its stream."""
        require_acceptable("text/html")
        return Response(
            self._page,
            headers={
                "Cache-Control": "no-cache",
                "Content-Security-Policy": _CONTENT_SECURITY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
            },
            content_type="text/html; charset=utf-8",
        )
