"""The parts of the benchmark that servers are measured in: fan-out, latency, replay, memory.

Each function measures every subject once, in an order that turns with the round. What decides
nothing is left out of the measured window: connecting, starting, ending, waiting.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from . import subjects, tools
from .client import Client, Look, NotReady
from .figures import Samples
from .machine import BenchError, Cpus, cpu_us, memory_kib
from .subjects import Plan, Subject

FANOUT_PEERS: Final = (
    subjects.LOOP,
    subjects.NCHAN,
    subjects.AXUM,
    subjects.NODE,
    subjects.GO_SSE,
    subjects.SSE_STARLETTE,
)
BURST: Final = 16
#: One event at a time: readers; 16 together: readers.
SHAPES: Final = ((1, 200), (BURST, 200), (1, 1000))
FEW: Final = ((1, 50),)
"""A part of its own: with it, fan-out would take more than five minutes."""
#: How long a window lasts, and how much time each delivery gets: about twice what it takes.
_WINDOW_S: Final = 0.8
_ALLOWED_US: Final = {1: 12.0, BURST: 5.0}
_ALLOWED_SLOW_US: Final = {1: 150.0, BURST: 120.0}
#: Longer than the client sleeps between two looks, so that it can tell two events apart.
_PAUSE_MIN_US: Final = 2000.0
_SLOW: Final = frozenset({subjects.SSE_STARLETTE})
#: Events that are due one at a time may travel together so rarely that no figure shows it.
_TOGETHER_MAX: Final = 0.02
_ATTEMPTS: Final = 5

LATENCY_READERS: Final = 200
LATENCY_EVENTS: Final = 60
LATENCY_PAUSE_US: Final = 50_000
HISTORY: Final = 10_000
_REPLAYS: Final = 5
IDLE_READERS: Final = 1000
_HOT: Final = {"HOT_CACHE_EVENTS": str(HISTORY + 100)}
#: Cold: the job's newest frames are not kept, and no earlier reader has warmed anything.
_COLD: Final = {"HOT_CACHE_EVENTS": "1"}


_NO_ENV: Final[Mapping[str, str]] = {}
_Found = TypeVar("_Found")


@dataclass(slots=True)
class Bench:
    """What every part needs: where to measure, with what, and where the numbers go."""

    cpus: Cpus
    client: Path
    samples: Samples = field(default_factory=Samples)
    missing: dict[str, str] = field(default_factory=dict)
    """Peers that are not here, and what they lack."""

    @contextmanager
    def serving(
        self,
        turn: int,
        peers: tuple[str, ...],
        stores: tuple[str, ...] = ("memory",),
        env: Mapping[str, str] = _NO_ENV,
    ) -> Iterator[list[Subject]]:
        """Fresh servers; whose turn comes first changes with the round."""
        with ExitStack() as stack:

            def folder() -> Path:
                made = tempfile.TemporaryDirectory(prefix="bench-")
                return Path(stack.enter_context(made))

            found: list[Subject] = [
                stack.enter_context(subjects.reference(folder(), self.cpus, store=store, **env))
                for store in stores
            ]
            for name in peers:
                try:
                    found.append(stack.enter_context(subjects.peer(name, folder(), self.cpus)))
                except tools.Missing as error:
                    self.missing[name] = str(error)
            first = turn % len(found)
            yield found[first:] + found[:first]


def fanout(bench: Bench, turn: int) -> None:
    """Processor time per delivered event."""
    _fan_out(bench, turn, SHAPES)


def few(bench: Bench, turn: int) -> None:
    """The same for few readers."""
    _fan_out(bench, turn, FEW)


def _fan_out(bench: Bench, turn: int, shapes: Sequence[tuple[int, int]]) -> None:
    with bench.serving(turn, FANOUT_PEERS, ("memory", "sqlite")) as servers:
        for burst, readers in shapes:
            for subject in servers:
                allowed = _ALLOWED_SLOW_US if subject.name in _SLOW else _ALLOWED_US
                pause_us = max(allowed[burst] * readers * burst, _PAUSE_MIN_US)
                bursts = max(round(_WINDOW_S * 1e6 / pause_us), 3)
                plan = Plan(readers, bursts * burst, burst, pause_us)
                used_us = _patiently(subject, plan, lambda s, p: _cpu(bench, s, p))
                bench.samples.add(
                    turn, fanout_name(burst, readers), subject.name, "us", used_us / plan.deliveries
                )


def fanout_name(burst: int, readers: int) -> str:
    """The figure's name."""
    shape = "one event at a time" if burst == 1 else f"bursts of {burst}"
    return f"CPU per delivery, {shape}, {readers} readers"


def _cpu(bench: Bench, subject: Subject, plan: Plan) -> float:
    with _window(bench, subject, plan, "lazy") as (client, go):
        before_us = cpu_us(subject.pid)
        go()
        client.until(1 + plan.events)
        used_us = cpu_us(subject.pid) - before_us
        state = client.state
        if plan.burst == 1 and state.together > _TOGETHER_MAX * plan.deliveries:
            # It, or the client, is behind, and who is behind may write several events at once.
            raise NotReady(f"{state.together} of {plan.deliveries} events were not alone")
        ours = subject.name in (subjects.REFERENCE, subjects.REFERENCE_SQLITE)
        if ours and plan.burst > 1 and state.joined < plan.deliveries // 2:
            raise BenchError(f"{subject.name}: {state.joined} of {plan.deliveries} were joined")
    return used_us


