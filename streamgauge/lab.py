"""What a scenario works with: start jobs, open streams, ask for views, note facts.

A scenario does things to the target and judges nothing. All exchanges that it makes through its lab
end up in its bundle, in the order in which they began, whatever happens afterwards.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from . import raw
from .client import ANSWER_S, Client, LiveExchange
from .job import Job, Shape
from .members import at_path, first_at
from .recording import Bundle, End, Recording, Request, outcome
from .relay import Passage, Via
from .shared import Shared
from .sse import Block
from .verdict import Unable


class Exchange(Protocol):
    """Whatever is recorded while it goes on."""

    @property
    def label(self) -> str: ...

    def recording(self) -> Recording: ...

    async def leave(self) -> Recording: ...


class Shown(Protocol):
    """A stream whose events are looked at while they come."""

    @property
    def blocks(self) -> list[Block]: ...

    @property
    def end(self) -> End | None: ...


@dataclass(slots=True)
class Tally:
    """A running count over a stream's blocks."""

    blocks: int = 0
    events: int = 0
    newest: str = ""
    ended: bool = False


class Lab:
    """One scenario's access to the target."""

    def __init__(self, name: str, shared: Shared) -> None:
        self.name = name
        self.shared = shared
        self.profile = shared.profile
        self.client = shared.client
        self.facts: dict[str, Any] = {}
        self._exchanges: list[Exchange] = []
        self._plain: list[Recording] = []
        self._tallies: dict[Shown, Tally] = {}

    # -- time -----------------------------------------------------------------------------------

    def now(self) -> float:
        return self.client.clock.now()

    def left_s(self) -> float:
        """Seconds until the run has to be over."""
        return max(0.0, self.shared.deadline - self.now())

    @property
    def instances(self) -> tuple[Client, ...]:
        """All that are known of the deployment, the one of the base URL first."""
        return (self.client, *self.shared.instances)

    def at_instance(self, job: Job, number: int) -> Job:
        """The same job, asked for at the instance of this number, counted from 0."""
        return self.job_at(job.job_id, job.started, {}, self.instances[number])

    async def pause(self, seconds: float, why: str) -> None:
        """Let time pass because the rule is about time; shown in the progress line."""
        seconds = min(seconds, self.left_s())
        self.shared.waiting[self.name] = (why, self.now() + seconds)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.shared.waiting.pop(self.name, None)

    def expect(self, why: str, seconds: float) -> None:
        """Say in the progress line what this scenario is busy with, for about how long."""
        self.shared.waiting[self.name] = (why, self.now() + seconds)

    async def passage(self) -> Passage:
        """The way through the suite's own proxy; one relay serves the whole run."""
        if self.shared.passage is None:
            self.shared.passage = Passage(self.client.base_url)
        await self.shared.passage.start()
        return self.shared.passage

    # -- jobs -----------------------------------------------------------------------------------

    def start_headers(self, client_id: str | None, key: str | None = None) -> list[tuple[str, str]]:
        headers = [("Content-Type", "application/json"), ("Accept", "application/json")]
        if client_id is not None and self.profile.api.client_id_header:
            headers.append((self.profile.api.client_id_header, client_id))
        if key is not None:
            headers.append(("Idempotency-Key", key))
        return headers

    def start_body(self, shape: Shape | None = None, *, wait: bool = False) -> bytes:
        body = dict(self.profile.api.start_body)
        if wait:
            body["wait_for_subscriber"] = True
        if shape is not None:
            body["pipeline"] = dict(shape)
        return json.dumps(body, ensure_ascii=False).encode()

    def new_client(self) -> str:
        """A client id that nobody has used: no quota stands in its way."""
        return str(uuid.uuid4())

    async def post_start(
        self,
        label: str,
        shape: Shape | None = None,
        *,
        client_id: str | None,
        key: str | None = None,
        wait: bool = False,
        at: Client | None = None,
    ) -> Recording:
        """Ask for a job, at another instance if need be, and record the answer, whatever it is."""
        return await self.ask(
            "POST",
            at.url(self.profile.api.start) if at is not None else self.profile.api.start,
            label=label,
            headers=self.start_headers(client_id, key),
            body=self.start_body(shape, wait=wait),
            info={"shape": dict(shape) if shape else None, "client": client_id, "wait": wait},
        )

    async def start(
        self,
        label: str,
        shape: Shape | None = None,
        *,
        client_id: str | None = None,
        key: str | None = None,
        wait: bool = False,
        at: Client | None = None,
    ) -> Job:
        """Start a job as a fresh client (so that no quota stands in the way).

        Args:
            label: the name of the answer in the bundle.
            shape: what the job is to emit; None: the target's own.
            client_id: who starts it; None: somebody new.
            key: the Idempotency-Key.
            wait: the job waits for its first subscriber.
            at: the instance that is asked, where it is not the first.

        Raises:
            Unable: the target refused, or its answer names no job.
        """
        if self.shared.silent and shape is None:
            raise Unable(self.shared.silent)
        own = client_id or self.new_client()
        answer = await self.post_start(label, shape, client_id=own, key=key, wait=wait, at=at)
        job = self.job_of(answer, at)
        if job is None:
            raise Unable(f"start was not accepted: {outcome(answer)}")
        return job

    def job_of(self, answer: Recording, at: Client | None = None) -> Job | None:
        """The job that an answer of this instance to a start names, None where it names none."""
        if answer.status is None or not 200 <= answer.status < 300:
            return None
        body = answer.json
        told = first_at(body, self.profile.api.job_id)
        if not isinstance(told, str | int) or isinstance(told, bool) or told == "":
            return None
        if isinstance(answer.info, dict):
            paths = self.profile.api.job_id
            named_by = next(path for path in paths if at_path(body, path) is not None)
            answer.info.update(made=str(told), at=named_by)
        return self.job_at(str(told), answer, body if isinstance(body, dict) else {}, at)

    def job_at(
        self,
        job_id: str,
        started: Recording,
        told: Mapping[str, Any],
        at: Client | None = None,
    ) -> Job:
        """A job's views: where its start says that they are, else where the profile does."""
        api, client = self.profile.api, at or self.client

        def place(member: str, path: str, part: str = "") -> str:
            if part and getattr(self.profile.capabilities, part) is False:
                return ""
            named = told.get(member)
            if isinstance(named, str) and named:
                return client.resolve(named)
            return client.url(path.replace("{job_id}", quote(job_id, safe=""))) if path else ""

        return Job(
            job_id=job_id,
            stream=place("stream_url", api.stream),
            snapshot=place("snapshot_url", api.snapshot, "snapshot"),
            events=place("events_url", api.events, "polling"),
            cancel=place("cancel_url", api.cancel, "cancel"),
            client_id=str(started.info.get("client") or ""),
            started=started,
            shape=started.info.get("shape"),
        )

    def natural(self) -> tuple[Job, LiveExchange]:
        """The target's own job that all scenarios share where jobs cannot be shaped."""
        if self.shared.natural is None or self.shared.natural_reader is None:
            raise Unable("no job could be started")
        if self.shared.silent:
            raise Unable(self.shared.silent)
        return self.shared.natural, self.shared.natural_reader

    def adopt(self, live: LiveExchange, start: Recording) -> None:
        """Take an exchange that outlived its scenario, and the start of its job, into this one."""
        self._exchanges.append(live)
        if start.answered:
            self._plain.append(start)
        self._plain += self.shared.gate_answers

    def shared_job(self) -> Job:
        """The target's own job, its start taken into this scenario's bundle; its reader is not."""
        job, _ = self.natural()
        self._plain.append(job.started)
        return job

    def watch(self, live: LiveExchange) -> None:
        """Take an exchange that was opened below this lab into its bundle."""
        self._exchanges.append(live)

    async def cancel(self, job: Job, label: str) -> Recording:
        return await self.ask("POST", job.cancel, label=label, info={"job": job.job_id})

    # -- views ----------------------------------------------------------------------------------

    def stream(
        self,
        job: Job,
        label: str,
        *,
        cursor: str | None = None,
        query: str = "",
        headers: Iterable[tuple[str, str]] = (),
        method: str = "GET",
        bound_s: float = 30.0,
        bulk: bool = False,
        info: Mapping[str, Any] | None = None,
        own: bool = True,
        via: Via | None = None,
    ) -> LiveExchange:
        """Open a stream in the background.

        Args:
            job: whose stream.
            label: its name in the bundle.
            cursor: the Last-Event-ID; "" sends an empty header.
            query: appended to the URL.
            headers: sent beside, or instead of, the usual ones.
            method: GET unless the rule is about another.
            bound_s: it ends by itself after so long.
            bulk: see `Client.open`.
            info: facts to record beside the job and the cursor.
            own: False for a stream that outlives this scenario (see `adopt`).
            via: the way through the relay, None for none.
        """
        sent = [("Accept", "text/event-stream"), ("Cache-Control", "no-store"), *headers]
        names = [name.lower() for name, _ in headers]
        sent = [pair for n, pair in enumerate(sent) if n > 1 or pair[0].lower() not in names]
        if cursor is not None:
            sent.append(("Last-Event-ID", cursor))
        sent += self._of_session(job)
        url = job.stream + (("&" if "?" in job.stream else "?") + query if query else "")
        live = self.client.open(
            url,
            label=label,
            method=method,
            headers=sent,
            bound_s=min(bound_s, self.left_s()),
            bulk=bulk,
            info={"job": job.job_id, "after": cursor, **(info or {})},
            via=via,
        )
        return self._note(live) if own else live

    async def read(
        self, job: Job, label: str, *, cursor: str | None = None, bound_s: float = 30.0, **how: Any
    ) -> Recording:
        """Open a stream and read it to its end, for at most `bound_s`."""
        return await self.stream(job, label, cursor=cursor, bound_s=bound_s, **how).finish()

    def _of_session(self, job: Job) -> list[tuple[str, str]]:
        """The header by which a balancer finds the job's instance, where there is one."""
        name = self.profile.api.session_header
        return [(name, job.job_id)] if name else []

    def _absent(self, label: str, url: str, part: str = "") -> Recording | None:
        """What stands for the answer of a view that this target does not have: nothing is asked."""
        if url.partition("?")[0] and (not part or self.shared.has(part)):
            return None
        return Recording(label, Request("GET", url), self.now(), ended_at=self.now(), end=End.LEFT)

    async def snapshot(self, job: Job, label: str, **how: Any) -> Recording:
        if absent := self._absent(label, job.snapshot, "snapshot"):
            return absent
        headers = [("Accept", "application/json"), *how.pop("headers", ())]
        return await self.ask(
            "GET", job.snapshot, label=label, headers=headers, info={"job": job.job_id}, **how
        )

    async def poll(
        self,
        job: Job,
        label: str,
        *,
        after: str | None = None,
        limit: int | None = None,
        wait: float | None = None,
        bound_s: float = ANSWER_S,
    ) -> Recording:
        """One page of the log."""
        if absent := self._absent(label, job.events, "polling"):
            return absent
        asked = {"after": after, "limit": limit, "wait": wait}
        query = "&".join(f"{k}={quote(str(v), safe='')}" for k, v in asked.items() if v is not None)
        return await self.ask(
            "GET",
            job.events + (f"?{query}" if query else ""),
            label=label,
            headers=[("Accept", "application/json")],
            bound_s=bound_s + (wait or 0.0),
            info={"job": job.job_id, **{k: v for k, v in asked.items() if v is not None}},
        )

    async def ask(
        self,
        method: str,
        path: str,
        *,
        label: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        bound_s: float = ANSWER_S,
        info: Mapping[str, Any] | None = None,
        via: Via | None = None,
    ) -> Recording:
        if absent := self._absent(label, path):
            return absent
        starts = self.is_start(method, path)
        if starts:
            self.shared.jobs.take()
        live = self._note(
            self.client.open(
                path,
                label=label,
                method=method,
                headers=headers,
                body=body,
                bound_s=min(bound_s, self.left_s()),
                info=info,
                via=via,
            )
        )
        answer = await live.finish()
        if starts:
            self.shared.jobs.settle(answer)
        return answer

    def is_start(self, method: str, path: str) -> bool:
        """Whether a request would start a job, at whichever instance."""
        starts = {each.url(self.profile.api.start) for each in self.instances}
        return method == "POST" and self.client.url(path).partition("?")[0] in starts

    async def raw(
        self, method: str, url: str, *, label: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> Recording:
        """An exchange below HTTP's manners: what follows the head is kept as `surplus`."""
        if absent := self._absent(label, url):
            return absent
        recording = await raw.exchange(self.client, method, url, label=label, headers=headers)
        self._plain.append(recording)
        return recording

    def keep(self, recording: Recording) -> None:
        """Take an exchange that was not made by this lab's own means into the bundle."""
        self._plain.append(recording)

    def follow(self, *exchanges: Exchange) -> None:
        """Let exchanges that a scenario makes by other means end up in its bundle, too."""
        self._exchanges.extend(exchanges)

    def recorded(self, label: str) -> Recording:
        """What has been recorded under a label so far.

        Raises:
            Unable: nothing was.
        """
        for live in self._exchanges:
            if live.label == label:
                return live.recording()
        raise Unable(f"{label!r} was not recorded")

    def _note(self, live: LiveExchange) -> LiveExchange:
        self._exchanges.append(live)
        return live

    # -- the end --------------------------------------------------------------------------------

    async def bundle(self, *, unable: str = "", broken: str = "") -> Bundle:
        """Close what is still open and hand out all that was seen."""
        recordings = [await live.leave() for live in self._exchanges] + self._plain
        recordings.sort(key=lambda recording: recording.sent_at)
        return Bundle(self.name, tuple(recordings), self.facts, unable, broken, self.now())

    # -- reading streams ------------------------------------------------------------------------

    def is_log(self, block: Block) -> bool:
        """Whether a block dispatches an event of the job's log (not a control event)."""
        return block.event is not None and block.event.type not in self.profile.control_events

    def newest(self, live: Shown) -> str:
        """The newest event id that a stream has shown, "" before the first."""
        return self._tally(live).newest

    def seen(self, count: int) -> Callable[[Shown], bool]:
        """Condition: at least `count` events of the log have arrived."""
        return lambda live: self._tally(live).events >= count

    def ended(self, live: Shown) -> bool:
        """Condition: a terminal event has arrived.

        Where nobody declares the names of events, a clean end after one says the same.
        """
        tally = self._tally(live)
        clean = live.end in (End.COMPLETE, End.CLOSED)
        return tally.ended or (not self.profile.events.names and clean and tally.events > 0)

    def _tally(self, live: Shown) -> Tally:
        """What a stream has shown so far; each block is looked at once."""
        tally = self._tallies.setdefault(live, Tally())
        for block in live.blocks[tally.blocks :]:
            tally.blocks += 1
            if block.event is None or not self.is_log(block):
                continue
            tally.events += 1
            tally.newest = block.event.last_event_id
            tally.ended |= block.event.type in self.profile.events.terminal
        return tally

    def opened(self, live: LiveExchange) -> bool:
        """Condition: something of the body has arrived."""
        return bool(live.reads)
