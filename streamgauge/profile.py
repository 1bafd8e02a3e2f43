"""Profiles: what a target's API looks like and what it declares about itself.

Every value has a default, the protocol's own. What a profile declares is tested, not trusted; what
it calls "auto" is looked for at the start of a run. How one is read from a file: `profile_file`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from .members import Members

Capability = bool | Literal["auto"]


@dataclass(frozen=True, slots=True)
class Api:
    """Paths, and the members of answers that tell more than the paths do."""

    prefix: str = ""
    """Stands before every path, where the address alone does not say it."""
    start: str = "/api/pipeline/start"
    """Empty where no job can be started: the address itself is the stream."""
    start_streams: bool = False
    """The answer to the start is the stream itself."""
    job_id: tuple[str, ...] = ("job_id",)
    """Where the start's answer names the job: the first of these members that is there."""
    stream: str = "/api/jobs/{job_id}/stream"
    snapshot: str = "/api/jobs/{job_id}/snapshot"
    events: str = "/api/jobs/{job_id}/events"
    cancel: str = "/api/jobs/{job_id}/cancel"
    session_header: str = ""
    """The header that carries the job's id with every request about it (sticky routing)."""
    gate: str = ""
    """Where a job that waits for an answer gets it (POST)."""
    gate_body: Mapping[str, Any] = field(default_factory=dict)
    """What is answered; "{gate}" in it becomes the gate's name."""
    client_id_header: str = "X-Client-Id"
    """Empty where clients have no ids."""
    cursor_query: str = "last_event_id"
    origin: str = "http://localhost:3000"
    """An origin of pages that the target allows; empty where no page of another one has access."""
    metrics: str = "/metrics"
    healthz: str = "/healthz"
    readyz: str = "/readyz"
    start_body: Mapping[str, Any] = field(
        default_factory=lambda: {
            "resume_text": (
                "Streaming engineer. Ten years of moving events from where they happen to the "
                "people who wait for them."
            ),
            "job_text": "We look for somebody who makes progress visible.",
        }
    )


@dataclass(frozen=True, slots=True)
class Ids:
    """What the target's event ids promise."""

    order: Literal["contiguous", "increasing", "opaque"] = "contiguous"
    first: int = 1
    jobs: Literal["uuid", "opaque"] = "uuid"
    """What the ids of jobs are, as opposed to those of events."""
    member: str = ""
    """Dotted path in the event's JSON that holds the id; empty: its `id:` line."""


