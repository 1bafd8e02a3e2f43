"""OPS: what operators look at is there and tells the truth.

An alert on a metric that never moves is worse than none, and an instance whose readiness is a
constant gets traffic that it cannot serve.
"""

from __future__ import annotations

from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.metrics import MetricsError, is_counted, measure, samples
from streamgauge.recording import Bundle, End, Recording, outcome
from streamgauge.verdict import Broken, Found, NotRun, Unable

from .breaking import drained_part, ready_while_draining
from .reading import succeeded


@check("OPS-01", "operations", part="metrics")
def test_metrics_are_exposed_and_move(run: Run) -> Found:
    """If a job was written and read, then the metrics for that are there and have moved."""
    before = run.need("operations", "metrics before")
    scrapes = [r for r in run.bundle("operations").all("metrics after") if r.answered]
    if not scrapes:
        raise Unable(run.bundle("operations").unable or "no second scrape was answered")
    first, last = _samples(before), [_samples(each) for each in scrapes]
    names = run.profile.metrics
    wanted = {
        "frame size": (names.frame_bytes, True),
        "replay duration": (names.replay_seconds, True),
        "reader lag": (names.reader_lag, False),
        "persistence latency": (names.persist_seconds, True),
        "persistence failures": (names.persist_failures, False),
    }
    wanted = {what: pair for what, pair in wanted.items() if pair[0]}
    for what, (name, _) in wanted.items():
        if all(measure(found, name) is None for found in last):
            raise Broken(
                f"no metric for {what}: {name!r} has no sample",
                scrapes[-1],
                what="metrics",
            )
    if not wanted:
        raise Unable("the profile names no metric ([metrics])")
    if fallen := _fallen([first, *last], [name for name, _ in wanted.values()]):
        return Found(
            len(wanted),
            "metrics",
            f"{fallen} fell between scrapes, as if several processes answer in turn: whether "
            "metrics move was not judged",
        )
    for what, (name, moves) in wanted.items():
        if not moves:
            continue
        began = measure(first, name) or 0.0
        reached = max((measure(found, name) or 0.0) for found in last)
        counted = any(is_counted(found, name) for found in last)
        if (counted and reached <= began) or (not counted and reached <= 0.0):
            raise Broken(
                f"the metric for {what} does not tell the truth: {name} stood at {began:g} before "
                f"a job was written and read, and at {reached:g} after it",
                scrapes[-1],
                before,
                what="metrics",
            )
    return Found(len(wanted), "metrics", shown=scrapes[-1])


def _samples(answer: Recording) -> dict[str, float]:
    if answer.status != 200:
        raise Broken(f"{answer.label}: {outcome(answer)}", answer, what="metrics")
    try:
        return samples(answer.body)
    except MetricsError as error:
        raise Broken(
            f"{answer.label}: not the Prometheus text format ({error})", answer, what="metrics"
        ) from error


def _fallen(scrapes: list[dict[str, float]], names: list[str]) -> str:
    """A measure that only grows and yet fell, "" where none did."""
    for earlier, later in pairwise(scrapes):
        for name in names:
            known, now = measure(earlier, name), measure(later, name)
            if is_counted(earlier, name) and known is not None and (now is None or now < known):
                return name
    return ""


@check("OPS-02", "operations", "drained", part="health")
def test_liveness_and_readiness_answer(run: Run) -> Found:
    """If the deployment serves, then liveness and readiness say so."""
    bundle = run.bundle("operations")
    judged = 0
    for what in ("live", "ready"):
        for answer in _last_tries(bundle, what):
            if answer.end is End.REFUSED or (not answer.answered and answer.end is End.LEFT):
                continue
            if not succeeded(answer):
                word = "liveness" if what == "live" else "readiness"
                raise Broken(
                    f"{word} of a deployment that serves: {outcome(answer)}",
                    answer,
                    count=judged,
                    what="answers",
                )
            judged += 1
    if not judged:
        raise Unable(bundle.unable or "neither liveness nor readiness was answered")
    return Found(judged, "answers", _while_draining(run))


def _while_draining(run: Run) -> str:
    """What readiness said while an instance drained, or why that is not known."""
    try:
        bundle, at, ended = drained_part(run)
        return ready_while_draining(bundle, at, ended.ended_at)
    except (NotRun, Unable) as reason:
        return f"readiness while draining was not judged: {reason}"


def _last_tries(bundle: Bundle, what: str) -> list[Recording]:
    """What was answered to each question in the end: it is asked again where the answer is 5xx."""
    last: dict[str, Recording] = {}
    for answer in bundle.all(what):
        last[answer.label.partition(" again ")[0]] = answer
    return list(last.values())
