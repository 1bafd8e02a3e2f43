"""A run as one HTML page that needs nothing but itself: the report, and the tab in Locust's page.

Both are drawn here from the same data, `run.json`, so a run that is over looks as it did while it
went on. The report holds no script; the tab has the one that fetches the next picture.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from streamgauge.report.html import part as report_part

from .charts import Line, Mark, bars, chart, duration, number
from .histogram import middle
from .tally import CLEAN, WORDS

FAULTS_MAX: Final = 12
POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none';"
TEMPLATES: Final = ("index.html.j2", "body.html.j2", "compare.html.j2")
MARKS_MAX: Final = 40
HEADLINES: Final = {
    "pass": "Every stream was whole",
    "fail": "Too slow",
    "broken": "Streams are broken",
    "inconclusive": "Nothing is proven",
    "running": "Running",
}
ABOUT_WORD: Final = {
    "ok": "exactly the job's events, in order, to their end",
    "lost": "events were missing",
    "duplicate": "events came twice, or after the end",
    "reordered": "events came in another order, or from before the cursor",
    "diverged": "one event, two contents",
    "unsignalled_gap": "pruned history was passed over in silence",
    "stuck": "silent for longer than heartbeats allow, or open after the job's end",
    "never_terminated": "the end was never told",
    "stopped": "cut by the run's end, clean until then",
}
ABOUT_PHASE: Final = {
    "start": ("POST start", "from the request to its answer"),
    "connect": ("SSE connect", "from the request to the stream's headers"),
    "first_event": ("SSE first event", "from the request to the first event"),
    "event_age": ("SSE event age", "from emission to the read that brought it, live events only"),
    "gap": ("SSE gap", "between one event and the next of a stream"),
    "resume": ("SSE resume", "from a lost connection to the next event"),
    "complete": ("SSE complete", "from the request to the stream's end"),
}
_SAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def report(run: Mapping[str, Any]) -> str:
    """The page of a run that is over. `run`: as `run.json` holds it."""
    return str(_template("index.html.j2").render(_context(run, live=False)))


def live_page(run: Mapping[str, Any]) -> str:
    """The page that keeps itself new."""
    return str(_template("index.html.j2").render(_context(run, live=True)))


def live_body(run: Mapping[str, Any]) -> str:
    """Its content alone."""
    return str(_template("body.html.j2").render(_context(run, live=True)))


def comparison(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    rows: Sequence[Any],
    figures: Sequence[Mapping[str, Any]],
) -> str:
    """The page about two runs."""
    worse = [row.name for row in rows if row.worse]
    better = [row.name for row in rows if row.better]
    headline = "Something got worse" if worse else "Nothing got worse"
    told = [f"worse: {', '.join(worse)}"] if worse else []
    told += [f"better: {', '.join(better)}"] if better else []
    return str(
        _template("compare.html.j2").render(
            policy=f"{POLICY} style-src 'unsafe-inline'",
            style=Markup(style(themed=False)),
            headline=headline,
            reason=_sentence("; ".join(told) or "the two runs differ by no more than two runs do"),
            worse=worse,
            before=before,
            after=after,
            rows=rows,
            figures=figures,
        )
    )


@cache
def part(name: str) -> str:
    """A file of the page."""
    return files(__package__).joinpath("page", name).read_text("utf-8")


def style(*, themed: bool) -> str:
    """The report's own style and what a load test adds.

    Args:
        themed: the reader may have chosen light or dark against what the system prefers.
    """
    whole = report_part("style.css") + part("style.css")
    if not themed:
        return whole
    chosen = []
    for block in re.finditer(
        r"@media \(prefers-color-scheme: dark\) \{\s*:root[^{]*(\{[^}]*\})\s*\}", whole
    ):
        chosen.append(f':root[data-theme="dark"] {block[1]}')
    light = re.search(r":root (\{[^}]*--paper[^}]*\})", whole)
    assert light is not None
    chosen.append(f':root[data-theme="light"] {light[1]}')
    chosen += [
        ':root[data-theme="dark"] { color-scheme: dark; }',
        ':root[data-theme="light"] { color-scheme: light; }',
    ]
    return whole + "\n".join(chosen)


@cache
def _template(name: str) -> Any:
    environment = Environment(
        loader=DictLoader({name: part(name) for name in TEMPLATES}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: _SAFE.sub("�", value) if type(value) is str else value,
    )
    environment.filters.update(duration=duration, number=number, clock=_clock)
    return environment.get_template(name)


def _context(run: Mapping[str, Any], *, live: bool) -> dict[str, Any]:
    verdict = run["verdict"]
    word = "running" if run["state"] == "running" else verdict["verdict"]
    anomalies = sum(n for name, n in verdict["ledger"].items() if name not in CLEAN)
    reasons = list(verdict["reasons"])
    script = part("live.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    allowed = f" script-src 'sha256-{digest}'; connect-src 'self'" if live else ""
    if word == "running":
        reason = "No anomaly so far" if not anomalies else f"{anomalies} streams are broken so far"
    else:
        reason = _sentence(reasons.pop(0)) if reasons else ""
    judged = verdict["streams"] - verdict["ledger"]["stopped"]
    return {
        "run": {**run, "marks": run["marks"][:MARKS_MAX], "verdict": _with_words(verdict)},
        "live": live,
        "policy": f"{POLICY} style-src 'unsafe-inline';{allowed}",
        "style": Markup(style(themed=live)),
        "script": Markup(script),
        "word": word,
        "headline": HEADLINES["broken" if word == "fail" and anomalies else word],
        "reason": reason,
        "more_reasons": [_sentence(each) for each in reasons] if word != "running" else [],
        "started": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(run["began"])),
        "lasted": duration(round(run["seconds"])),
        "tiles": _tiles(run, anomalies),
        "figures": _figures(run),
        "knee": _knee(run),
        "ledger": _ledger(verdict["ledger"]),
        "ledger_said": f"{number(verdict['streams'])} streams, {number(judged)} of them judged to "
        f"their end; {number(anomalies)} with an anomaly.",
        "faults": [
            {**fault, "at": fault["at"] - run["began"]} for fault in run["faults"][:FAULTS_MAX]
        ],
        "faults_left": max(0, len(run["faults"]) - FAULTS_MAX),
        "phases": [
            {"name": name, "about": about, **verdict["percentiles"][phase]}
            for phase, (name, about) in ABOUT_PHASE.items()
        ],
        "distribution": _distribution(run["age"]),
        "kinds": sorted(run["kinds"].items(), key=lambda pair: _kind_order(pair[0])),
        "health_said": _health_said(run),
        "health": [_process(name, health) for name, health in sorted(run["health"].items())],
    }


def _tiles(run: Mapping[str, Any], anomalies: int) -> list[dict[str, Any]]:
    curves, verdict = run["curves"], run["verdict"]
    running = run["state"] == "running"
    ages = verdict["percentiles"]["event_age"]
    age = _last(curves["age_p95"]) if running else ages["p95"]
    first = verdict["percentiles"]["first_event"]
    bound = run["age_bound_s"]
    live = _last(curves["live"]) if running else max(_known(curves["live"]), default=0)
    events = _last(curves["events"]) if running else _mean(curves["events"])
    resumes = run["counts"].get("resumed", 0)
    rows = (
        ("Open streams", number(live), "", "now" if running else "at most", False),
        (
            "Events", number(events), "/s",
            f"{number(run['counts'].get('events', 0))} in all, "
            f"{number(run['counts'].get('octets', 0) / 1e6)} MB", False,
        ),
        (
            "Event age p95", *_parted(age), f"bound {duration(bound)}",
            age is not None and age >= bound,
        ),
        ("First event p95", *_parted(first["p95"]), f"{number(first['count'])} streams", False),
        (
            "Resumes", number(resumes), "",
            f"p95 {duration(verdict['percentiles']['resume']['p95'])} to the next event", False,
        ),
        ("Anomalies", number(anomalies), "", "streams with a fault", anomalies > 0),
    )  # fmt: skip
    names = ("name", "value", "unit", "note", "alarm")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _figures(run: Mapping[str, Any]) -> list[SimpleNamespace]:
    curves = run["curves"]
    at = curves["at"]
    marks = [Mark(mark["at"], mark["label"], mark["kind"]) for mark in run["marks"][:MARKS_MAX]]

    def figure(title: str, unit: str, *lines: tuple[str, str, str], **more: Any) -> SimpleNamespace:
        drawn = [Line(name, style, at, curves[key]) for key, name, style in lines]
        keys = [{"name": name, "style": style.split()[0]} for _, name, style in lines]
        if more.get("bound") is not None:
            keys.append({"name": f"bound {duration(more['bound'])}", "style": "bound"})
        picture = chart(drawn, title=title, unit=unit, marks=marks, **more)
        return SimpleNamespace(title=title, keys=keys if len(keys) > 1 else [], picture=picture)

    return [
        figure("Streams", "", ("live", "open streams", "a fill"), ("users", "users", "b")),
        figure("Events per second", "/s", ("events", "events", "a fill")),
        figure(
            "Event age", "s", ("age_p50", "p50", "a"), ("age_p95", "p95", "b"),
            ("age_p99", "p99", "d"), logarithmic=True, bound=run["age_bound_s"],
        ),
        figure(
            "First event, and back after a loss", "s", ("first_p95", "first event p95", "a"),
            ("resume_p95", "resume p95", "d"), logarithmic=True,
        ),
        figure("Resumes per second", "/s", ("resumes", "resumes", "d fill")),
        figure("Anomalies so far", "", ("anomalies", "streams with a fault", "b fill")),
    ]  # fmt: skip


def _knee(run: Mapping[str, Any]) -> SimpleNamespace:
    """Event age over the number of open streams, where a sweep measured it."""
    steps = sorted(run["steps"], key=lambda step: step["live"])
    at = [step["live"] for step in steps]
    bound = run["age_bound_s"]
    lines = [
        Line("p50", "a", at, [step["age_p50"] for step in steps]),
        Line("p95", "b", at, [step["age_p95"] for step in steps]),
        Line("p99", "d", at, [step["age_p99"] for step in steps]),
    ]
    keys = [{"name": line.name, "style": line.style} for line in lines]
    keys.append({"name": f"bound {duration(bound)}", "style": "bound"})
    picture = chart(
        lines, title="Event age by open streams", unit="s", logarithmic=True, bound=bound,
        x_unit="streams",
    ) if steps else Markup("")  # fmt: skip
    return SimpleNamespace(keys=keys, picture=picture)


def _ledger(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    most = max(counts.values(), default=0) or 1
    return [
        {
            "word": word.replace("_", " "),
            "kind": word if word in CLEAN else "fault",
            "count": counts[word],
            "percent": f"{100 * counts[word] / most:.1f}",
            "about": ABOUT_WORD[word],
        }
        for word in WORDS
    ]


def _distribution(counts: Mapping[Any, int]) -> Markup:
    own = {int(index): count for index, count in counts.items()}
    return bars(own, {index: middle(index) for index in own}, "How old events were")


def _with_words(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict, with each threshold in words."""
    rows = []
    for row in verdict["thresholds"]:
        if row["name"] == "anomalies":
            said = f"{row['value']} streams; none is allowed"
        else:
            said = f"{duration(row['value'])}; has to stay below {duration(row['bound'])}"
        rows.append({**row, "said": said})
    return {**verdict, "thresholds": rows}


