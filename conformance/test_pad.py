"""PAD: is every frame large enough to pass a 4 KiB buffer, and is what fills it only comments?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile
from math import inf

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.results import Exhibit
from streamgauge.sse import Block, Line
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .finals import log_of
from .reading import all_streams, control, is_log, listed, stream_log, streams

OWN_FRAME_PAUSE_S = 0.5
"""Comments that arrive so much later than what stands before them are a frame of their own."""
SCENARIOS = ("log", "live", "texts", "quiet")


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes that carry one event: from its first field line to the next event's."""

    recording: Recording
    block: Block
    start: int
    end: int
    last: bool
    """The stream's last frame: its end is the end of what was read."""

    @property
    def octets(self) -> int:
        return self.end - self.start

    @property
    def whole(self) -> bool:
        """Whether all of it was read: a stream that was left or cut may lack its padding."""
        return not self.last or self.recording.ended_cleanly

    @property
    def shown(self) -> Exhibit:
        return Exhibit(self.recording, f"a frame of {self.octets:,} octets", (self.start, self.end))


def frames(recording: Recording) -> Iterator[Frame]:
    """The frames of a stream as protocol §3 counts them."""
    blocks = recording.blocks
    ends = _frame_ends(recording)
    lone = _lone_comments(recording)
    first = True
    for index, block in enumerate(blocks):
        start = block.first_field
        if start is None or not block.complete:
            continue
        # Leading padding of the first frame counts for it.
        begin = 0 if first and not lone else start
        first = False
        last = not any(b.first_field is not None for b in blocks[index + 1 :])
        yield Frame(recording, block, begin, ends[index], last=last)


def _frame_ends(recording: Recording) -> list[int]:
    """For each block: where the next frame begins, which is at the next event's first field or at
    comments that came on their own."""
    lone = {line.offset for line, _ in _lone_comments(recording)}
    ends: list[int] = []
    following = len(recording.body)
    for block in reversed(recording.blocks):
        ends.append(following)
        if block.first_field is not None:
            following = block.first_field
        following = min((x.offset for x in _leading(block) if x.offset in lone), default=following)
    return ends[::-1]


def _leading(block: Block) -> list[Line]:
    """The comments before a block's first field: padding of the frame before it, or their own."""
    return list(takewhile(lambda line: line.is_comment, block.lines))


def _lone_comments(recording: Recording) -> list[tuple[Line, Block]]:
    """Comments that came on their own: long after what stands before them, and long before the
    field that follows. Heartbeats, where these are comments, and recycle marks."""
    found: list[tuple[Line, Block]] = []
    if not recording.timed:
        return found
    before = recording.sent_at
    blocks = recording.blocks
    for index, block in enumerate(blocks):
        own = next((line.at for line in block.lines if not line.is_comment), None)
        later = next((b.first_at for b in blocks[index + 1 :] if b.first_field is not None), inf)
        following = own if own is not None else later
        for line in _leading(block):
            if line.at - before > OWN_FRAME_PAUSE_S and following - line.at > OWN_FRAME_PAUSE_S:
                found.append((line, block))
        before = block.at
    return found


def _all_frames(run: Run) -> Iterator[Frame]:
    for recording in all_streams(run):
        yield from frames(recording)


@check("PAD-01", *SCENARIOS)
def test_every_frame_reaches_the_minimum(run: Run) -> Found:
    """If a frame is sent, then it has the declared number of octets, padding included."""
    minimum = run.profile.declared.frame_bytes
    judged = 0
    for frame in _all_frames(run):
        if frame.octets < minimum:
            if not frame.whole:
                continue
            raise Broken(
                f"the frame of {_name(frame.block)} has {frame.octets:,} octets, fewer than "
                f"{minimum:,}",
                frame.shown,
                count=judged,
                what="frames measured",
            )
        judged += 1
    return Found(judged, "frames measured", f"the smallest allowed is {minimum:,} octets")


def _name(block: Block) -> str:
    kind = block.event.type if block.event else "a block without data"
    return f"{kind} {block.own_id}" if block.own_id else kind


@check("PAD-02", "quiet", "live", "log")
def test_the_opening_reaches_the_minimum(run: Run) -> Found:
    """If a stream opens, then at least one full frame leaves before the job's first event."""
    minimum = run.profile.declared.frame_bytes
    judged = 0
    for recording in all_streams(run):
        first = next((b for b in recording.blocks if is_log(b, run.profile)), None)
        if first is None and not recording.ended_cleanly:
            continue
        opening = first.first_field if first is not None else len(recording.body)
        assert opening is not None
        if opening < minimum:
            raise Broken(
                f"{opening:,} octets leave before the job's first event, fewer than {minimum:,}: "
                "a proxy holds the opening back",
                Exhibit(recording, "the opening", (0, max(opening, 1))),
                count=judged,
                what="openings measured",
            )
        judged += 1
    return Found(judged, "openings measured")


@check("PAD-03", "quiet", "live")
def test_heartbeats_are_padded(run: Run) -> Found:
    """If a heartbeat is sent, then it is as large as every other frame."""
    minimum = run.profile.declared.frame_bytes
    judged = 0
    for recording in streams(run.bundle("quiet")) + streams(run.bundle("live")):
        for frame in _heartbeats(run, recording):
            if not frame.whole and frame.octets < minimum:
                continue
            if frame.octets < minimum:
                raise Broken(
                    f"a heartbeat has {frame.octets:,} octets, fewer than {minimum:,}: a buffering "
                    "proxy keeps it, and the idle connection is cut",
                    frame.shown,
                    count=judged,
                    what="heartbeats measured",
                )
            judged += 1
    if not judged:
        raise Unable("no stream was silent for long enough to see a heartbeat (see HB-01)")
    return Found(judged, "heartbeats measured")


