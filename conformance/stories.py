"""What a run saw of each of its jobs, gathered from all scenarios.

How a job ended, which state it was in and how far it had come shows only in all of its streams,
snapshots and pages together. The checks of LIFE judge these stories, not single recordings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from streamgauge.check import Run
from streamgauge.profile import Profile
from streamgauge.recording import Bundle, PackedReads, Recording

from .reading import Seen, events_of, has_gap, has_terminal, stream_log

EVERYWHERE = ("log", "live", "endings", "starts")
MARGIN_S = 0.5
"""On top of a declared time: what the suite's own clock and the network may add."""


@dataclass(slots=True)
class Story:
    """All that the run recorded about one job."""

    job: str
    streams: list[Recording] = field(default_factory=list)
    views: list[Recording] = field(default_factory=list)
    """Snapshots and pages that were answered as such."""


def all_stories(run: Run) -> list[Story]:
    """Every job of the run; packed streams (hundreds of the same finished log) are left out."""
    found: dict[str, Story] = {}
    for recording in run.recordings():
        job = recording.info.get("job")
        # Where the start's answer is the stream, that stream was asked for by POST.
        if job is None or (recording.request.method != "GET" and not recording.is_stream):
            continue
        story = found.setdefault(str(job), Story(str(job)))
        if recording.is_stream and not isinstance(recording.reads, PackedReads):
            story.streams.append(recording)
        elif recording.status == 200 and isinstance(recording.json, dict):
            story.views.append(recording)
    return list(found.values())


def asked_after(recording: Recording, profile: Profile) -> str:
    """The cursor that a stream was opened with, "" for none."""
    if after := recording.info.get("after"):
        return str(after)
    query = parse_qs(urlsplit(recording.request.url).query)
    return next(iter(query.get(profile.api.cursor_query, ())), "")


def shows_whole(recording: Recording, profile: Profile) -> bool:
    """A stream from the first event to the terminal one, without an announced gap."""
    return (
        not asked_after(recording, profile)
        and has_terminal(stream_log(recording, profile), profile)
        and not has_gap(recording, profile)
    )


def in_id_order(seen: Iterable[Seen], profile: Profile) -> list[Seen]:
    """Each event once, in the order of ids where they are numbers: order itself is REPLAY's."""
    once: dict[str, Seen] = {}
    for number, event in enumerate(seen):
        once.setdefault(event.id or f"without id {number}", event)
    events = list(once.values())
    if profile.ids.order != "opaque" and all(e.id.isdigit() for e in events):
        events.sort(key=lambda event: int(event.id))
    return events


def whole_logs(run: Run, story: Story) -> list[tuple[Recording, list[Seen]]]:
    """The job's whole finished log, as each stream shows it that has it."""
    return [
        (r, in_id_order(stream_log(r, run.profile), run.profile))
        for r in story.streams
        if shows_whole(r, run.profile)
    ]


def end_seen_at(run: Run, story: Story) -> float | None:
    """When the suite first saw the job's terminal event."""
    times = [
        event.at
        for r in (*story.streams, *story.views)
        for event in events_of(r, run.profile)
        if event.type in run.profile.events.terminal
    ]
    return min(times, default=None)


def fullest_view(run: Run, bundle: Bundle, name: str) -> tuple[Recording, list[Seen]] | None:
    """The view that shows most of a job: an end before anything, then the number of events."""
    found = []
    for recording in bundle.all(name):
        if recording.request.method != "GET" or asked_after(recording, run.profile):
            continue
        seen = events_of(recording, run.profile)
        if seen:
            log = in_id_order(seen, run.profile)
            found.append((has_terminal(log, run.profile), len(log), recording, log))
    if not found:
        return None
    _, _, recording, log = max(found, key=lambda each: (each[0], each[1], each[2].is_stream))
    return recording, log


def terminal_places(seen: Sequence[Seen], profile: Profile) -> list[int]:
    return [n for n, event in enumerate(seen) if event.type in profile.events.terminal]


def clock_margin_s(run: Run) -> float:
    return MARGIN_S + run.evidence.loop_lag_s


def how_long(recording: Recording) -> str:
    return f"{recording.ended_at - recording.sent_at:.1f} s"
