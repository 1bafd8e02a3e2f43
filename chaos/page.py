"""The run as one HTML page that needs nothing but itself, dressed as the conformance report is."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from streamgauge.report.html import part

from .drawing import picture
from .ledger import WORDS
from .outcome import FAIL, INCONCLUSIVE, PASS
from .platforms import GUARANTEES
from .programme import Programme

COLOURS: Final = {PASS: "pass", FAIL: "fail", INCONCLUSIVE: "could_not_test"}
HEADLINES: Final = {
    PASS: "Nothing was lost",
    FAIL: "Streams were harmed",
    INCONCLUSIVE: "Not everything is proven",
}


def write_page(programme: Programme, folder: Path) -> None:
    """`index.html` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(programme), "utf-8")


def page(programme: Programme) -> str:
    """The page, complete."""
    outcomes = programme.outcomes
    ledger: Counter[str] = Counter()
    for found in outcomes:
        if found.trial is not None:
            ledger += found.trial.ledger.counts
    return _template().render(
        programme=programme,
        outcomes=outcomes,
        headline=HEADLINES[programme.verdict],
        reason=_reason(programme),
        streams=ledger.total(),
        hits=sum(played.streams_hit for found in outcomes for played in found.played),
        caught=len(programme.controls) - len(programme.uncaught),
        ledger={word: ledger[word] for word in WORDS},
        style=Markup(part("style.css") + _file("chaos.css")),
        picture=picture,
        COLOURS=COLOURS,
        GUARANTEES=GUARANTEES,
    )


def _reason(programme: Programme) -> str:
    bad = [o for o in programme.outcomes if o.verdict == FAIL]
    open_ = [o for o in programme.outcomes if o.verdict == INCONCLUSIVE]
    if programme.interrupted:
        return "The run was interrupted; what was broken has been healed."
    if bad:
        return f"{len(bad)} of {len(programme.outcomes)} experiments failed: " + ", ".join(
            found.experiment.key for found in bad[:5]
        )
    if programme.verdict == FAIL:
        return "Every experiment held; a proxy or a platform did harm."
    if open_ or programme.troubles:
        return (
            f"{len(open_)} experiments proved nothing, {len(programme.troubles)} were not played."
        )
    if programme.verdict == INCONCLUSIVE:
        return "Nothing was played to its end."
    if programme.uncaught:
        return "No experiment failed, but a broken server was not caught."
    return "Every reader that came back has every event, once, in order, to the end."


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(_file("index.html.j2"))


def _file(name: str) -> str:
    return files(__package__).joinpath("pages", name).read_text("utf-8")
