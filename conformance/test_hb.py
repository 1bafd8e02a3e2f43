"""HB: is a quiet stream kept alive, by heartbeats of the declared kind that leave no trace?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import Recording
from streamgauge.results import Exhibit
from streamgauge.sse import Block, Line
from streamgauge.verdict import Broken, Found, Unable

from .reading import all_streams, as_json, event_names, is_log, listed, named, stream_log, streams

APART_S = 0.5
"""What arrives so long after an event is no part of that event's padding."""
QUIET_READERS = ("reader", "tail")
EVERYWHERE = ("quiet", "live", "log")


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch of a stream in which its job emitted nothing."""

    recording: Recording
    begin: float
    end: float

    @property
    def lasted_s(self) -> float:
        return self.end - self.begin

    def holds(self, moment: float) -> bool:
        return self.begin + APART_S < moment < self.end


def _silences(run: Run) -> list[Silence]:
    """The longest stretch without an event on each stream of the quiet job.

    Raises:
        Unable: none is longer than the heartbeat interval.
    """
    bundle = run.bundle("quiet")
    found = []
    for recording in streams(bundle, *QUIET_READERS):
        marks = [recording.head_at or recording.sent_at]
        for event in stream_log(recording, run.profile):
            if not run.profile.is_job_event(event.type):
                continue  # not an event of the job: perhaps a heartbeat of the wrong kind
            marks.append(event.at)
            if event.type in run.profile.events.terminal:
                break
        else:
            marks.append(recording.ended_at)
        begin, end = max(pairwise(marks), key=lambda pair: pair[1] - pair[0])
        found.append(Silence(recording, begin, end))
    interval = run.profile.declared.heartbeat_s
    long_enough = [silence for silence in found if silence.lasted_s > interval]
    if not long_enough:
        longest = max((silence.lasted_s for silence in found), default=0.0)
        raise Unable(
            bundle.unable
            or f"no stream stayed open without events for longer than the heartbeat interval of "
            f"{interval:g} s (the longest quiet stretch is {longest:.1f} s)"
        )
    return long_enough


@check("HB-01", "quiet")
def test_silence_is_bounded(run: Run) -> Found:
    """If a stream is open, then it is never silent for longer than the heartbeat interval."""
    declared = run.profile.declared
    interval, margin = declared.heartbeat_s, declared.heartbeat_margin_s
    worst, judged = 0.0, 0
    silences = _silences(run)
    for silence in silences:
        recording = silence.recording
        before, after = _longest_pause(run, recording)
        judged += len(recording.reads)
        worst = max(worst, after - before)
        if after - before > interval + margin + run.evidence.loop_lag_s:
            raise Broken(
                f"{recording.label}: not one byte came for {after - before:.1f} s (from "
                f"{before:.1f} s to {after:.1f} s of the run); a heartbeat is declared every "
                f"{interval:g} s, give or take {margin:g} s",
                _read_before(recording, before),
                count=judged,
                what="reads timed",
            )
    return Found(
        judged,
        "reads timed",
        f"the longest silence was {worst:.1f} s on {len(silences)} streams whose job was quiet for "
        f"{max(silence.lasted_s for silence in silences):.1f} s",
    )


def _longest_pause(run: Run, recording: Recording) -> tuple[float, float]:
    """The longest time without a byte, from the head to the terminal event."""
    moments = [recording.head_at or recording.sent_at, *(read.at for read in recording.reads)]
    over = next(
        (
            event.at
            for event in stream_log(recording, run.profile)
            if event.type in run.profile.events.terminal
        ),
        None,
    )
    moments = [at for at in moments if over is None or at <= over]
    moments.append(over if over is not None else recording.ended_at)
    return max(pairwise(moments), key=lambda pair: pair[1] - pair[0])


def _read_before(recording: Recording, moment: float) -> Exhibit:
    """The last bytes before a silence."""
    end = sum(len(read.data) for read in recording.reads if read.at <= moment)
    return Exhibit(recording, "the last bytes before the silence", (max(0, end - 400), end))


@check("HB-02", *EVERYWHERE)
def test_heartbeats_are_of_the_declared_kind(run: Run) -> Found:
    """If a quiet stream gives a sign of life, then by a heartbeat as it is declared."""
    name = run.profile.events.heartbeat
    beats = 0
    for silence in _silences(run):
        recording, own = silence.recording, 0
        comments = _beat_comments(silence)
        for block in recording.blocks:
            if not block.fields or not silence.holds(block.at):
                continue
            if fault := _kind_fault(run, block):
                raise Broken(
                    f"{recording.label}, {block.at - silence.begin:.1f} s into the silence: "
                    f"{fault}",
                    Exhibit(recording, "not the declared heartbeat", (block.start, block.end)),
                    count=beats,
                    what="heartbeats",
                )
            own += _is_beat(block, name)
        if not name:
            own = len({line.at for line in comments})
        elif comments and not own:
            line = comments[0]
            raise Broken(
                f"{recording.label}: what came in the silence is the comment {line.raw[:40]!r}, "
                f"and not one event named {name!r}, which the profile declares as the heartbeat",
                Exhibit(recording, "a comment", (line.offset, line.offset + len(line.raw))),
                count=beats,
                what="heartbeats",
            )
        beats += own
    if not beats:
        raise Unable("no heartbeat came in the quiet stretch (see HB-01)")
    kind = f"events named {name!r}" if name else "comments, which dispatch nothing"
    return Found(beats, "heartbeats", f"they are {kind}")


def _kind_fault(run: Run, block: Block) -> str:
    """What is wrong with a block that came while the job was quiet."""
    name = run.profile.events.heartbeat
    if block.event is None:
        if name and name in event_names(block):
            return f"a block says `event: {name}` but has no data, so that nobody ever receives it"
        return ""
    if run.profile.is_declared(block.event.type):
        return ""
    declared = f"an event named {name!r}" if name else "a comment"
    return (
        f"the application receives an event {block.event.type!r} with the data "
        f"{block.event.data[:60]!r}; the heartbeat is declared to be {declared}"
    )


def _is_beat(block: Block, name: str) -> bool:
    return bool(name) and block.event is not None and block.event.type == name


def _beat_comments(silence: Silence) -> list[Line]:
    """Comments that came in the silence, apart from the event before it."""
    return [
        line
        for block in silence.recording.blocks
        for line in block.comments
        if silence.holds(line.at)
    ]


@check("HB-03", *EVERYWHERE)
def test_heartbeats_fall_between_events(run: Run) -> Found:
    """If a heartbeat is written, then between two whole blocks and never inside one."""
    marks = _marks(run)
    beats, busy = _unmarked(run, marks), 0
    for recording in all_streams(run):
        blocks = recording.blocks
        for index, block in enumerate(blocks):
            following = blocks[index + 1] if index + 1 < len(blocks) else None
            if fault := _inside(run, block, following, marks):
                raise Broken(
                    f"{recording.label}: {fault}",
                    Exhibit(recording, "a heartbeat inside an event", (block.start, block.end)),
                    count=beats,
                    what="heartbeats",
                )
            beat = _has_beat(run, block, marks)
            beats += beat
            busy += beat and _is_busy(run, blocks, index)
    if not beats:
        raise Unable("no heartbeat was seen on any stream (see HB-01)")
    return Found(beats, "heartbeats", f"{busy} of them fell within 1 s of an event")


def _marks(run: Run) -> frozenset[bytes]:
    """Where heartbeats are comments: their texts, as the quiet stream showed them."""
    if run.profile.events.heartbeat:
        return frozenset()
    return frozenset(
        line.raw
        for silence in _silences(run)
        for line in _beat_comments(silence)
        if line.raw[1:].strip()
    )


def _unmarked(run: Run, marks: frozenset[bytes]) -> int:
    """Heartbeats that are bare comments: only silence tells them from padding."""
    if run.profile.events.heartbeat or marks:
        return 0
    return sum(len({line.at for line in _beat_comments(s)}) for s in _silences(run))


def _has_beat(run: Run, block: Block, marks: frozenset[bytes]) -> bool:
    if run.profile.events.heartbeat:
        return run.profile.events.heartbeat in named(block)
    return any(line.raw in marks for line in block.comments)


def _is_busy(run: Run, blocks: Sequence[Block], index: int) -> bool:
    """Whether an event of the log arrived within a second of a block."""
    if run.evidence.saved_as:
        return False  # nobody knows when they came
    near = blocks[max(0, index - 3) : index + 4]
    at = blocks[index].at
    return any(is_log(block, run.profile) and abs(block.at - at) < 1.0 for block in near)


def _inside(run: Run, block: Block, following: Block | None, marks: frozenset[bytes]) -> str:
    """Signs that a heartbeat and another event were written into each other."""
    name = run.profile.events.heartbeat
    if not name:
        return _comment_inside(block, marks)
    names = event_names(block)
    if name in names and len(names) > 1:
        other = next((each for each in names if each != name), name)
        return f"one block holds `event: {name}` and `event: {other}`"
    if name in names and _foreign(run, block):
        return f"a heartbeat's block holds the data of another event ({_foreign(run, block)})"
    if name in names and block.own_id is not None and following is not None:
        orphan = following.event is not None and is_log(following, run.profile)
        if orphan and following.own_id is None:
            return f"a heartbeat stands behind the line `id: {block.own_id}` of the event after it"
    written = b"event:" + name.encode()
    for line in block.lines:
        bare = line.raw.replace(b" ", b"")
        if written not in bare or bare.startswith(b"event:"):
            continue
        if line.is_comment or (
            line.name == b"data" and run.profile.events.json_data and _torn(line)
        ):
            return f"`event: {name}` stands in the midst of the line {line.raw[:60]!r}"
    return ""


def _foreign(run: Run, block: Block) -> str:
    """The type that a heartbeat's data claims, where it is another one."""
    data = [line.value.decode("utf-8", "replace") for line in block.fields if line.name == b"data"]
    for text in data:
        body = as_json(text)
        told = body.get("type") if isinstance(body, dict) else None
        if isinstance(told, str) and run.profile.is_job_event(told):
            return str(told)
    return ""


