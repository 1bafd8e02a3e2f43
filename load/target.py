"""The deployment under load: its address, what its profile says, the requests it understands."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from streamgauge.access import Access
from streamgauge.framing import Cut, WireError
from streamgauge.history import View
from streamgauge.members import first_at
from streamgauge.profile import Profile

from .following import Follower, TooLong, Truth, log_view, page_of
from .grammar import NO_JSON, Grammar, parsed
from .jobs import Job, Plan
from .wire import Address, Answer, Exchange, ask, quoted

LOOK_S: Final = 5.0
"""For so long the first look waits for a job's first event."""
PAGES_MAX: Final = 1000
PAGE_EVENTS: Final = 200
"""Few enough that pollers have to turn pages."""
Headers = tuple[tuple[str, str], ...]


class Refused(WireError):
    """The target answered, and not with what was asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Target:
    """One deployment. `look` finds out what the profile leaves open."""

    address: Address
    profile: Profile
    access: Access
    shaped: bool = False
    """Jobs can be told what to emit."""
    waits: bool = False
    """Jobs can be told to wait for their first reader."""
    ahead_s: float = 0.0
    """The target's clock less ours."""
    grammar: Grammar = field(init=False)

    def __post_init__(self) -> None:
        self.grammar = Grammar(self.profile)

    @property
    def starts(self) -> bool:
        """Whether there are jobs to start."""
        return bool(self.profile.api.start)

    @property
    def shares(self) -> bool:
        """Whether several readers can read one job."""
        return self.starts and not self.profile.api.start_streams

    def path(self, template: str, job: str = "", **query: str) -> str:
        """Path and query of a request."""
        api = self.profile.api
        path = f"{self.address.path}{api.prefix}{template.replace('{job_id}', quoted(job))}"
        pairs = [*query.items(), *self.access.query]
        asked = [self.address.query] if self.address.query and not template else []
        asked += [urlencode(pairs)] if pairs else []
        return (path or "/") + (f"?{'&'.join(asked)}" if asked else "")

    def headers(self, job: str = "", *more: tuple[str, str]) -> Headers:
        """What a request carries: what the caller says, the job's session, the user's own."""
        session = self.profile.api.session_header
        own = (*more, *(((session, job),) if session and job else ()))
        return (*own, *self.access.headers)

    def start(self, plan: Plan | None, client: str = "", *, waits: bool = True) -> Job:
        """Start a job. Raises WireError; Refused where the answer is no acceptance.

        Args:
            plan: what it is asked to do, where jobs can be shaped.
            client: who starts it; "" for somebody new.
            waits: it is to wait for its first reader, where jobs can do that.
        """
        script = plan.script() if plan is not None and self.shaped else None
        answer = self._start(script, self.waits and waits, client)
        if not 200 <= answer.status < 300:
            raise Refused(answer.status, f"the start was answered with status {answer.status}")
        told = first_at(parsed(answer.body), self.profile.api.job_id)
        if told is None or told is NO_JSON:
            names = " or ".join(self.profile.api.job_id)
            raise Refused(answer.status, f"the start's answer names no job ({names})")
        return Job(str(told), plan if script is not None else None)

    def _start(self, script: Mapping[str, Any] | None, waits: bool, client: str) -> Answer:
        body = self.start_body(script, waits)
        return ask(
            self.address, "POST", self.path(self.profile.api.start),
            self.start_headers(client), body,
        )  # fmt: skip

    def start_body(self, script: Mapping[str, Any] | None, waits: bool) -> bytes:
        """A start's JSON."""
        members = dict(self.profile.api.start_body)
        if script is not None:
            members["pipeline"] = script
        if waits:
            members["wait_for_subscriber"] = True
        return orjson.dumps(members)

    def start_headers(self, client: str = "") -> Headers:
        """A start's header: each start is another client's, so that no quota is in the way."""
        name = self.profile.api.client_id_header
        own = (("Content-Type", "application/json"), ("Accept", "application/json"))
        who = ((name, client or str(uuid.uuid4())),) if name else ()
        return self.headers("", *own, *who)

    def open(self, job: Job, cursor: str, receive_bytes: int = 0) -> Exchange:
        """Ask for a job's stream from a cursor on. Raises WireError."""
        api = self.profile.api
        accept = ("Accept", "text/event-stream")
        if api.start_streams:
            body = self.start_body(None, waits=False)
            headers = tuple(pair for pair in self.start_headers() if pair[0] != "Accept")
            headers = (accept, *headers)
            return Exchange(self.address, "POST", self.path(api.start), headers, body)
        after = (("Last-Event-ID", cursor),) if cursor else ()
        headers = self.headers(job.id, accept, *after)
        target = self.path(api.stream if self.starts else "", job.id)
        return Exchange(self.address, "GET", target, headers, receive_bytes=receive_bytes)

    def page(self, job: Job, cursor: str, wait_s: int = 0) -> Answer:
        """A page of a job's log. Raises WireError."""
        query = {"after": cursor or "0", "limit": str(PAGE_EVENTS)}
        if wait_s:
            query["wait"] = str(wait_s)
        target = self.path(self.profile.api.events, job.id, **query)
        return ask(
            self.address, "GET", target, self.headers(job.id, ("Accept", "application/json"))
        )

    def log(self, job: Job) -> View | None:
        """A job's whole log by polling, None where it cannot be had."""
        if self.profile.capabilities.polling is not True or not self.profile.api.events:
            return None
        pages: list[dict[str, Any]] = []
        cursor, at = "0", time.time()
        try:
            while len(pages) < PAGES_MAX:
                answer = self.page(job, cursor)
                page = page_of(answer.body) if answer.status == 200 else None
                if page is None:
                    return None
                pages.append(page)
                cursor = str(page.get("cursor", cursor))
                if not page.get("has_more"):
                    return log_view(pages, self.grammar, at)
        except WireError:
            return None
        return None

    def cancel(self, job: Job) -> Answer:
        """Cancel a job. Raises WireError."""
        target = self.path(self.profile.api.cancel, job.id)
        return ask(self.address, "POST", target, self.headers(job.id), b"")

    def answer_gate(self, job: Job, gate: str) -> Answer:
        """Give a job that waits for it its answer. Raises WireError."""
        api = self.profile.api
        body = orjson.dumps(
            {
                name: value.replace("{gate}", gate) if isinstance(value, str) else value
                for name, value in api.gate_body.items()
            }
        )
        headers = self.headers(job.id, ("Content-Type", "application/json"))
        return ask(self.address, "POST", self.path(api.gate, job.id), headers, body)

    def look(self) -> None:
        """Find out whether jobs can be shaped, and how far the clocks are apart.

        Raises WireError: there is nobody, or not what the profile describes.
        """
        if not self.shares:
            exchange = self.open(Job("", None), "")
            try:
                self._require_stream(exchange)
            finally:
                exchange.close()
            return
        began = time.time()
        job = self._first_job()
        exchange = self.open(job, "")
        try:
            self._require_stream(exchange)
            self._compare_clocks(exchange, began)
        finally:
            exchange.close()

    def _first_job(self) -> Job:
        """Start a job in the fullest way that the target understands."""
        can = self.profile.capabilities
        plan = Plan(4, 0, "completed")
        tries = [
            (shaped, waits)
            for shaped in (True, False)
            for waits in (True, False)
            if (shaped or can.shape is not True)
            and (not shaped or can.shape is not False)
            and (not waits or can.wait_for_subscriber is not False)
        ]
        for shaped, waits in tries:
            self.shaped, self.waits = shaped, waits
            try:
                return self.start(plan)
            except Refused as refused:
                if refused.status not in (400, 422) or (shaped, waits) == tries[-1]:
                    raise Refused(
                        refused.status,
                        f"POST {self.profile.api.start}: {refused}; is this the service, and does "
                        f"the profile {self.profile.name!r} describe it?",
                    ) from refused
        raise AssertionError

    def _require_stream(self, exchange: Exchange) -> None:
        head = exchange.head
        if head.status == 204:
            return
        kind = head.fields.get("content-type", "")
        if head.status != 200 or not kind.lower().startswith("text/event-stream"):
            raise Refused(
                head.status,
                f"the stream was answered with status {head.status} and content type {kind!r}, not "
                f"with 200 and text/event-stream; does the profile {self.profile.name!r} describe "
                "this service?",
            )

    def _compare_clocks(self, exchange: Exchange, began: float) -> None:
        """Clocks that may be equal count as equal: nothing is stamped before it was caused, and
        nothing arrives before it was stamped."""
        follower = Follower(Truth(), self.grammar)
        follower.opened(began)
        deadline = time.time() + LOOK_S
        try:
            while time.time() < deadline and (part := exchange.read()):
                at = exchange.received_at
                follower.feed(part, at)
                first = follower.truth.events[0].emitted_at if follower.truth.events else None
                stamp = first or follower.first_stamp
                if stamp is not None:
                    low, high = stamp - at, stamp - began
                    self.ahead_s = min(max(0.0, low), high)
                    return
        except (Cut, TooLong):
            return
