"""The run as one HTML page that needs nothing but itself.

The page is what somebody who did not run the suite gets to read, so it leads with the verdict, then
what is wrong and what to change, and keeps the proof folded beneath. It carries its style and its
script inside, and a content policy that forbids every request and every script but that one: what
a hostile target put into its answers can neither load nor run anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markupsafe import Markup

from ..recording import End, Recording
from ..results import CheckResult, Exhibit, RunResult, Verdict
from .data import (
    COUNTED,
    WORDS,
    Section,
    cause_headline,
    count,
    counted,
    evidence,
    found_of,
    headline,
    heard_otherwise,
    hint_origin,
    sections,
    selected,
    sentence,
    sureness,
    visible,
)
from .frames import Excerpt, excerpt
from .timeline import Timeline, timeline

EXHIBITS_MAX = 5
HEADERS_MAX = 40
HEADER_CHARS_MAX = 500
OPEN_PROOFS_MAX = 3
"""Up to so many failures stand with their proof unfolded; more would bury one another."""
HEARD_MAX = 12
"""Of what a client heard otherwise, so much is listed."""
MANY_FAILURES = 12
"""Beyond, each finding is one line that unfolds, and no index is needed."""

_ENDS = {
    End.COMPLETE: "the answer ended in good order",
    End.CLOSED: "ended with the connection",
    End.CUT: "the connection was cut in the middle",
    End.RESET: "the connection was reset",
    End.REFUSED: "no connection",
    End.PROTOCOL_ERROR: "what came was not HTTP",
    End.TIMEOUT: "our time limit was reached",
    End.LEFT: "we had seen enough and left",
}
_TEMPLATES = ("index.html.j2", "causes.html.j2", "finding.html.j2")
_SAFE_PATH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*/?")


@dataclass(frozen=True, slots=True)
class ShownExhibit:
    """An exhibit as the page draws it."""

    note: str
    recording: Recording
    ending: str
    request_headers: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    timeline: Timeline | None
    excerpt: Excerpt


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that is shown at length."""

    check: CheckResult
    evidence: str
    exhibits: tuple[ShownExhibit, ...]
    left_out: int
    """Exhibits beyond the bound."""


def report_html(run: RunResult) -> str:
    """The page, complete."""
    style, script = part("style.css"), part("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none';"
        f" style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    failures = tuple(_finding(check, run) for check in selected(run, Verdict.FAIL))
    return _template().render(
        run=run,
        policy=policy,
        # Our own files, no input: escaping would break them.
        style=Markup(style),
        script=Markup(script),
        headline=headline(run),
        reason=sentence(run.reason),
        counts=count(run.checks),
        total=len(run.checks),
        duration=_duration(run.duration_s),
        started=_moment(run.started),
        failures=failures,
        many=MANY_FAILURES,
        open_proofs=sum(f.check.explanation is None for f in failures) <= OPEN_PROOFS_MAX,
        warnings=tuple(_finding(check, run) for check in selected(run, Verdict.WARN)),
        untested=selected(run, Verdict.COULD_NOT_TEST),
        errors=selected(run, Verdict.ERROR),
        sections=sections(run),
        shown_at_length=(Verdict.FAIL, Verdict.WARN),
        trace=run.trace,
        trace_is_path=_SAFE_PATH.fullmatch(run.trace) is not None,
    )


def _finding(check: CheckResult, run: RunResult) -> Finding:
    shown = check.exhibits[:EXHIBITS_MAX]
    drawn: set[int] = set()
    exhibits: list[ShownExhibit] = []
    for exhibit in shown:
        # Several faults of one recording share one picture, at its first appearance.
        first = id(exhibit.recording) not in drawn
        drawn.add(id(exhibit.recording))
        spans = [
            other.span
            for other in shown
            if other.recording is exhibit.recording and other.span is not None
        ]
        picture = timeline(exhibit.recording, spans, run.started) if first else None
        exhibits.append(_shown(exhibit, picture))
    return Finding(check, evidence(check), tuple(exhibits), len(check.exhibits) - len(shown))


def _shown(exhibit: Exhibit, picture: Timeline | None) -> ShownExhibit:
    recording = exhibit.recording
    ending = _ENDS[recording.end]
    if recording.error:
        ending = f"{ending} ({visible(recording.error, HEADER_CHARS_MAX)})"
    return ShownExhibit(
        note=exhibit.note,
        recording=recording,
        ending=ending,
        request_headers=_headers(recording.request.headers),
        headers=_headers(recording.headers),
        timeline=picture,
        excerpt=excerpt(recording, exhibit.span),
    )


def _headers(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (visible(name, HEADER_CHARS_MAX), visible(value, HEADER_CHARS_MAX))
        for name, value in headers[:HEADERS_MAX]
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _moment(stamp: str) -> str:
    """An RFC 3339 time in UTC, to the second, as people write it."""
    return re.sub(r"(\.\d+)?(Z|\+00:00)$", " UTC", stamp.replace("T", " "))


def _prose(text: str) -> Markup:
    """A sentence in which `code` between backticks is set as code."""
    parts = sentence(visible(text)).split("`")
    if len(parts) % 2 == 0:
        return Markup("").join(("`".join(parts),))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part
        for index, part in enumerate(parts)
    )


@cache
def part(name: str) -> str:
    """A file of the page."""
    return files(__package__).joinpath("page", name).read_text("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=DictLoader({name: part(name) for name in _TEMPLATES}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown_text,
    )
    environment.filters["prose"] = _prose
    environment.filters["evidence"] = evidence
    environment.filters["found"] = found_of
    environment.filters["headline"] = cause_headline
    environment.filters["origin"] = hint_origin
    environment.filters["sureness"] = sureness
    environment.filters["offset"] = lambda value: f"{value:,}"
    environment.filters["seconds"] = lambda value: f"{value:+.3f}"
    environment.globals.update(
        WORDS=WORDS,
        COUNTED=COUNTED,
        counted=counted,
        summary=_summary,
        heard_otherwise=heard_otherwise,
        heard_max=HEARD_MAX,
    )
    return environment.get_template("index.html.j2")


def _summary(section: Section) -> str:
    """A section's counts in words."""
    return ", ".join(counted(verdict, number) for verdict, number in section.counts.items())


def _shown_text(value: Any) -> Any:
    """Every text of the page passes here, before the escaping: no control reaches the document."""
    return visible(value) if type(value) is str else value
