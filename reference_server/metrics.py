"""What the server measures, for Prometheus (protocol §11).

Every object lives in a registry of its own, so that several apps can exist in one process (tests,
embedding) without counting each other's events. The domain side sees only the hooks it needs.
"""

from __future__ import annotations

import itertools
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
#: Below this, a frame may wait in a proxy's buffer for the next one (protocol §3).
FRAME_EXPECTED_BYTES: Final = 4096
_FRAME_BUCKETS_BYTES: Final = (
    1024,
    4095,
    4096,
    8192,
    16_384,
    65_536,
    262_144,
    1_048_576,
    4_194_304,
)
#: The alert bounds of §11 (1 s latency, 2 s replay) are bucket edges.
_LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_REPLAY_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
_PERSIST_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)

_LOG: Final = logging.getLogger(__name__)


class _Tally(Collector):
    """A histogram that counts a value as often as it is told to, at the price of once.

    Prometheus's own takes one value at a time, with a lock for each number that changes: for an
    event that goes to a thousand readers that costs as much as writing it to some of them. Here
    one event loop counts and scrapes.
    """

    def __init__(
        self, name: str, help_text: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._help = help_text
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value` so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def collect(self) -> Iterable[Metric]:
        """What Prometheus asks for: how many values are at most as large as each bound."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        upto = list(zip(names, itertools.accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._help, buckets=upto, sum_value=self._sum)


class Metrics:
    """The counters, gauges and histograms, and the hooks that move them."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._frame_bytes = _Tally(
            "stream_frame_bytes",
            "Size of the frames of stored events, with padding",
            _FRAME_BUCKETS_BYTES,
            registry,
        )
        self._replay_seconds = _Tally(
            "stream_replay_seconds",
            "From opening a stream until it has caught up with the log",
            _REPLAY_BUCKETS_S,
            registry,
        )
        self._latency_seconds = _Tally(
            "stream_event_latency_seconds",
            "From an event's emission until it was written to a live reader's socket",
            _LATENCY_BUCKETS_S,
            registry,
        )
        self._direct_writes = Counter(
            "stream_direct_writes",
            "Writes of new events to readers whose tasks were not woken for it",
            registry=registry,
        )
        self._persist_seconds = _Tally(
            "store_persist_seconds",
            "Time to store a batch of events",
            _PERSIST_BUCKETS_S,
            registry,
        )
        self._persist_failures = Counter(
            "store_persist_failures", "Appends that the store refused or lost", registry=registry
        )
        self._persisted_events = Counter(
            "store_persisted_events", "Events stored", registry=registry
        )
        self._jobs_running = Gauge(
            "jobs_running", "Jobs whose pipeline runs in this process", registry=registry
        )
        self._jobs_taken_over = Counter(
            "jobs_taken_over", "Jobs continued after their owner had lost them", registry=registry
        )
        self._quota_rejections = Counter(
            "quota_rejections", "Starts refused because the quota was used up", registry=registry
        )
        self._readers = Gauge("stream_readers", "Open streams", registry=registry)
        self._readers_cut = Counter(
            "stream_readers_cut", "Readers cut because they accepted no bytes", registry=registry
        )
        self._lag_events = Gauge(
            "stream_reader_lag_events",
            "How many events the reader that is furthest behind has yet to get",
            registry=registry,
        )
        self._readers_lagging = Gauge(
            "stream_readers_lagging", "Readers more than 500 events behind", registry=registry
        )

    # What the domain side reports.

    def frame_encoded(self, nbytes: int) -> None:
        self._frame_bytes.observe(nbytes)
        if nbytes < FRAME_EXPECTED_BYTES and _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug("frame below the minimum", extra={"bytes": nbytes})

    def replay_finished(self, seconds: float) -> None:
        self._replay_seconds.observe(seconds)

    def persisted(self, seconds: float, events: int) -> None:
        self._persist_seconds.observe(seconds)
        self._persisted_events.inc(events)

    def persist_failed(self) -> None:
        self._persist_failures.inc()

    def job_started(self) -> None:
        self._jobs_running.inc()

    def job_ended(self) -> None:
        self._jobs_running.dec()

    def job_taken_over(self) -> None:
        self._jobs_taken_over.inc()

    # What the HTTP side reports.

    def quota_rejected(self) -> None:
        self._quota_rejections.inc()

    def event_delivered(self, latency_s: float) -> None:
        self._latency_seconds.observe(max(latency_s, 0.0))

    def events_handed(self, latency_s: float, readers: int) -> None:
        self._latency_seconds.observe(max(latency_s, 0.0), readers)
        self._direct_writes.inc(readers)

    def reader_cut(self) -> None:
        self._readers_cut.inc()

    def watch_readers(
        self,
        count: Callable[[], float],
        lag: Callable[[], float],
        lagging: Callable[[], float],
    ) -> None:
        """Ask for the readers' numbers when they are scraped, not on every event."""
        self._readers.set_function(count)
        self._lag_events.set_function(lag)
        self._readers_lagging.set_function(lagging)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)
