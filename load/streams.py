"""One client of one job: over as many connections as it takes, timed, and judged at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import gevent

from streamgauge.framing import Cut, NoConnection, WireError
from streamgauge.history import WORD_OF, View
from streamgauge.history import Anomaly as Found

from .crowd import Anomaly, Crowd, Watched
from .following import Follower, TooLong
from .grammar import Known
from .histogram import bucket
from .jobs import CANCEL_S, Job
from .tally import CLEAN, worst
from .wire import READ_BYTES, Exchange

RETRY_S: Final = 0.2
"""Between two tries to connect."""
OPENED_LATE: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which a client comes back."""
SLOW_BUFFER_BYTES: Final = 131_072
"""What the system takes in for a slow reader. Less than twice the loopback's segments would make
the target wait for TCP's timers, from the first byte on, and that is not the reader's slowness."""
ANOMALIES_MAX: Final = 5


class Stream(Watched):
    """A reader. `read` returns when its job is over for it; its word is in the ledger then."""

    def __init__(
        self,
        crowd: Crowd,
        job: Job,
        role: str,
        *,
        ages: bool = True,
        read_bytes: int = READ_BYTES,
        pause_s: float = 0.0,
        leaves: Callable[[Stream], bool] | None = None,
        stays_s: float = 0.0,
    ) -> None:
        """
        Args:
            role: what kind of reader it is, for the record.
            ages: whether its ages and gaps tell something of the target, not of its own slowness.
            read_bytes, pause_s: it takes so much and then rests so long.
            leaves: asked after each read whether to drop the connection and come back.
            stays_s: it goes away for good after so long; 0: it stays to the end.
        """
        self.crowd = crowd
        self.job = job
        self.role = role
        looks = job.plan is not None or bool(crowd.target.profile.events.gates)
        self.follower = Follower(job.truth, crowd.target.grammar, self._look_at if looks else None)
        self.began = time.time()
        self.connection_at = self.began
        self.dropped_at = 0.0
        """When the connection was lost that has not been made up for; 0: none is."""
        self.drops = 0
        self._ages = ages
        self._read_bytes = read_bytes
        self._pause_s = pause_s
        self._leaves = leaves
        self._stays_s = stays_s
        self._exchange: Exchange | None = None
        self._byte_at = self._event_at = self.began
        self._overdue: tuple[str, str] | None = None
        self._refused = ""
        self._error: WireError | None = None
        self._octets = 0
        self._gap_max = 0.0
        self._number = crowd.number()
        self._times: dict[str, float] = {}

    # -- reading --------------------------------------------------------------------------------

    def read(self) -> str:
        """Read to the end, coming back as often as need be; the word for it."""
        crowd = self.crowd
        crowd.live.add(self)
        crowd.tally.live += 1
        self.job.readers += 1
        whole = False
        try:
            while self._visit():
                if self._overdue:
                    break
            whole = True
        finally:
            crowd.live.discard(self)
            crowd.tally.live -= 1
            self.job.readers -= 1
            word = self._judge(cut_by_run=not whole)
        return word

    def _visit(self) -> bool:
        """One connection; whether to come back."""
        follower = self.follower
        asked = time.time()
        try:
            exchange = self.crowd.target.open(
                self.job, follower.cursor, SLOW_BUFFER_BYTES if self._pause_s else 0
            )
        except WireError as error:
            return self._try_again(error)
        self._exchange = exchange
        try:
            self.crowd.reached(None)
            follower.opened(asked)
            self.connection_at = asked
            self._byte_at = self._event_at = time.time()
            if not self._accepted(exchange, asked):
                return not self._refused and not follower.shown[-1].ended
            return self._follow(exchange)
        finally:
            if not follower.shown[-1].closed_at:
                follower.closed(time.time(), ended=False)
            exchange.close()
            self._exchange = None

    def _try_again(self, error: WireError) -> bool:
        """Nobody answered: rest, and say whether to go on."""
        self._error = error
        self.crowd.reached(error if isinstance(error, NoConnection) else None)
        self.crowd.tally.counts["not connected"] += 1
        if not self.dropped_at:
            self.dropped_at = time.time()
        gevent.sleep(RETRY_S)
        return True

    def _accepted(self, exchange: Exchange, asked: float) -> bool:
        """Look at an answer's head; whether a stream follows."""
        status = exchange.head.status
        kind = exchange.head.fields.get("content-type", "").lower()
        if status == 200 and kind.startswith("text/event-stream"):
            self._error = None
            seconds = exchange.received_at - asked
            self._times.setdefault("connect", seconds)
            self.crowd.measured("connect", seconds)
            self.crowd.tally.counts["opened"] += 1
            return True
        if status == 204:
            self.follower.closed(time.time(), ended=True)
            return False
        if status in OPENED_LATE:
            self._try_again(Cut(f"the stream was answered with status {status}"))
            return False
        after = f" after event {self.follower.cursor!r}" if self.follower.cursor else ""
        self._refused = f"the stream was answered with status {status}{after}"
        if status == 200:
            self._refused = f"the stream has the content type {kind!r}"
        return False

    def _follow(self, exchange: Exchange) -> bool:
        """Take what comes until this connection is over; whether to come back."""
        follower, crowd = self.follower, self.crowd
        phases = crowd.tally.phases
        gaps, ages = phases["gap"].counts, phases["event_age"].counts
        counts = crowd.tally.counts
        ahead_s = crowd.target.ahead_s
        least_gap = bucket(0.0)
        first = True
        try:
            while part := exchange.read(self._read_bytes):
                at = exchange.received_at
                self._byte_at = at
                self._octets += len(part)
                counts["octets"] += len(part)
                came = follower.feed(part, at)
                if came:
                    counts["events"] += came
                    if first:
                        first = False
                        self._first_event(at)
                    elif self._ages:
                        gap = at - self._event_at
                        self._gap_max = max(self._gap_max, gap)
                        index = bucket(gap)
                        gaps[index] = gaps.get(index, 0) + 1
                    if came > 1 and self._ages:
                        gaps[least_gap] = gaps.get(least_gap, 0) + came - 1
                    self._event_at = at
                    if self._ages:
                        # What was emitted before the connection is a replay, and has no age.
                        oldest = at - self.connection_at
                        for told in follower.ages:
                            age = told + ahead_s
                            if age <= oldest:
                                index = bucket(age)
                                ages[index] = ages.get(index, 0) + 1
                if self._leaves is not None and not follower.over and self._leaves(self):
                    return self._drop()
                if self._stays_s and at - self.began > self._stays_s:
                    return False
                if self._pause_s:
                    gevent.sleep(self._pause_s)
        except (Cut, TooLong) as error:
            if self._overdue or follower.over:
                return False
            counts["cut"] += 1
            return self._lost(str(error))
        return self._ended_cleanly()

    def _first_event(self, at: float) -> None:
        """The first event of a connection: of the stream, or after a loss."""
        if self.dropped_at:
            self.crowd.measured("resume", at - self.dropped_at)
            self.dropped_at = 0.0
        if "first_event" not in self._times:
            self._times["first_event"] = at - self.began
            self.crowd.measured("first_event", at - self.began)

    def _drop(self) -> bool:
        """Leave on purpose, to come back with the cursor."""
        self.dropped_at = time.time()
        self.drops += 1
        self.crowd.tally.counts["resumed"] += 1
        return True

    def _lost(self, why: str) -> bool:
        """The connection was lost; whether to come back."""
        if self.crowd.target.profile.capabilities.resume is False:
            self._refused = f"{why}, and this target resumes nothing"
            return False
        self.dropped_at = time.time()
        self.drops += 1
        self.crowd.tally.counts["resumed"] += 1
        return True

    def _ended_cleanly(self) -> bool:
        """The answer ended in good order; whether to come back."""
        events = self.crowd.target.profile.events
        follower = self.follower
        if follower.over or not events.terminal:
            follower.closed(time.time(), ended=follower.over)
            return False
        if events.recycle and follower.comment == events.recycle.encode():
            self.crowd.tally.counts["recycled"] += 1
            return self._lost("the stream was recycled")
        follower.closed(time.time(), ended=True)
        return False

    def _look_at(self, known: Known) -> str:
        """An event that nobody had been shown: act as the job needs it, compare with the script."""
        events, plan = self.crowd.target.profile.events, self.job.plan
        to_cancel = plan is not None and plan.outcome == "cancelled" and not self.job.cancelled
        if plan is not None and to_cancel and len(self.job.truth.events) >= plan.turning_point:
            cancel_later(self.crowd, self.job, CANCEL_S)
        if known.type in events.gates:
            gate = known.value.get("gate") if isinstance(known.value, dict) else None
            self.crowd.background.spawn(
                _quietly, self.crowd.target.answer_gate, self.job, str(gate or known.type)
            )
        return self.job.flaw(known, events.text_type, events.text_member)

    # -- patience -------------------------------------------------------------------------------

    def overdue(self) -> tuple[str, str] | None:
        """Why this stream is stuck by now, or its job never ends; None where neither is so."""
        declared = self.crowd.target.profile.declared
        now = time.time()
        connected = self._exchange is not None
        silent_s = now - self._byte_at
        if declared.heartbeat_s:
            bound_s = declared.heartbeat_s + declared.heartbeat_margin_s
            if not connected:
                bound_s = max(bound_s, declared.takeover_s)
            if silent_s > bound_s:
                last = f" after event {self.follower.cursor!r}" if self.follower.cursor else ""
                why = f" ({self._error})" if self._error is not None and not connected else ""
                return "stuck", f"nothing came for {silent_s:.1f} s{last}{why}"
        ended_at = self.job.truth.ended_at
        if connected and ended_at is not None:
            open_s = now - max(ended_at, self._event_at)
            if open_s > declared.close_s:
                cursor = f"event {self.follower.cursor!r}"
                shown = "its terminal event" if self.follower.over else cursor
                said = f"still open {open_s:.1f} s after the job's end, having shown {shown}"
                return "stuck", said
        return self._endless(now)

    def _endless(self, now: float) -> tuple[str, str] | None:
        """Whether a job whose script is known has stopped without an end."""
        job, allowed_s = self.job, self.crowd.target.profile.declared.takeover_s
        if job.plan is None or job.ended or now - self._event_at < allowed_s:
            return None
        due = max(job.accepted_at, self.began) + job.plan.lasts_s + allowed_s
        if now < due:
            return None
        after = f"after event {self.follower.cursor!r}" if self.follower.cursor else "at all"
        said = f"its job should be over, and for {now - self._event_at:.1f} s nothing came {after}"
        return "never_terminated", said

    def give_up(self) -> None:
        self._overdue = self.overdue() or ("stuck", "nothing came")
        if self._exchange is not None:
            self._exchange.close()

    # -- judging --------------------------------------------------------------------------------

    def _judge(self, *, cut_by_run: bool) -> str:
        """Find the stream's word, count it, and keep its record."""
        follower, crowd = self.follower, self.crowd
        name = f"{self.role} {self._number}"
        overdue = self._overdue or (self.overdue() if cut_by_run else None)
        log: View | None = None
        killed: gevent.GreenletExit | None = None
        if follower.suspicion and not cut_by_run:
            try:
                log = crowd.target.log(self.job) if self.job.ended else None
            except gevent.GreenletExit as exit_now:
                # The run ends while the log is read: what is known must be said all the same.
                killed = exit_now
        found = follower.anomalies(name, log)
        faults = [
            (WORD_OF[anomaly.kind], f"{anomaly.kind}: {anomaly.message}") for anomaly in found
        ]
        faults += [("diverged", flaw) for flaw in follower.flaws]
        if overdue is not None:
            faults.append(overdue)
        if self._refused:
            faults.append(("lost", self._refused))
        unfinished = cut_by_run and not follower.over
        words = [word for word, _ in faults] or ["stopped" if unfinished else "ok"]
        word = worst(words)
        self._count(word, name, faults)
        self._keep(word, faults, found)
        if killed is not None:
            raise killed
        return word

    def _count(self, word: str, name: str, faults: list[tuple[str, str]]) -> None:
        crowd, tally = self.crowd, self.crowd.tally
        tally.ledger[word] += 1
        seconds = time.time() - self.began
        if word not in CLEAN:
            for each, message in faults[:ANOMALIES_MAX]:
                tally.fault(each, self.job.id, name, message)
            error = Anomaly(f"{word}: {faults[0][1]}")
            crowd.measured("complete", seconds, self._octets, error)
        elif word == "ok":
            crowd.measured("complete", seconds, self._octets)
        if word != "stopped":
            tally.kinds.update(self.kinds())

    def kinds(self) -> Iterator[str]:
        """What this stream was, in words that are counted."""
        yield self.role
        plan = self.job.plan
        if plan is not None:
            yield f"{plan.pace}, {plan.outcome}"
            yield plan.pace
            yield plan.outcome
            yield f"{plan.events} events"
        yield f"joined {self.joined}"

    @property
    def joined(self) -> str:
        """When it came: before the job's first event, during the job, after its end."""
        at = self.began + self.crowd.target.ahead_s
        stamps = [known.emitted_at for known in self.job.truth.events]
        if not stamps or stamps[0] is None or stamps[0] >= at:
            return "before"
        last = stamps[-1]
        return "after" if self.job.ended and last is not None and last < at else "during"

    def _keep(self, word: str, faults: list[tuple[str, str]], found: tuple[Found, ...]) -> None:
        plan = self.job.plan
        line: dict[str, Any] = {
            "stream": self._number,
            "role": self.role,
            "job": self.job.id,
            "word": word,
            "joined": self.joined,
            "began": self.began,
            "seconds": time.time() - self.began,
            **{f"{phase}_s": seconds for phase, seconds in self._times.items()},
            "gap_max_s": self._gap_max,
            "events": self.follower.events,
            "octets": self._octets,
            "connections": len(self.follower.shown),
            "cursor": self.follower.cursor,
        }
        if plan is not None:
            line |= {"pace": plan.pace, "outcome": plan.outcome, "job_events": plan.events}
        if faults:
            line["faults"] = [f"{each}: {message}" for each, message in faults]
            line["ids"] = [list(anomaly.ids) for anomaly in found]
        self.crowd.record(line)


def _quietly(do: Callable[..., Any], *arguments: Any) -> None:
    """Something whose failure shows elsewhere: a job that then never ends."""
    try:
        do(*arguments)
    except WireError:
        return


def cancel_later(crowd: Crowd, job: Job, after_s: float) -> None:
    """Cancel a job in the background."""

    def cancel() -> None:
        gevent.sleep(after_s)
        try:
            job.cancel_heard = crowd.target.cancel(job).status < 300
        except WireError:
            return

    job.cancelled = True
    crowd.background.spawn(cancel)
