"""What a run writes for machines and for a CI job's summary.

`results.json` is the project's own format, `journal.json` has the shape of Chaos Toolkit's journal
(status, deviated, steady states, activities, rollbacks), `summary.md` is for people in a hurry.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .delivery import IN_TIME_S
from .ledger import OK, WORDS
from .outcome import AGE_P95_S, FAIL, INCONCLUSIVE, PASS, Outcome
from .programme import Programme

REASONS_MAX: Final = 20
SIGNS: Final = {PASS: "✓", FAIL: "✗", INCONCLUSIVE: "?"}


def write(programme: Programme, folder: Path) -> None:
    """All three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (
        ("results.json", results(programme)),
        ("journal.json", journal(programme)),
    ):
        (folder / name).write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / "summary.md").write_text(summary(programme), "utf-8")


def results(programme: Programme) -> dict[str, Any]:
    """The public format (docs/chaos.md)."""
    return {
        "schema": 1,
        "verdict": programme.verdict,
        "seed": programme.choice.seed,
        "started": programme.started,
        "lasted_s": round(programme.lasted_s, 1),
        "interrupted": programme.interrupted,
        "toxiproxy": programme.toxiproxy,
        "troubles": programme.troubles,
        "experiments": [
            *(_experiment(found) for found in programme.outcomes),
            *_deliveries(programme),
        ],
        "undisturbed": [
            _experiment(lane.control) for lane in programme.lanes.values() if lane.control
        ],
        "controls": [
            *(
                {
                    "name": control.name,
                    "expected": control.expected,
                    "caught": control not in programme.uncaught,
                }
                for control in programme.controls
            ),
            *(
                {
                    "name": f"unpadded behind {way.way}",
                    "expected": "events arrive more than a second late",
                    "caught": way.stalls,
                }
                for way in programme.deliveries
                if way.must_stall
            ),
        ],
        "delivery": [
            {
                "way": way.way,
                "padded_age_p95_s": round(way.padded.age_p95_s, 3),
                "unpadded_age_p95_s": round(way.unpadded.age_p95_s, 3),
                "holds_back": way.stalls,
            }
            for way in programme.deliveries
        ],
        "platforms": [
            {
                "platform": row.platform.id,
                "as": row.powers.words,
                "connections_cut": row.seen.cuts,
                "guarantees": row.kept,
            }
            for row in programme.rows
        ],
    }


def _experiment(found: Outcome) -> dict[str, Any]:
    told = found.trial.ledger.as_json() if found.trial else dict.fromkeys(WORDS, 0)
    return {
        "name": found.experiment.name,
        "topology": found.experiment.deployment,
        "verdict": found.verdict,
        "reasons": found.reasons[:REASONS_MAX],
        "faults": [played.as_json() for played in found.played],
        "ledger": told,
        "recovery_s": round(found.recovery_s, 2),
        "resumed_s": round(found.resumed_s, 2),
        "steady_state": [
            {
                "phase": phase.name,
                "events": phase.events,
                "age_p50_s": round(phase.age_p50_s, 4),
                "age_p95_s": round(phase.age_p95_s, 4),
                "events_per_s": round(phase.goodput, 1),
            }
            for phase in found.phases
        ],
    }


def _deliveries(programme: Programme) -> Iterator[dict[str, Any]]:
    """Ways that are known to buffer; that they do is seen on the unpadded streams beside."""
    for way in programme.deliveries:
        if not way.must_stall:
            continue
        unproven = [] if way.proven else ["unpadded events were not held back: it does not buffer"]
        late = f"padded events were {way.padded.age_p95_s:.2f} s old on arrival (p95)"
        yield {
            "name": f"delivery-{way.way}",
            "topology": "one instance, memory",
            "verdict": way.verdict,
            "reasons": unproven if way.passes else [*way.padded.ledger.faults, late],
            "faults": [
                {
                    "kind": "buffering",
                    "target": way.way,
                    "at_s": 0.0,
                    "lasted_s": round(way.padded.lasted_s, 2),
                    "streams_hit": way.unpadded.hit(IN_TIME_S),
                }
            ],
            "ledger": way.padded.ledger.as_json(),
            "recovery_s": 0.0,
        }


