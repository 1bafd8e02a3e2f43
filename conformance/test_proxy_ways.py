"""PROXY: idle timeouts, bad networks, prefixes and caches leave the log as it is."""

from __future__ import annotations

from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import Recording, outcome
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, Unable

from .assembling import assembled, cut_by_relay, note, parts, resumed_rightly
from .comparing import difference, suffix
from .finals import log_of
from .reading import (
    Seen,
    cursor_of,
    exhibit,
    has_gap,
    has_terminal,
    ids_of,
    recycled,
    stream_log,
    succeeded,
)

RULE_S = 60.0
NETWORKS_ENDING = ("net byte limits", "net resets")


@check("PROXY-05", "idle")
def test_an_idle_timeout_does_not_strike(run: Run) -> Found:
    """If a job is quiet, then its stream still lives behind a proxy that cuts what is idle."""
    recording = run.need("idle", "reader")
    said = note(recording)
    idle_s = float(run.bundle("idle").facts["idle_s"])
    if cut_by_relay(recording):
        raise Broken(
            f"behind a proxy with an idle timeout of {idle_s:g} s a quiet stream was {said['did']}",
            Exhibit(recording, "the silence before the cut"),
            what="quiet streams",
        )
    if not recording.is_stream:
        raise Broken(f"behind a proxy the stream answers {outcome(recording)}", recording)
    seen = stream_log(recording, run.profile)
    if not has_terminal(seen, run.profile):
        told = said.get("target") or outcome(recording)
        raise Unable(f"the stream ended before the quiet job did ({told})")
    longest = max((b.at - a.at for a, b in pairwise(seen)), default=0.0)
    if longest < idle_s:
        raise Unable(f"the job was never quiet for {idle_s:g} s ({longest:.0f} s at most)")
    more = "" if idle_s >= RULE_S else f"; an idle timeout of {RULE_S:g} s only with --long"
    return Found(
        1,
        "quiet streams",
        f"quiet for {longest:.0f} s behind an idle timeout of {idle_s:g} s{more}",
        shown=recording,
    )


@check("PROXY-06", "rough")
def test_a_bad_network_leaves_the_log_exact(run: Run) -> Found:
    """If the network slices, joins, delays, limits or cuts, then the log is exact after resumes."""
    bundle = run.bundle("rough")
    log = log_of(run, "rough", "final replay")
    if why := resumed_rightly(run, bundle, log, "direct resume"):
        raise Unable(why)
    clients = dict.fromkeys(r.label.rpartition("/")[0] for r in bundle.all("net"))
    compared, cuts = 0, 0
    for label in clients:
        connections = parts(bundle, label)
        what = f"through a network with {label.removeprefix('net ')}"
        compared += assembled(run, connections, log, what, compared)
        cuts += sum(map(cut_by_relay, connections))
    if not cuts:
        raise Unable(bundle.unable or "no connection lasted until its byte limit")
    return Found(compared, "events compared", f"{len(clients)} networks, {cuts} resumes")


@check("PROXY-07", "caching")
def test_prefixes_cursors_and_caches(run: Run) -> Found:
    """If a proxy has a prefix, its own spelling of names, and a cache, then nothing is lost."""
    bundle = run.bundle("caching")
    log = log_of(run, "caching", "final replay")
    start = bundle.get("start")
    judged = 0
    if start is not None and bundle.facts.get("started_through"):
        note(start)
        if not succeeded(start):
            raise Broken(
                "a start through a proxy that writes field names in lower case, below a path "
                f"prefix: {outcome(start)}",
                start,
                what="answers",
            )
        judged += 1
    if why := resumed_rightly(run, bundle, log, "direct resume"):
        raise Unable(why)
    by_query = not resumed_rightly(run, bundle, log, "direct query")
    for recording in bundle.all("prefixed"):
        if recording.info.get("query") and not by_query:
            continue  # see REPLAY-10
        judged += _suffix(run, log, recording, "below a path prefix", judged)
    for recording in bundle.all("cached"):
        if recording.is_stream:
            judged += _suffix(run, log, recording, "through a cache", judged)
    judged += _not_stale(run, log, judged)
    if judged < 2:
        raise Unable(bundle.unable or "no view was read through a proxy")
    return Found(judged, "answers compared")


def _suffix(run: Run, log: tuple[Seen, ...], recording: Recording, where: str, count: int) -> bool:
    """Hold a stream against what its cursor asks for."""
    did = note(recording).get("did", "")
    after = recording.info.get("after") or recording.info.get("query")
    if not recording.is_stream:
        raise Broken(
            f"{where} a stream answers {outcome(recording)}",
            recording,
            count=count,
            what="answers",
        )
    if has_gap(recording, run.profile):
        return False
    expected = suffix(log, str(after)) if after else log
    if expected is None:
        return False
    seen = stream_log(recording, run.profile)
    if recycled(recording, run.profile):
        expected = expected[: len(seen)]
    fault, place = difference(expected, seen)
    if fault:
        cached = f"; {did}, since Cache-Control is {recording.header('cache-control')!r}"
        raise Broken(
            f"{where}, {f'resumed after {after}' if after else 'without a cursor'}: {fault}"
            + (cached if "cache" in did else ""),
            exhibit(recording, place),
            count=count,
            what="answers",
        )
    return True


def _not_stale(run: Run, log: tuple[Seen, ...], count: int) -> int:
    """A view that comes through a cache is not older than one that was read before it."""
    bundle = run.bundle("caching")
    direct = bundle.get("direct poll")
    places = {identifier: n for n, identifier in enumerate(ids_of(log))}
    known = places.get(cursor_of(direct), -1) if direct is not None else -1
    judged = 0
    for name in ("poll", "snapshot"):
        recording = bundle.get(f"cached {name} late")
        if recording is None or known < 0 or not succeeded(recording):
            continue
        did = note(recording).get("did", "")
        reached = places.get(cursor_of(recording), -1)
        if reached < known and "cache" in did:
            raise Broken(
                f"a {name} through a cache ends with {cursor_of(recording) or 'nothing'} after "
                f"event {log[known].id} had been read: {did}, since Cache-Control is "
                f"{recording.header('cache-control')!r}",
                recording,
                count=count + judged,
                what="answers",
            )
        judged += 1
    return judged
