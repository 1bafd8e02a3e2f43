"""A job's final log, where it was read whole, and which recordings belong to the same job.

Snapshots, pages and joiners are all judged against the log as it stands when the job is over. Where
that log was read differs from scenario to scenario; the choice is made here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamgauge.check import Run
from streamgauge.recording import Recording
from streamgauge.verdict import Unable

from .reading import Seen, has_gap, has_terminal, stream_log

REPLAYS = ("final replay", "replay 1", "replay 2", "replay")


@dataclass(frozen=True, slots=True)
class FinalLog:
    """The log of an ended job, as one stream showed it from its beginning."""

    recording: Recording
    events: tuple[Seen, ...]
    pruned: bool
    """The stream says itself that older history is gone."""

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events]

    @property
    def terminal(self) -> Seen:
        return self.events[-1]

    def place(self, event_id: str) -> int | None:
        """Position of an id, None where the log has no such event."""
        ids = self.ids
        return ids.index(event_id) if event_id in ids else None

    def predates(self, event_id: str) -> bool:
        """Whether an event may be missing because it was pruned meanwhile."""
        if not self.pruned:
            return False
        first = self.events[0].id
        return not (event_id.isdigit() and first.isdigit()) or int(event_id) < int(first)


def job_of(recording: Recording) -> str:
    return str(recording.info.get("job", ""))


def own_streams(run: Run, job: str) -> list[Recording]:
    """All streams of a job, wherever they were recorded."""
    return [r for r in run.recordings() if r.is_stream and job_of(r) == job]


def final_log(run: Run, job: str) -> FinalLog | None:
    """The final log of a job: a replay made after its end, else a reader that saw all of it."""
    candidates = [
        (_rank(recording), recording)
        for recording in run.recordings()
        if recording.is_stream and job_of(recording) == job and from_start(run, recording)
    ]
    found = []
    for rank, recording in candidates:
        events = stream_log(recording, run.profile)
        whole = rank == 0 or _has_no_holes(run, events)
        if whole and _usable(run, events):
            pruned = has_gap(recording, run.profile)
            found.append((pruned, rank, -recording.sent_at, FinalLog(recording, events, pruned)))
    return min(found, key=lambda each: each[:3])[3] if found else None


def _usable(run: Run, events: Sequence[Seen]) -> bool:
    """Whether a log reaches its end, and its events can be told apart."""
    terminal = has_terminal(events[-1:], run.profile)
    return terminal and all(event.id for event in events)


def _has_no_holes(run: Run, events: Sequence[Seen]) -> bool:
    """A reader that watched the job live may have missed something; contiguous ids would tell."""
    if run.profile.ids.order != "contiguous":
        return True
    first = run.profile.ids.first
    return [event.id for event in events] == [str(first + n) for n in range(len(events))]


def from_start(run: Run, recording: Recording) -> bool:
    """Whether a stream was asked for without any cursor, and can be read as it is."""
    return (
        not recording.request.header("Last-Event-ID")
        and f"{run.profile.api.cursor_query}=" not in recording.request.url
        and not recording.header("content-encoding")
    )


def _rank(recording: Recording) -> int:
    """Replays of the ended job first: they show what was kept, not only what was sent."""
    label = recording.label
    return 0 if any(label == name or label.endswith(f" {name}") for name in REPLAYS) else 1


def scenario_log(run: Run, scenario: str) -> FinalLog:
    """The final log of the job that a scenario is about.

    Raises:
        Unable: no stream of this job was read from its beginning to its end.
    """
    bundle = run.bundle(scenario)
    job = str(bundle.facts.get("job", ""))
    log = final_log(run, job) if job else None
    if log is None:
        raise Unable(
            bundle.unable or f"no stream showed the whole log of the finished job ({scenario})"
        )
    return log


def log_of(run: Run, scenario: str, *labels: str) -> tuple[Seen, ...]:
    """The final log of a scenario's job: the first of these recordings that shows its end.

    Raises:
        Unable: none of them does.
    """
    bundle = run.bundle(scenario)
    if bundle.facts.get("goes_on"):
        raise Unable(bundle.unable)
    for label in labels:
        recording = bundle.get(label)
        if recording is not None and recording.is_stream:
            seen = stream_log(recording, run.profile)
            if seen and has_terminal(seen, run.profile):
                return seen
    raise Unable(bundle.unable or f"no full replay of the finished job ({scenario}) was recorded")


def replayed_log(run: Run) -> tuple[Seen, ...]:
    """The final log of the job that the cursors are tried on."""
    return log_of(run, "log", "replay 1", "replay 2", "reader")


def running_log(run: Run, scenario: str) -> tuple[Seen, ...]:
    """The final log of a job that had readers while it was running."""
    return log_of(run, scenario, "final replay", "reader 0", "reader")


def known_log(run: Run, job: str) -> FinalLog | None:
    """The final log, or as much of it as the stream shows that reached furthest."""
    if log := final_log(run, job):
        return log
    reached = [
        (len(events), recording, events)
        for recording in run.recordings()
        if recording.is_stream and job_of(recording) == job and from_start(run, recording)
        if (events := stream_log(recording, run.profile))
    ]
    if not reached:
        return None
    _, recording, events = max(reached, key=lambda each: each[0])
    pruned = has_gap(recording, run.profile)
    return FinalLog(recording, events, pruned)


def ended_at(run: Run, job: str) -> float | None:
    """When a terminal event of a job was first seen by anybody."""
    moments = [
        event.at
        for recording in run.recordings()
        if recording.is_stream and job_of(recording) == job
        for event in stream_log(recording, run.profile)
        if event.ends or event.type in run.profile.events.terminal
    ]
    return min(moments, default=None)


def by_job(recordings: Sequence[Recording]) -> dict[str, list[Recording]]:
    """Recordings of each job, in the order in which they began."""
    jobs: dict[str, list[Recording]] = {}
    for recording in sorted(recordings, key=lambda each: each.sent_at):
        if job := job_of(recording):
            jobs.setdefault(job, []).append(recording)
    return jobs


def unanswered(recording: Recording) -> str:
    """How an answer that did not come should be told, "" where it came or nobody can be blamed."""
    if recording.answered:
        return ""
    words = {
        "timeout": "no answer within {:.0f} s",
        "cut": "the connection ended after {:.1f} s without an answer",
        "reset": "the connection was reset after {:.1f} s",
        "protocol_error": "what came after {:.1f} s was not HTTP",
    }
    return words.get(recording.end.value, "").format(recording.ended_at - recording.sent_at)
