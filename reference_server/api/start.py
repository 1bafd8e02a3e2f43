"""`POST /api/pipeline/start`: create a job (protocol §1 "Start", §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from quart import Response, request

from ..lifecycle import Lifecycle
from ..metrics import Metrics
from ..pipelines import Pipelines
from ..problems import Problem, unavailable
from ..runner import Runner
from ..startrequest import client_id, idempotency_key, read_start, require_json
from ..store.base import (
    Claim,
    Created,
    KeyReused,
    NewRun,
    QuotaExceeded,
    Repeated,
    StartOutcome,
    Store,
)
from .requests import JSON, json_answer, require_acceptable

_KEY_REUSED: Final = "This Idempotency-Key was used for another request body."


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What an operator chooses about starts."""

    quota: int
    """Accepted starts per client; 0 for no limit."""
    subscriber_wait_s: float
    lease_s: float
    owner: str
    root_path: str
    scripted: bool
    """Whether a start may bring its own script."""


class StartApi:
    """The start resource."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        *,
        pipelines: Pipelines,
        lifecycle: Lifecycle,
        metrics: Metrics,
        options: StartOptions,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._runner = runner
        self._pipelines = pipelines
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._options = options
        self._new_id = new_id

    async def start(self) -> Response:
        """202 with the job's URLs. The order of the checks is the protocol's."""
        body = await request.get_data(cache=True, as_text=False, parse_form_data=False)
        if self._lifecycle.draining:
            raise unavailable("This instance is shutting down.")
        require_acceptable(JSON)
        require_json(
            request.headers.getlist("Content-Type"), request.headers.getlist("Content-Encoding")
        )
        client = client_id(request.headers.getlist("X-Client-Id"), required=self._options.quota > 0)
        key = idempotency_key(request.headers.getlist("Idempotency-Key"))
        wanted = read_start(body, self._pipelines, scripted=self._options.scripted)
        new = NewRun(
            job_id=self._new_id(),
            client_id=client,
            parameters=self._pipelines.parameters(wanted.members),
            ready=not wanted.wait_for_subscriber,
            wait_s=self._options.subscriber_wait_s,
            idempotency_key=key,
            fingerprint=wanted.fingerprint,
            owner=self._options.owner,
            lease_s=self._options.lease_s,
        )
        # Shielded: a client that leaves between the row and the launch must not leave a job lying.
        outcome = await asyncio.shield(asyncio.ensure_future(self._create(new)))
        return self._answer(outcome)

    async def _create(self, new: NewRun) -> StartOutcome:
        outcome = await self._store.create_run(new, self._options.quota)
        if isinstance(outcome, Created) and outcome.epoch > 0:
            self._runner.launch(
                Claim(
                    job_id=outcome.job_id,
                    epoch=outcome.epoch,
                    head=0,
                    parameters=new.parameters,
                    taken_over=False,
                )
            )
        return outcome

    def _answer(self, outcome: StartOutcome) -> Response:
        match outcome:
            case Created() | Repeated():
                return self._accepted(outcome)
            case KeyReused():
                raise Problem(422, _KEY_REUSED)
            case QuotaExceeded():
                self._metrics.quota_rejected()
                raise Problem(429, f"This client has used its {self._options.quota} starts.")

    def _accepted(self, outcome: Created | Repeated) -> Response:
        job = f"{self._options.root_path}/api/jobs/{outcome.job_id}"
        answer = {
            "job_id": outcome.job_id,
            "stream_url": f"{job}/stream",
            "snapshot_url": f"{job}/snapshot",
            "events_url": f"{job}/events",
            "quota": {"limit": self._options.quota, "remaining": outcome.remaining},
        }
        return json_answer(answer, status=202, headers={"Location": f"{job}/snapshot"})