@dataclass(frozen=True, slots=True)
class Events:
    """Names on the wire, and where the parts of an event are found."""

    type_member: str = ""
    """Dotted path in the event's JSON that holds the type; empty: its `event:` line."""
    timestamp_members: tuple[str, ...] = ("timestamp",)
    data_member: str = "data"
    """What of the JSON the event says; the whole of it where that is not there."""
    envelope: bool = True
    """The JSON repeats id and type and has a timestamp (protocol §2)."""

    names: tuple[str, ...] = (
        "job_status",
        "step_progress",
        "insight_emitted",
        "metric_update",
        "validation_update",
        "diff_chunk",
        "agent_chunk",
        "error",
        "done",
    )
    """Empty: any name."""
    terminal: tuple[str, ...] = ("done",)
    opening: str = "connection"
    """Empty where the target sends none."""
    heartbeat: str = "heartbeat"
    """Name of the heartbeat event; empty where heartbeats are comments."""
    gap: str = "replay_gap"
    control: tuple[str, ...] = ()
    """Further events that are not part of the log: pings and the like."""
    gates: tuple[str, ...] = ()
    """Events after which the job waits for an answer to `api.gate`."""
    recycle: str = "recycle"
    """The comment that ends a stream which the server recycles."""
    text_type: str = "agent_chunk"
    """The type whose `text_member` is free text that a shaped job can choose."""
    text_member: str = "text"
    json_data: bool = True
    """Every event's data is one JSON text."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Numbers and answers that the target promises. Seconds unless the name says otherwise."""

    frame_bytes: int = 4096
    first_byte_s: float = 1.0
    lag_p95_s: float = 1.0
    skew_s: float = 1.0
    replay_s: float = 2.0
    heartbeat_s: float = 15.0
    """0: heartbeats may come, and none is promised."""
    heartbeat_margin_s: float = 2.0
    close_s: float = 5.0
    cancel_s: float = 5.0
    subscriber_wait_s: float = 30.0
    stalled_reader: Literal["dropped", "caught_up"] = "dropped"
    """What becomes of a reader that takes nothing for `stalled_reader_s`."""
    stalled_reader_s: float = 60.0
    quota_runs: int = 5
    """Starts per client; 0: no quota."""
    quota_status: int = 429
    client_id_status: int = 400
    malformed_cursor_status: int = 400
    """200: a malformed cursor means the whole log."""
    repeated_cursor_status: int = 400
    ahead: Literal["gap", "refused"] = "gap"
    not_acceptable_status: int = 406
    """0: none is promised."""
    terminal_resume_status: int = 204
    body_bytes_max: int = 1_048_576
    """A larger request body is refused."""
    echoes_input: bool = False
    """Events may repeat what a start said."""
    retry_min_ms: int = 500
    retry_max_ms: int = 30_000
    recover_s: float = 10.0
    """Within so much every client of a reconnect storm is served again."""
    lease_s: float = 15.0
    """An instance that does nothing for longer loses its jobs to others."""
    takeover_s: float = 25.0
    """Within so much of its instance's death a job goes on elsewhere, or has ended."""
    grace_s: float = 8.0
    """Within so much of SIGTERM an instance has gone."""
    handover_s: float = 5.0
    """The longest pause that a reader sees when an instance is restarted in good order."""
    kept_s: float = 86_400.0
    """Finished jobs are kept for so long, and are gone afterwards."""
    reader_bytes: int = 1_048_576
    """The memory that a stalled reader may cost."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Optional parts: true, false, or looked for."""

    join: Capability = True
    """A job's stream can be opened at any time, by any number of readers."""
    replay: Capability = True
    """Each of them gets the log from its first event."""
    resume: Capability = True
    """Events carry ids, and a reader with one of them gets what follows."""
    snapshot: Capability = True
    polling: Capability = True
    quota: Capability = True
    """Starts are counted and limited; `declared.quota_runs` says to how many."""
    heartbeat: Capability = True
    padding: Capability = True
    """Frames have at least `declared.frame_bytes`."""
    states: Capability = True
    """Events tell the job's status as protocol §2 has it."""
    problems: Capability = True
    """Errors are application/problem+json."""
    methods: Capability = True
    """Wrong methods are answered 405 with `Allow`, and HEAD like GET."""
    strict_cursors: Capability = True
    """Malformed, repeated and spent cursors are answered as `[declared]` says."""
    start_urls: Capability = True
    """The start's answer names the job's URLs."""
    cors: Capability = True
    operations: Capability = True
    """/healthz, /readyz and /metrics."""
    redaction: Capability = True
    shape: Capability = "auto"
    """Jobs can be scripted by the `pipeline` member."""
    cancel: Capability = "auto"
    wait_for_subscriber: Capability = "auto"
    idempotency: Capability = "auto"
    long_poll: Capability = "auto"
    validators: Capability = "auto"
    """Snapshots carry an ETag and answer 304."""
    http2: Capability = "auto"
    """By ALPN on https, with prior knowledge on http."""
    metrics: Capability = "auto"
    """The Prometheus text format at `api.metrics`."""
    health: Capability = "auto"
    """Liveness and readiness at `api.healthz` and `api.readyz`."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Names of metrics; empty where the target has none for it."""

    frame_bytes: str = "stream_frame_bytes"
    replay_seconds: str = "stream_replay_seconds"
    reader_lag: str = "stream_reader_lag_events"
    persist_seconds: str = "store_persist_seconds"
    persist_failures: str = "store_persist_failures_total"