def _torn(line: Line) -> bool:
    return as_json(line.value.decode("utf-8", "replace")) is None


def _comment_inside(block: Block, marks: frozenset[bytes]) -> str:
    """A comment heartbeat with fields of one event on both sides of it."""
    fields = [line.offset for line in block.fields]
    for line in block.comments:
        if fields and line.raw in marks and fields[0] < line.offset < fields[-1]:
            return f"the heartbeat {line.raw[:40]!r} stands between the lines of one event"
    return ""


@check("HB-04", *EVERYWHERE)
def test_heartbeats_leave_no_trace(run: Run) -> Found:
    """If a heartbeat was sent, then no id, no view and no later resume knows of it."""
    marks = _marks(run)
    beats = _unmarked(run, marks)
    for recording in all_streams(run):
        over, last_id = False, ""
        blocks = recording.blocks
        for index, block in enumerate(blocks):
            beat = _has_beat(run, block, marks)
            beats += beat
            following = blocks[index + 1] if index + 1 < len(blocks) else None
            inside = beat and _inside(run, block, following, marks)
            # A heartbeat inside an event is HB-03's matter.
            if beat and not inside and (fault := _trace(run, block, over, last_id)):
                raise Broken(
                    f"{recording.label}: {fault}",
                    Exhibit(recording, "the heartbeat", (block.start, block.end)),
                    count=beats,
                    what="heartbeats",
                )
            last_id = block.own_id if block.own_id is not None else last_id
            over = over or (
                block.event is not None and block.event.type in run.profile.events.terminal
            )
    if not beats:
        raise Unable("no heartbeat was seen on any stream (see HB-01)")
    return Found(beats, "heartbeats", f"none among {_viewed(run, beats)} events of other views")


def _trace(run: Run, block: Block, over: bool, last_id: str) -> str:
    if over:
        return "a heartbeat came after the terminal event"
    if not run.profile.events.heartbeat:
        return ""  # comments have no id
    lines = [line.raw for line in block.fields if line.name == b"id"]
    if lines:
        return (
            f"a heartbeat carries {lines[0][:40]!r}: a reader that reconnects now would ask for "
            f"what follows {block.own_id!r} instead of {last_id!r}"
        )
    if block.event is not None and block.event.last_event_id != last_id:
        return (
            f"behind it the last event id is {block.event.last_event_id!r} instead of {last_id!r}"
        )
    return ""


def _viewed(run: Run, beats: int) -> int:
    """How many events the other views listed; none of them may be a heartbeat."""
    name, looked = run.profile.events.heartbeat, 0
    for scenario in EVERYWHERE:
        if scenario not in run.evidence.bundles:
            continue
        for recording in run.bundle(scenario).recordings:
            for event in listed(recording):
                looked += 1
                if name and event.type == name:
                    raise Broken(
                        f"{recording.label} lists a heartbeat (id {event.id!r}) as an event",
                        recording,
                        count=beats,
                        what="heartbeats",
                    )
    return looked
