"""Puts the parts together: `create_app(settings, parts)`.

Everything comes in through constructors, and nothing is kept at module level, so that a test, or a
server that is broken on purpose, can replace any single part and leave the rest as it is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from quart import Quart, Response, request
from werkzeug.exceptions import MethodNotAllowed

from .api.jobs import JobsApi
from .api.operations import OperationsApi
from .api.start import StartApi, StartOptions
from .api.stream import StreamApi
from .backends import build_broadcaster, build_store
from .clock import Clock
from .cors import CorsPolicy
from .dialects import dialect_routes
from .events import Event
from .frames import FrameEncoder
from .guard import BODY_MAX_BYTES
from .hub import RING_SHARE, Broadcaster, Hub
from .lifecycle import Lifecycle
from .metrics import Metrics
from .pipelines import Pipelines
from .problems import install_error_handlers
from .runner import Runner
from .settings import Settings
from .store.base import Store
from .stream import StreamOptions, Streams

BODY_TIMEOUT_S: Final = 10
#: Encoded frames of all jobs together, or more where one job's `HOT_CACHE_EVENTS` need it; a job
#: with huge events has only its share of it.
HOT_BYTES_MIN: Final = 64 * 1_048_576
#: A lost wake-up costs at most this (protocol §8). Other processes may write a durable store, and
#: while no broadcaster connects them polling is how their events are noticed.
POLL_INTERVAL_S: Final = 1.0
POLL_INTERVAL_ALONE_S: Final = 0.1


@dataclass(slots=True)
class Parts:
    """What an app is made of; `build_parts` makes the usual ones."""

    store: Store
    hub: Hub
    runner: Runner
    pipelines: Pipelines
    streams: Streams
    lifecycle: Lifecycle
    metrics: Metrics
    owner: str
    new_id: Callable[[], str] = field(default=lambda: str(uuid.uuid4()))

    async def open(self) -> None:
        """Open store, hub and runner. Raises StoreUnavailable."""
        await self.store.open()
        await self.hub.open()
        await self.runner.open()

    async def close(self) -> None:
        """Stop the work, then let go of the store; safe after `runner.drain`."""
        await self.runner.drain()
        await self.hub.close()
        await self.store.close()


def build_parts(
    settings: Settings,
    *,
    store: Store | None = None,
    broadcaster: Broadcaster | None = None,
    clock: Clock | None = None,
) -> Parts:
    """The parts that the settings describe; any of them can be given instead."""
    clock = clock or Clock()
    store = store or build_store(settings, clock)
    metrics = Metrics()
    encoder = FrameEncoder(settings.frame_min_bytes)
    # Two processes may be given the same name; leases must never be shared by mistake.
    owner = f"{settings.instance_id}-{uuid.uuid4().hex[:12]}"

    def encode(event: Event) -> bytes:
        frame = encoder.event(event)
        metrics.frame_encoded(len(frame))
        return frame

    hub = Hub(
        store,
        encode,
        broadcaster or build_broadcaster(settings),
        hot_events=settings.hot_cache_events,
        hot_bytes=max(
            HOT_BYTES_MIN, RING_SHARE * settings.hot_cache_events * settings.frame_min_bytes
        ),
        poll_interval_s=POLL_INTERVAL_S,
        poll_alone_s=POLL_INTERVAL_ALONE_S if store.durable else None,
        handed=lambda emitted_s, readers: metrics.events_handed(clock.now() - emitted_s, readers),
    )
    pipelines = Pipelines(time_scale=settings.pipeline_time_scale)
    runner = Runner(
        store,
        hub,
        clock,
        pipelines,
        owner,
        settings.lease_seconds,
        metrics,
        keep_s=settings.retention_hours * 3600,
    )
    lifecycle = Lifecycle(time.monotonic)
    options = StreamOptions(
        heartbeat_s=settings.heartbeat_seconds,
        retry_ms=settings.retry_ms,
        max_s=settings.stream_max_seconds,
    )
    streams = Streams(
        encoder=encoder,
        clock=clock,
        lifecycle=lifecycle,
        metrics=metrics,
        options=options,
        subscriber_arrived=runner.subscriber_arrived,
    )
    return Parts(store, hub, runner, pipelines, streams, lifecycle, metrics, owner)


def create_app(settings: Settings, parts: Parts) -> Quart:
    """The Quart application. It opens and closes nothing: `parts` has a life of its own."""
    app = Quart("reference_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX_BYTES
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_S
    app.url_map.merge_slashes = False
    _add_routes(app, settings, parts)
    _add_cors(app, CorsPolicy(settings.cors_allow_origins))
    install_error_handlers(app)
    return app


def _add_routes(app: Quart, settings: Settings, parts: Parts) -> None:
    start = StartApi(
        parts.store,
        parts.runner,
        pipelines=parts.pipelines,
        lifecycle=parts.lifecycle,
        metrics=parts.metrics,
        options=StartOptions(
            quota=settings.quota_runs_per_client,
            subscriber_wait_s=settings.subscriber_wait_seconds,
            lease_s=settings.lease_seconds,
            owner=parts.owner,
            root_path=settings.root_path,
            scripted=settings.scripted_pipelines,
        ),
        new_id=parts.new_id,
    )
    stream = StreamApi(parts.hub, parts.streams)
    jobs = JobsApi(parts.store, parts.hub, parts.runner, parts.lifecycle)
    operations = OperationsApi(parts.store, parts.lifecycle, parts.metrics, settings.root_path)
    routes: list[tuple[str, str, Callable[..., object]]] = [
        ("POST", "/api/pipeline/start", start.start),
        ("GET", "/api/jobs/<job_id>/stream", stream.stream),
        ("GET", "/api/jobs/<job_id>/snapshot", jobs.snapshot),
        ("GET", "/api/jobs/<job_id>/events", jobs.events),
        ("POST", "/api/jobs/<job_id>/cancel", jobs.cancel),
        ("GET", "/healthz", operations.live),
        ("GET", "/readyz", operations.ready),
        ("GET", "/metrics", operations.metrics),
        ("GET", "/", operations.page),
    ]
    routes += dialect_routes(settings, parts)
    for method, path, view in routes:
        app.add_url_rule(
            path,
            endpoint=f"{method} {path}".replace(".", "_"),
            view_func=view,  # type: ignore[arg-type]  # the views' parameters differ
            methods=[method],
            provide_automatic_options=False,
        )


def _add_cors(app: Quart, policy: CorsPolicy) -> None:
    async def answer_options() -> Response | None:
        """Any OPTIONS request to a path that exists: no client id, no charge (§9)."""
        missing = request.routing_exception
        if request.method != "OPTIONS" or (
            missing is not None and not isinstance(missing, MethodNotAllowed)
        ):
            return None
        headers = policy.preflight_headers(request.headers.get("Origin"))
        methods = set(missing.valid_methods or ()) if missing is not None else set()
        headers["Allow"] = ", ".join(sorted({*methods, "OPTIONS"}))
        response = Response(b"", status=204, headers=headers)
        for name in ("Content-Type", "Content-Length"):
            response.headers.pop(name, None)
        return response

    async def allow_origin(response: Response) -> Response:
        response.headers.update(policy.answer_headers(request.headers.get("Origin")))
        return response

    app.before_request(answer_options)
    app.after_request(allow_origin)
