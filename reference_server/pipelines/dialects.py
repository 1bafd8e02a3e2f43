"""The logs of the other systems' jobs (protocol §12): tables of events under their own names.

The store knows the protocol's types only. What another system calls `section_draft` is kept as an
`agent_chunk` whose agent is that name and whose text is its JSON; first and last events are the
protocol's own. So leases, takeover and replay hold for these jobs as for all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..events import COMPLETED, STARTED, to_json
from ..payloads import Emission, ending
from .base import Step

RESUME_AGENT: Final = "resume-agent"
QUIZ: Final = "quiz"
ARTICLE: Final = "article-summarizer"

#: A gate that nobody answers opens by itself: no job may wait for ever.
GATE_OPENS_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a table: wait, then say it."""

    delay_s: float
    name: str
    data: Mapping[str, object]
    after_gate: bool = False
    quiet: bool = False
    """Work that takes longer than a heartbeat interval goes before it."""


class DialectPipeline:
    """One simulated job of another system."""

    def __init__(self, name: str, quiet_s: float, time_scale: float) -> None:
        self._table = TABLES[name]
        self._quiet_s = quiet_s
        self._time_scale = time_scale

    def steps(self, head: int) -> Iterator[Step]:
        """One event a step, the last two in one."""
        if head < 1:
            yield Step(0.0, (Emission("job_status", {"status": STARTED}),))
        for n, entry in enumerate(self._table, start=2):
            if n > head:
                yield self._step(entry)
        if head <= len(self._table) + 1:
            yield Step(0.9 * self._time_scale, ending(COMPLETED))

    def _step(self, entry: Entry) -> Step:
        chunk = Emission("agent_chunk", {"agent": entry.name, "text": to_json(entry.data)})
        if entry.after_gate:
            return Step(GATE_OPENS_S, (chunk,), gate=True)
        quiet_s = self._quiet_s if entry.quiet else 0.0
        return Step(entry.delay_s * self._time_scale + quiet_s, (chunk,))


def _section(name: str, text: str) -> dict[str, object]:
    return {"section": name, "content": text}


TABLES: Final[Mapping[str, tuple[Entry, ...]]] = {
    RESUME_AGENT: (
        Entry(0.3, "stage_start", {"stage": "intake", "message": "Reading the résumé …"}),
        Entry(1.0, "transparency", {"message": "Comparing with what the position asks for."}),
        Entry(0.4, "stage_complete", {"stage": "intake", "duration_ms": 1400}),
        Entry(0.2, "stage_start", {"stage": "blueprint", "message": "Planning the sections."}),
        Entry(1.0, "blueprint_ready", {"sections": ["summary", "experience", "skills"]}),
        Entry(0.1, "pipeline_gate", {"gate": "blueprint_review", "question": "Go on like this?"}),
        Entry(0.0, "gate_answered", {"gate": "blueprint_review"}, after_gate=True),
        Entry(0.2, "stage_start", {"stage": "writing", "message": "Writing section by section."}),
        Entry(1.0, "section_draft", _section("summary", "Ten years of moving events – on time.")),
        Entry(
            1.1,
            "section_draft",
            _section("experience", "Cut reports from days to hours.\nLed four teams."),
        ),
        Entry(1.0, "section_draft", _section("skills", "English (fluent), français (working)")),
        Entry(0.9, "quality_scores", {"ats": 87, "clarity": 91}, quiet=True),
        Entry(0.3, "stage_complete", {"stage": "writing", "duration_ms": 3600}),
    ),
    QUIZ: (
        Entry(0.3, "progress", {"message": "Reading the pages.", "percent": 10}),
        Entry(1.0, "question", {"number": 1, "text": "What ends an event?", "page": 1}),
        Entry(1.0, "question", {"number": 2, "text": "¿Qué es un cursor?", "page": 1}),
        Entry(0.5, "progress", {"message": "Second page.", "percent": 50}),
        Entry(1.0, "question", {"number": 3, "text": "Who sends `retry`?", "page": 2}, quiet=True),
        Entry(1.1, "question", {"number": 4, "text": "漢字: how many octets?", "page": 2}),
        Entry(0.4, "progress", {"message": "All questions are written.", "percent": 100}),
    ),
    ARTICLE: (
        Entry(0.2, "fetch_start", {"message": "Fetching the article."}),
        Entry(1.0, "fetch_complete", {"bytes": 48_211}),
        Entry(0.3, "media_detect_start", {"message": "Looking for audio and video."}),
        Entry(0.9, "media_detected", {"kinds": ["audio"]}),
        Entry(0.3, "content_extract_start", {"message": "Extracting the text."}),
        Entry(1.0, "content_extracted", {"words": 1874, "title": "Über Ströme – 流れ"}),
        Entry(0.2, "ai_start", {"message": "Writing the summary."}),
        Entry(1.2, "ai_complete", {"sentences": 5}, quiet=True),
        Entry(0.2, "save_start", {"message": "Saving."}),
        Entry(1.0, "save_complete", {"article_id": 42}),
    ),
}