def _health_said(run: Mapping[str, Any]) -> str:
    lag = run["lag_p95_s"]
    said = f"Its own loop was late by {duration(lag)} (p95). " if lag is not None else ""
    if run["overloaded"]:
        return said + "It was overloaded, so a pass would prove nothing about the target."
    return said + "It was not the bottleneck."


def _process(name: str, health: Mapping[str, Any]) -> dict[str, str]:
    return {
        "name": name,
        "cpu": f"{health.get('cpu_percent', 0):.0f} %",
        "busy": f"{health.get('busy_share', 0):.0%}",
        "files": f"{health.get('files', 0)} of {health.get('files_max', 0)}",
        "memory": f"{health.get('memory_bytes', 0) / 1e6:.0f} MB",
    }


def _kind_order(name: str) -> tuple[int, str]:
    """Kinds of readers first, then when they joined, then kinds of jobs."""
    rank = 1 if name.startswith("joined") else 3 if name.endswith("events") else 2
    return (0 if rank == 2 and ("reader" in name or name in _ROLES) else rank), name


_ROLES: Final = frozenset({"starter", "late joiner", "poller", "herd", "quota abuser", "kept log"})


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _parted(seconds: float | None) -> tuple[str, str]:
    """A duration's number and its unit."""
    value, _, unit = duration(seconds).partition(" ")
    return value, unit


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _last(values: Sequence[float | None]) -> float | None:
    return values[-1] if values else None


def _mean(values: Sequence[float | None]) -> float:
    known = _known(values)
    return sum(known) / len(known) if known else 0.0


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