def _heartbeats(run: Run, recording: Recording) -> Iterator[Frame]:
    name = run.profile.events.heartbeat
    if name:
        beats = {id(block) for block in control(recording, name)}
        yield from (frame for frame in frames(recording) if id(frame.block) in beats)
        return
    yield from _comment_frames(recording)


def _comment_frames(recording: Recording) -> Iterator[Frame]:
    """Comments that came on their own, each arrival one frame."""
    ends = dict(zip((id(b) for b in recording.blocks), _frame_ends(recording), strict=True))
    for (at, _), group in groupby(
        _lone_comments(recording), key=lambda found: (found[0].at, id(found[1]))
    ):
        lines = list(group)
        block = lines[0][1]
        rest = [line.offset for line in block.lines if line.at > at]
        end = min(rest, default=block.end if block.first_field is None else ends[id(block)])
        yield Frame(recording, block, lines[0][0].offset, end, last=False)


@check("PAD-04", "log", "texts")
def test_padding_is_comments_and_nowhere_else(run: Run) -> Found:
    """If padding is sent, then it is comment lines: no view but the wire shows it."""
    minimum = run.profile.declared.frame_bytes
    judged = 0
    for recording in all_streams(run):
        for block in recording.blocks:
            for line in block.fields:
                if _trailing_blanks(line.raw) > minimum // 8:
                    raise Broken(
                        f"a {line.name.decode('latin-1')} line carries "
                        f"{_trailing_blanks(line.raw):,} trailing blanks: in a field they are data",
                        Exhibit(recording, "padding in a field", (block.start, block.end)),
                        count=judged,
                        what="events and answers",
                    )
            judged += 1
    log = {event.id: event for event in log_of(run, "log", "replay 1", "replay 2")}
    for answer in run.bundle("log").all("poll whole") + run.bundle("log").all("snapshot 1"):
        if b" " * (minimum // 8) in answer.body:
            raise Broken(
                "a JSON view carries a run of padding blanks",
                Exhibit(answer, "padding in a JSON body"),
                count=judged,
                what="events and answers",
            )
        judged += sum(event.id in log for event in listed(answer))
    return Found(judged, "events and answers")


def _trailing_blanks(raw: bytes) -> int:
    inner = raw.rstrip(b'"}] ')
    tail = raw[len(inner) :]
    return max(len(raw) - len(raw.rstrip(b" ")), tail.count(b" "))


@check("PAD-05", "texts", "log")
def test_octets_are_counted_as_sent(run: Run) -> Found:
    """If a frame holds characters beyond ASCII, then its octets are counted, not its characters."""
    minimum = run.profile.declared.frame_bytes
    judged = 0
    whole = [f for f in _all_frames(run) if f.whole or f.octets >= minimum]
    if any(frame.octets < minimum and _is_ascii(frame.block) for frame in whole):
        raise Unable("frames are short whatever they hold (see PAD-01)")
    for frame in whole:
        if _is_ascii(frame.block):
            continue
        if frame.octets < minimum:
            raise Broken(
                f"the frame of {_name(frame.block)} holds non-ASCII text and has {frame.octets:,} "
                f"octets, fewer than {minimum:,}: its length was counted in another form",
                frame.shown,
                count=judged,
                what="non-ASCII frames measured",
            )
        judged += 1
    if not judged:
        raise Unable("no frame carried characters beyond ASCII")
    return Found(judged, "non-ASCII frames measured")


def _is_ascii(block: Block) -> bool:
    return all(line.raw.isascii() for line in block.fields)


@check("PAD-06", "live", "log")
def test_padding_is_effective_on_the_wire(run: Run) -> Found:
    """If the client offers compression, then frames still reach the minimum on the wire."""
    minimum = run.profile.declared.frame_bytes
    bundle = run.bundle("live")
    recording = bundle.get("coded reader")
    if recording is None or not recording.is_stream:
        raise Unable(bundle.unable or "no stream was opened that offers compression")
    coding = recording.header("content-encoding")
    if coding in (None, "", "identity"):
        count = sum(1 for _ in frames(recording))
        return Found(count, "frames under identity coding")
    events = len(stream_log(run.need("live", "final replay"), run.profile))
    if not events:
        raise Unable("the plain log of the same job was not seen")
    average = len(recording.body) / events
    if average < minimum:
        raise Broken(
            f"under {coding} an event takes {average:,.0f} octets on the wire, fewer than "
            f"{minimum:,}: blanks vanish in compression",
            Exhibit(recording, f"coded as {coding}"),
            count=events,
            what="events",
        )
    return Found(events, "events under compression")


@check("PAD-07", "texts")
def test_large_frames_are_not_padded_needlessly(run: Run) -> Found:
    """If an event is large enough by itself, then its padding stays below one frame's minimum."""
    minimum = run.profile.declared.frame_bytes
    judged = 0
    for recording in all_streams(run):
        for frame in frames(recording):
            fields = frame.block.fields
            own = sum(len(line.raw) + 1 for line in fields) + 1
            if own < minimum or recording.end is End.CUT:
                continue
            padding = frame.octets - own
            if padding >= minimum:
                raise Broken(
                    f"the frame of {_name(frame.block)} is {own:,} octets by itself and carries "
                    f"{padding:,} octets of padding",
                    frame.shown,
                    count=judged,
                    what="large frames",
                )
            judged += 1
    if not judged:
        if not run.shaped:
            raise Unable("no event of the target's own job was as large as a frame")
        raise Inapplicable("no event reached the size of a frame")
    return Found(judged, "large frames")