def journal(programme: Programme) -> dict[str, Any]:
    """The run as one Chaos Toolkit journal; its activities name their experiment."""
    outcomes = programme.outcomes
    before = [p for found in outcomes for p in found.phases[:1]]
    after = [p for found in outcomes for p in found.phases[-1:]]
    probe = {
        "type": "probe",
        "name": "events arrive within a second (p95), each once, in order, to the end",
        "tolerance": True,
        "provider": {"type": "python", "module": "chaos.outcome", "func": "judged"},
    }
    return {
        "experiment": {
            "version": "1.0.0",
            "title": "Streams survive every fault",
            "description": "Faults of processes, services, links and disks, one at a time.",
            "tags": ["streamgauge", *programme.experiments],
            "steady-state-hypothesis": {"title": "Every stream is whole", "probes": [probe]},
            "method": [
                {
                    "type": "action",
                    "name": f"{each.key}: {fault.breaks}",
                    "provider": {
                        "type": "python",
                        "module": "chaos.faults",
                        "func": "obey",
                        "arguments": {"command": fault.breaks},
                    },
                }
                for some in programme.experiments.values()
                for each in some
                for fault in each.faults
            ],
            "rollbacks": [],
        },
        "platform": platform.platform(),
        "node": platform.node(),
        "start": programme.started,
        "duration": round(programme.lasted_s, 2),
        "status": "interrupted" if programme.interrupted else "completed",
        "deviated": any(found.verdict == FAIL for found in outcomes),
        "steady_states": {
            "before": {"steady_state_met": all(p.age_p95_s <= AGE_P95_S for p in before)},
            "after": {"steady_state_met": all(p.age_p95_s <= AGE_P95_S for p in after)},
            "during": [],
        },
        "run": [
            {
                "activity": {
                    "type": "action",
                    "name": f"{found.experiment.key}: {played.fault.breaks}",
                },
                "status": "succeeded",
                "output": found.verdict,
                "start": round(played.at_s, 2),
                "duration": round(played.lasted_s, 2),
            }
            for found in outcomes
            for played in found.played
        ],
        "rollbacks": [
            {
                "activity": {
                    "type": "action",
                    "name": f"{found.experiment.key}: {played.fault.mends}",
                },
                "status": "succeeded",
                "duration": round(played.recovery_s, 2),
            }
            for found in outcomes
            for played in found.played
            if played.fault.mends
        ],
    }


def summary(programme: Programme) -> str:
    """For a CI job's page: what is not a pass first."""
    found = sorted(programme.outcomes, key=lambda o: (o.verdict == PASS, o.verdict))
    told = [
        f"# Chaos: {programme.verdict}",
        "",
        f"Seed {programme.choice.seed}, {len(found)} experiments, {programme.lasted_s:.0f} s. "
        f"Again: `pytest chaos --seed={programme.choice.seed}`",
        "",
        "| | experiment | streams hit | streams whole | recovered in | why |",
        "|---|---|---|---|---|---|",
    ]
    for each in found:
        ledger = each.trial.ledger.counts if each.trial else {}
        streams = sum(ledger.values())
        hits = ", ".join(str(played.streams_hit) for played in each.played)
        why = each.reasons[0].replace("|", "\\|")[:200] if each.reasons else ""
        told.append(
            f"| {SIGNS[each.verdict]} | {each.experiment.key} | {hits} "
            f"| {ledger.get(OK, 0)} of {streams} | {each.recovery_s:.1f} s | {why} |"
        )
    told += ["", *(f"- not played: {trouble}" for trouble in programme.troubles)]
    told += [f"- control not caught: {control.name}" for control in programme.uncaught]
    return "\n".join(told).rstrip() + "\n"
