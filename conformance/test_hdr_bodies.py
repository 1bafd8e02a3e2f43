"""HDR: what the head has promised, the body keeps: coding, failures after 200, the opening event.

Once 200 is sent, nothing but events can tell a reader what happens; and a coder that is not flushed
holds them back, however early they were written.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Recording
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .coding import DECODABLE, coding_of, decoded
from .reading import all_streams, control, control_data, has_gap, is_log, stream_log, streams


@check("HDR-07", "live")
def test_compression_does_not_hold_events(run: Run) -> Found:
    """If the client offers compression, then each event is decodable when it arrives."""
    bundle = run.bundle("live")
    recording = bundle.get("coded reader")
    if recording is None or not recording.is_stream:
        raise Unable(bundle.unable or "no stream was opened that offers compression")
    coding = coding_of(recording)
    if coding == "identity":
        return Found(len(stream_log(recording, run.profile)), "events under identity coding")
    if coding not in DECODABLE:
        raise Unable(f"the stream is coded as {coding}, which the suite cannot decode")
    arrivals = decoded(recording, coding)
    plain = next(iter(streams(bundle, "reader 1", "reader 0")), None)
    if plain is None:
        raise Unable("no plain stream beside the coded one")
    times = {e.id: e.at for e in stream_log(plain, run.profile)}
    bound = run.profile.declared.lag_p95_s
    judged = 0
    for identifier, at in arrivals:
        behind = at - times.get(identifier, at)
        if behind > bound:
            raise Broken(
                f"coded as {coding}, event {identifier} is decodable {behind:.1f} s after it is "
                "readable without coding: the coder is not flushed",
                Exhibit(recording, f"coded as {coding}"),
                count=judged,
                what="events decoded on arrival",
            )
        judged += 1
    if not judged:
        raise Broken(
            f"nothing could be decoded from the {coding} stream while the plain one went on",
            Exhibit(recording, f"coded as {coding}"),
            what="events decoded on arrival",
        )
    return Found(judged, "events decoded on arrival")


@check("HDR-11", "endings")
def test_failures_after_200_are_events(run: Run) -> Found:
    """If a job fails while it streams, then the stream says so in events, never in raw text."""
    bundle = run.bundle("endings")
    known = {b"event", b"data", b"id", b"retry"}
    # What jobs that complete carry as well is no sign of a failure (see WIRE-07).
    for recording in streams(bundle, "completed"):
        known.update(line.name for block in recording.blocks for line in block.fields)
    judged = 0
    for recording in streams(bundle, "failed", "crashed"):
        for block in recording.blocks:
            for line in block.fields:
                if line.name not in known:
                    raise Broken(
                        f"after 200 had been sent, the stream carries {line.raw[:60]!r}",
                        Exhibit(recording, "raw text", (line.offset, line.offset + len(line.raw))),
                        count=judged,
                        what="blocks of failing jobs",
                    )
            judged += 1
    if not judged:
        raise Unable(bundle.unable or "no job could be made to fail")
    return Found(judged, "blocks of failing jobs")


@check("HDR-12", "log", "live", "quiet")
def test_the_opening_event_tells_the_truth(run: Run) -> Found:
    """If an opening event is declared, then it comes first, has no id, and its numbers are true."""
    name = run.profile.events.opening
    if not name:
        raise Inapplicable(f"the profile {run.profile.name!r} declares no opening event")
    judged = 0
    for recording in all_streams(run):
        events = [b for b in recording.blocks if b.event is not None]
        if not events:
            continue
        first = events[0]
        span = Exhibit(recording, "the first event", (first.start, first.end))
        assert first.event is not None
        if first.event.type != name:
            raise Broken(
                f"the first event is {first.event.type!r}, not {name!r}",
                span,
                count=judged,
                what="openings",
            )
        if first.own_id is not None:
            raise Broken(
                f"the {name} event has an id ({first.own_id})", span, count=judged, what="openings"
            )
        if len(control(recording, name)) > 1:
            raise Broken(f"{name} comes more than once", span, count=judged, what="openings")
        # What the opening tells is the protocol's own; a dialect promises its place only.
        if run.profile.events.envelope and (
            fault := _opening_fault(run, recording, control_data(first))
        ):
            raise Broken(f"the {name} event {fault}", span, count=judged, what="openings")
        judged += 1
    return Found(judged, "openings")


def _opening_fault(run: Run, recording: Recording, told: dict[str, object]) -> str:
    job, asked = recording.info.get("job"), recording.info.get("after")
    if job and str(told.get("job_id")) != str(job):
        return f"names the job {told.get('job_id')!r}, asked was {job!r}"
    missing = [member for member in ("after", "latest") if member not in told]
    if missing:
        return f"does not tell {', '.join(missing)}"
    repeated = "repeated" in recording.label or "query" in recording.label
    gap = has_gap(recording, run.profile)
    cursor = str(asked) if asked else "0"
    if not repeated and not gap and str(told["after"]) != cursor:
        return f"says after={told['after']!r}, the cursor was {cursor}"
    latest = str(told["latest"])
    ids = [b.own_id for b in recording.blocks if is_log(b, run.profile) and b.own_id]
    if not latest.isdigit() or not all(i.isdigit() for i in ids):
        return ""
    finished = any(
        b.event is not None and b.event.type in run.profile.events.terminal
        for b in recording.blocks
    )
    if finished and ids and int(latest) > int(ids[-1]):
        return f"says latest={latest}, the log ends at {ids[-1]}"
    afterwards = recording.label.startswith(("replay", "suffix", "final replay"))
    if afterwards and finished and ids and int(latest) != int(ids[-1]):
        return f"says latest={latest} of a finished job whose log ends at {ids[-1]}"
    return ""