def latency(bench: Bench, turn: int) -> None:
    """How old an event is when it has been read: 20 events a second, 200 readers."""
    plan = Plan(LATENCY_READERS, LATENCY_EVENTS, 1, LATENCY_PAUSE_US)
    with bench.serving(turn, FANOUT_PEERS) as servers:
        for subject in servers:
            p50_us, p99_us = _patiently(subject, plan, lambda s, p: _ages(bench, s, p))
            bench.samples.add(turn, LATENCY_P50, subject.name, "ms", p50_us / 1000)
            bench.samples.add(turn, LATENCY_P99, subject.name, "ms", p99_us / 1000)


LATENCY_P50: Final = f"event age p50, 20 events/s, {LATENCY_READERS} readers"
LATENCY_P99: Final = f"event age p99, 20 events/s, {LATENCY_READERS} readers"


def _ages(bench: Bench, subject: Subject, plan: Plan) -> tuple[int, int]:
    with _window(bench, subject, plan, "ages") as (client, go):
        client.ages()  # the first event's are forgotten
        go()
        client.until(1 + plan.events)
        ages = client.ages()
        if ages.events != plan.deliveries:
            raise NotReady(f"{ages.events} of {plan.deliveries} events were dated")
    return ages.p50, ages.p99


REPLAY_HOT: Final = f"replay of {HISTORY} events, hot"
REPLAY_COLD: Final = f"replay of {HISTORY} events, from SQLite"
REPLAY_PEERS: Final = FANOUT_PEERS


def replay(bench: Bench, turn: int) -> None:
    """A late joiner: events a second, from the request to the last one."""
    with bench.serving(turn, REPLAY_PEERS, env=_HOT) as servers:
        for subject in servers:
            rate = _replayed(bench, subject)
            bench.samples.add(turn, REPLAY_HOT, subject.name, "events/s", rate)
            if subject.name == subjects.SSE_STARLETTE:  # all that it has is in memory
                bench.samples.add(turn, REPLAY_COLD, subject.name, "events/s", rate)
    with bench.serving(turn, (), ("sqlite",), env=_COLD) as (cold,):
        rate = _replayed(bench, cold)
        bench.samples.add(turn, REPLAY_COLD, cold.name, "events/s", rate)


def _replayed(bench: Bench, subject: Subject) -> float:
    """The best of a few: whatever else this machine does can only make one slower, and the first
    one may meet pages that nobody has touched yet."""
    took_s = []
    with subject.history(HISTORY) as offer:
        for _ in range(_REPLAYS):
            with Client(bench.client, offer, "eager") as client:
                client.connect(1)
                took_s.append(client.until(HISTORY))
    return HISTORY / min(took_s)


MEMORY: Final = f"memory per idle reader, {IDLE_READERS} readers"


def memory(bench: Bench, turn: int) -> None:
    """What a reader costs that nothing is sent to."""
    for name in ("", *FANOUT_PEERS):
        # One at a time, each in a server that has never had a reader.
        with bench.serving(turn, (name,) if name else (), () if name else ("memory",)) as servers:
            for subject in servers:
                bench.samples.add(turn, MEMORY, subject.name, "KiB", _idle_kib(bench, subject))


def _idle_kib(bench: Bench, subject: Subject) -> float:
    plan = Plan(IDLE_READERS, 4, 1, 5e6, patience=4)
    with subject.job(plan) as job, Client(bench.client, job.offer, "lazy") as few:
        few.connect(5)  # what a first reader makes the server load counts for none
        few.settle()
        before_kib = memory_kib(subject.pid)
        with Client(bench.client, job.offer, "lazy") as client:
            client.connect(IDLE_READERS)
            client.settle()
            grown_kib = memory_kib(subject.pid) - before_kib
            if client.state.most:
                raise BenchError(f"{subject.name}: its readers were not idle")
    return max(grown_kib, 0) / IDLE_READERS


@contextmanager
def _window(
    bench: Bench, subject: Subject, plan: Plan, look: Look
) -> Iterator[tuple[Client, Callable[[], None]]]:
    """All readers have the job's first event, and none has another. Raises NotReady."""
    with subject.job(plan) as job, Client(bench.client, job.offer, look) as client:
        client.connect(plan.readers)
        client.settle()
        if client.state.most:
            raise NotReady("the first event came while readers connected")
        job.open()
        client.until(1)
        if client.state.most > 1:
            raise NotReady("the second event came before all had the first")
        yield client, job.go


def _patiently(subject: Subject, plan: Plan, measure: Callable[[Subject, Plan], _Found]) -> _Found:
    """Measure, with longer pauses where the machine was too busy. Raises BenchError."""
    problem = ""
    for attempt in range(_ATTEMPTS):
        try:
            return measure(subject, replace(plan, patience=2**attempt))
        except NotReady as error:
            problem = str(error)
            print(f"  {subject.name}, {plan.readers} readers, once more: {problem}", flush=True)
    raise BenchError(f"{subject.name}: {plan.readers} readers, {problem}")
