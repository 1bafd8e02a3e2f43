"""RETRY: clients that lose their connection come back, and have everything exactly once.

EventSource reconnects by itself; what it gets then is the target's promise. Here it is broken off
in every way that happens: at random, before the first id, by spells of 503, by redirects, and for
everybody at once.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, Unable

from .assembling import assembled, cut_by_relay, parts
from .clocks import require_calm
from .comparing import difference, suffix
from .finals import log_of
from .reading import all_streams, exhibit, is_log, recycled, stream_log

CUTS_WANTED = 20
TURNED_AWAY = (429, 503)


@check("RETRY-01", "log", "live")
def test_retry_opens_the_stream(run: Run) -> Found:
    """If a stream opens, then its preamble says when to reconnect, within the declared bounds."""
    declared = run.profile.declared
    judged, values = 0, set[int]()
    for recording in all_streams(run):
        told: int | None = None
        for block in recording.blocks:
            for line in block.fields:
                if line.name == b"retry" and line.value.isdigit() and block.complete:
                    told = int(line.value[:15])
            if is_log(block, run.profile):
                break
        else:
            if told is None:
                continue  # no event: it may have been left before its preamble was over
        if told is None or not declared.retry_min_ms <= told <= declared.retry_max_ms:
            said = "no `retry` before the first event" if told is None else f"`retry: {told}`"
            raise Broken(
                f"{said}; declared is {declared.retry_min_ms} to {declared.retry_max_ms} ms",
                recording,
                count=judged,
                what="streams",
            )
        judged += 1
        values.add(told)
    return Found(judged, "streams", f"retry {', '.join(map(str, sorted(values)))} ms")


@check("RETRY-02", "cuts")
def test_random_cuts_lose_nothing(run: Run) -> Found:
    """If a client is cut again and again at random, then what it assembles is the log."""
    bundle = run.bundle("cuts")
    log = log_of(run, "cuts", "running replay")
    seed = bundle.facts.get("seed")
    cuts = 0
    for label in dict.fromkeys(r.label.rpartition("/")[0] for r in bundle.all("random")):
        connections = parts(bundle, label)
        assembled(run, connections, log, f"cut at random (seed {seed})", cuts)
        cuts += sum(map(cut_by_relay, connections))
    if cuts < CUTS_WANTED:
        raise Unable(bundle.unable or f"only {cuts} of {CUTS_WANTED} cuts could be made")
    return Found(cuts, "cuts", f"seed {seed}")


@check("RETRY-03", "cuts")
def test_a_cut_before_any_id_starts_anew(run: Run) -> Found:
    """If a client is cut before it saw an id, then it gets the log from the first event."""
    bundle = run.bundle("cuts")
    log = log_of(run, "cuts", "running replay")
    judged = 0
    for label in dict.fromkeys(r.label.rpartition("/")[0] for r in bundle.all("early")):
        connections = parts(bundle, label)
        if not cut_by_relay(connections[0]) or stream_log(connections[0], run.profile):
            continue
        what = f"cut {label.removeprefix('early ')}"
        assembled(run, connections, log, what, judged)
        judged += 1
    if not judged:
        raise Unable(bundle.unable or "no stream could be cut before its first id")
    return Found(judged, "cuts before the first id")


@check("RETRY-04", "rough")
def test_spells_redirects_and_recycling_are_survived(run: Run) -> Found:
    """If a resume meets 503 or a redirect, or the target recycles, then it is exact still."""
    bundle = run.bundle("rough")
    log = log_of(run, "rough", "final replay")
    spells = redirects = recycles = 0
    for label in ("spell of 503", "redirect", "redirect by query"):
        connections = parts(bundle, label)
        assembled(run, connections, log, label, spells + redirects)
        spells += sum(r.status in TURNED_AWAY for r in connections)
        redirects += sum(300 <= (r.status or 0) < 400 for r in connections)
        recycles += sum(recycled(r, run.profile) for r in connections if r.is_stream)
    if not spells or not redirects:
        raise Unable("the job was over before a resume could be turned away or redirected")
    told = f"{spells} answers of 503, {redirects} redirects, {recycles} recycled streams"
    more = "" if recycles else "; the target recycled no stream meanwhile"
    return Found(spells + redirects + recycles, "interruptions", told + more)


@check("RETRY-05", "storm")
def test_a_reconnect_storm_is_survived(run: Run) -> Found:
    """If all clients come back at once, then all go on in time, or are told when to come again."""
    bundle = run.bundle("storm")
    cut_at = bundle.facts.get("cut_at")
    if not isinstance(cut_at, float):
        raise Unable(bundle.unable or "no storm took place")
    within_s = run.profile.declared.recover_s
    served, slowest, refusals = 0, 0.0, 0
    for client in _clients(bundle):
        for recording in client:
            if fault := _unfit(run, recording):
                raise Broken(
                    f"in a storm of {len(_clients(bundle))} clients: {fault}",
                    recording,
                    count=served,
                    what="clients",
                )
            refusals += recording.status in TURNED_AWAY
        at = _served_at(run, client[-1])
        if at is None or at - cut_at > within_s:
            require_calm(run)
            waited = (at or client[-1].ended_at) - cut_at
            raise Broken(
                f"a client of a reconnect storm was not served after {waited:.1f} s "
                f"({outcome(client[-1])}); declared is {within_s:g} s",
                Exhibit(client[-1]),
                count=served,
                what="clients",
            )
        served += 1
        slowest = max(slowest, at - cut_at)
    _exact(run, bundle)
    told = f"the last was served after {slowest:.1f} s"
    return Found(served, "clients", told + (f", {refusals} were put off" if refusals else ""))


def _clients(bundle: Bundle) -> list[list[Recording]]:
    """The attempts of each client after the storm broke."""
    clients: dict[str, list[Recording]] = {}
    for recording in bundle.all("back"):
        clients.setdefault(recording.label.rpartition("/")[0], []).append(recording)
    return list(clients.values())


def _unfit(run: Run, recording: Recording) -> str:
    """What is wrong with an answer to a client of the storm, "" where it will do."""
    done = run.profile.declared.terminal_resume_status
    if recording.is_stream or recording.status == done:
        return ""
    if recording.status not in TURNED_AWAY:
        return f"a client got {outcome(recording)}"
    wait = (recording.header("retry-after") or "").strip()
    if not wait:
        return f"{recording.status} without Retry-After"
    return ""


def _served_at(run: Run, recording: Recording) -> float | None:
    """When a client's stream went on: with an event where the job is known to emit, else at all."""
    if recording.status == run.profile.declared.terminal_resume_status:
        return recording.head_at
    if not recording.is_stream:
        return None
    if run.shaped:
        seen = stream_log(recording, run.profile)
        return seen[0].at if seen else None
    return recording.reads[0].at if recording.reads else None


def _exact(run: Run, bundle: Bundle) -> None:
    """What the clients saw after the storm goes on exactly where they were."""
    if not run.shaped:
        return
    log = log_of(run, "storm", "final replay")
    for recording in bundle.all("back"):
        if not recording.is_stream:
            continue
        after = recording.info.get("after")
        rest = suffix(log, str(after)) if after else log
        seen = stream_log(recording, run.profile)
        fault, place = difference((rest or ())[: len(seen)], seen)
        if fault:
            raise Broken(
                f"resumed after {after} in a storm: {fault}",
                exhibit(recording, place),
                what="clients",
            )
