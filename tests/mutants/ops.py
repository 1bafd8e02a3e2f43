"""Servers that operators cannot trust: no metrics, frozen ones, health checks that are none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .model import Mutant


def _exposition(change: Callable[[bytes], bytes]) -> None:
    from reference_server.metrics import Metrics

    original = Metrics.exposition
    Metrics.exposition = lambda self: change(original(self))  # type: ignore[method-assign]


def _refused(view: str, status: int) -> None:
    """This view of the operator's is answered with an error."""
    from reference_server.api.operations import OperationsApi
    from reference_server.problems import Problem

    async def refused(self: OperationsApi) -> Any:
        raise Problem(status)

    setattr(OperationsApi, view, refused)


def _frozen() -> None:
    first: list[bytes] = []

    def kept(text: bytes) -> bytes:
        first.append(text)
        return first[0]

    _exposition(kept)


def _without(name: bytes, text: bytes) -> bytes:
    return b"\n".join(line for line in text.split(b"\n") if name not in line)


def _never_observed(*hooks: str) -> None:
    from reference_server.metrics import Metrics

    for hook in hooks:
        setattr(Metrics, hook, lambda self, *parts: None)


MUTANTS: list[Mutant] = [
    Mutant(
        name="ops-no-metrics",
        breaks=("OPS-01",),
        patch=partial(_refused, "metrics", 404),
        about="There are no metrics.",
    ),
    Mutant(
        name="ops-metrics-frozen",
        breaks=("OPS-01",),
        patch=_frozen,
        about="Every scrape shows what the first one showed.",
    ),
    Mutant(
        name="ops-no-failures-metric",
        breaks=("OPS-01",),
        patch=partial(_exposition, partial(_without, b"store_persist_failures")),
        about="Failures of the store are not counted.",
    ),
    Mutant(
        name="ops-no-lag-metric",
        breaks=("OPS-01",),
        patch=partial(_exposition, partial(_without, b"stream_reader_lag_events")),
        about="Nobody is told how far readers are behind.",
    ),
    Mutant(
        name="ops-replays-not-measured",
        breaks=("OPS-01",),
        patch=partial(_never_observed, "replay_finished"),
        about="The metric for replays exists and is never moved.",
    ),
    Mutant(
        name="ops-metrics-garbled",
        breaks=("OPS-01",),
        patch=partial(_exposition, lambda text: b"<html>" + text.replace(b" ", b"\t=", 400)),
        about="What is exposed is not the Prometheus text format.",
    ),
    Mutant(
        name="ops-never-ready",
        breaks=("OPS-02",),
        patch=partial(_refused, "ready", 503),
        about="Readiness is 503 though the deployment serves.",
    ),
    Mutant(
        name="ops-no-liveness",
        breaks=("OPS-02",),
        patch=partial(_refused, "live", 404),
        about="There is no liveness check.",
    ),
]
