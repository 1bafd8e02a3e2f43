"""The kill matrix: which broken server was caught by which check, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from streamgauge.catalogue import implemented

from .catalog import mutants, subjects
from .model import KILLED, Control, Mutant, NullTarget, Subject, as_json
from .runner import ROOT, Outcome

DOCS = ROOT / "docs" / "mutants.md"
MARKS = {
    "fail": "F",
    "warn": "W",
    "error": "E",
    "could_not_test": "?",
    "not_applicable": "-",
    "not_run": "-",
    "pass": ".",
}


def without_mutant(known: Iterable[Mutant]) -> list[str]:
    """Implemented checks that no mutant has to break."""
    broken = {identifier for mutant in known for identifier in mutant.breaks}
    return [row.id for row in implemented() if row.id not in broken]


def expectation(subject: Subject) -> str:
    """What has to come out, in a few words."""
    if isinstance(subject, NullTarget):
        return "nothing passes"
    if isinstance(subject, Control):
        return "nothing is red"
    also = f" (may follow: {', '.join(subject.follows)})" if subject.follows else ""
    return f"breaks {', '.join(subject.breaks)}{also}"


def write(folder: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Write `matrix.json` and `matrix.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = [each for each in subjects() if each.name in outcomes]
    table = {
        "schema": 1,
        "checks": [row.id for row in implemented()],
        "subjects": [
            {
                **as_json(each),
                "problems": outcomes[each.name].problems,
                "seconds": outcomes[each.name].seconds,
                "verdicts": outcomes[each.name].verdicts,
            }
            for each in known
        ],
        "not_run": [each.name for each in subjects() if each.name not in outcomes],
        "without_mutant": without_mutant(mutants()),
    }
    text = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
    (folder / "matrix.json").write_text(text, "utf-8")
    (folder / "matrix.md").write_text("\n".join(_page(known, outcomes)) + "\n", "utf-8")


def write_docs(outcomes: Mapping[str, Outcome]) -> None:
    """Write the summary that is kept in the repository."""
    known = [each for each in subjects() if each.name in outcomes]
    DOCS.write_text("\n".join(_summary(known, outcomes)) + "\n", "utf-8")


def _page(known: list[Subject], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    yield "# Kill matrix"
    yield ""
    yield from _runs(known, outcomes)
    yield ""
    yield "## Mutant by check"
    yield ""
    yield "F failed, W warned, E error, ? could not test, - not applicable or not run, . passed."
    sections: dict[str, list[str]] = {}
    for row in implemented():
        sections.setdefault(row.section, []).append(row.id)
    for section, ids in sections.items():
        yield ""
        yield f"### {section}"
        yield ""
        yield f"| mutant | {' | '.join(i.partition('-')[2] for i in ids)} |"
        yield f"|---|{'---|' * len(ids)}"
        for each in known:
            marks = [MARKS.get(outcomes[each.name].verdicts.get(i, ""), " ") for i in ids]
            yield f"| {each.name} | {' | '.join(marks)} |"


def _runs(known: list[Subject], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    yield "| server | must | red | as it should | s |"
    yield "|---|---|---|---|---|"
    for each in known:
        outcome = outcomes[each.name]
        state = "yes" if not outcome.problems else "**" + "; ".join(outcome.problems) + "**"
        red = ", ".join(outcome.red) or "nothing"
        line = f"| {each.name} | {expectation(each)} | {red} | {state[:400]} "
        yield line.replace("\n", " ") + f"| {outcome.seconds:.0f} |"


def _summary(known: list[Subject], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    broken = [each for each in known if isinstance(each, Mutant)]
    good = sum(not outcomes[each.name].problems for each in known)
    yield "# Broken servers that prove the checks"
    yield ""
    yield "Written by `python -m tests.mutants --docs`; do not edit."
    yield ""
    yield (
        "Each mutant is the reference server with one behaviour changed. It has to turn the checks "
        "of that behaviour red, and no others except those that its own entry names as "
        "consequences. Controls are servers without a fault: nothing may turn red. On a null "
        "target nothing may pass."
    )
    yield ""
    yield (
        f"On record: {len(known)} of {len(subjects())} servers, each in its latest run against the "
        f"whole suite as it was then; {good} came out as they should. The last column is the "
        "number of rules that were judged."
    )
    yield ""
    yield "| check | killed by |"
    yield "|---|---|"
    for row in implemented():
        killers = [
            each.name
            for each in broken
            if row.id in each.breaks and outcomes[each.name].verdicts.get(row.id) in KILLED
        ]
        yield f"| {row.id} | {', '.join(killers) or '**nobody**'} |"
    yield ""
    yield "| server | what is wrong with it | turned red | of |"
    yield "|---|---|---|---|"
    for each in known:
        red = ", ".join(outcomes[each.name].red) or "nothing"
        judged = len(outcomes[each.name].verdicts)
        yield f"| {each.name} | {each.about} | {red} | {judged} |"