@dataclass(frozen=True, slots=True)
class Load:
    """What the crowd of a load test is made of: shares of its users, 0 for none of a kind."""

    starters: int = 7
    """Start jobs and read them."""
    late_joiners: int = 8
    """Join jobs that run or are over."""
    flaky_readers: int = 4
    """Drop their connection at random points and come back with their cursor."""
    pollers: int = 3
    slow_readers: int = 3
    herd: int = 4
    """Read one job and all drop at once."""
    quota_abusers: int = 1
    """Start more jobs than a client may, and expect to be refused."""


@dataclass(frozen=True, slots=True)
class Auth:
    """What every request carries. Values come from the environment: "env:NAME"."""

    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hooks:
    """Commands that break and mend the deployment: lists of words that no shell reads.

    In those about one instance, "{instance}" stands for its number: 1 is the base URL's, and each
    `--instance` adds one.
    """

    kill: tuple[str, ...] = ()
    """As `kill -9`."""
    terminate: tuple[str, ...] = ()
    """As a deploy does it: SIGTERM."""
    pause: tuple[str, ...] = ()
    """As SIGSTOP: it keeps its connections, and does nothing."""
    unpause: tuple[str, ...] = ()
    """As SIGCONT."""
    restart: tuple[str, ...] = ()
    """Starts the instance again, after SIGTERM where it still runs."""
    memory: tuple[str, ...] = ()
    """Prints how many octets of memory the instance holds (resident)."""
    stop_store: tuple[str, ...] = ()
    start_store: tuple[str, ...] = ()
    stop_broker: tuple[str, ...] = ()
    start_broker: tuple[str, ...] = ()


INSTANCE = "{instance}"
OF_AN_INSTANCE = ("kill", "terminate", "pause", "unpause", "restart", "memory")


@dataclass(frozen=True, eq=False)
class Profile:
    """One target's shape and promises."""

    name: str
    api: Api = field(default_factory=Api)
    ids: Ids = field(default_factory=Ids)
    events: Events = field(default_factory=Events)
    declared: Declared = field(default_factory=Declared)
    capabilities: Capabilities = field(default_factory=Capabilities)
    metrics: Metrics = field(default_factory=Metrics)
    load: Load = field(default_factory=Load)
    auth: Auth = field(default_factory=Auth)
    hooks: Hooks = field(default_factory=Hooks)
    origin: str = ""
    """The file it was read from."""
    lines: Mapping[str, str] = field(default_factory=dict)
    """Member ("capabilities.cancel") -> file and line that say it, where a file does."""

    @cached_property
    def control_events(self) -> frozenset[str]:
        """Events that are not part of the log."""
        named = (self.events.opening, self.events.heartbeat, self.events.gap, *self.events.control)
        return frozenset(name for name in named if name)

    def is_declared(self, name: str) -> bool:
        """Whether an event may be called so."""
        names = self.events.names
        return not names or name in names or name in self.control_events

    def is_job_event(self, name: str) -> bool:
        """Whether events of this name belong to the log."""
        return self.is_declared(name) and name not in self.control_events

    @property
    def members(self) -> Members:
        """Where types and ids are found."""
        return Members(self.events.type_member, self.ids.member)

    def says(self, key: str) -> str:
        """What the profile says of a member ("capabilities.cancel"), and where, for people."""
        section, _, member = key.partition(".")
        value = getattr(getattr(self, section), member)
        told = str(value).lower() if isinstance(value, bool) else repr(value)
        told = "[]" if value == () else told
        line = f" ({self.lines[key]})" if key in self.lines else ""
        return f"the profile {self.name!r} says {key} = {told}{line}"

    def quiet_s(self) -> float:
        """How long a default run keeps a stream quiet: beyond the heartbeat and its margin."""
        beat = self.declared.heartbeat_s
        return max(beat * 5 / 3, beat + self.declared.heartbeat_margin_s + 1.5)
