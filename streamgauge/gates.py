"""Answers the questions that a job waits on, so that it comes to its end while it is watched.

Some pipelines stop at a gate until a person has said yes. A run has no person; it answers each gate
once, as the profile says, and records that it did.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .client import LiveExchange
from .job import Job
from .members import at_path, first_at, parsed
from .shared import Shared
from .sse import Block

GATES_MAX = 50
"""A job that asks more often is not answered any more."""
NAME_MEMBERS = ("data.gate", "gate", "data.name", "name", "data.id")
"""Where a gate's event tells its name."""


async def keep_gates(shared: Shared, job: Job) -> None:
    """Answer the gates that the natural job's first reader shows, until that stream ends."""
    reader = shared.natural_reader
    events, api = shared.profile.events, shared.profile.api
    if reader is None or not api.gate or not events.gates:
        return
    path = shared.client.url(api.gate.replace("{job_id}", job.job_id))
    looked = 0
    while len(shared.gate_answers) < GATES_MAX:
        if not await reader.until(_beyond(looked), 3600.0):
            return
        for block in reader.blocks[looked:]:
            looked += 1
            if block.event is not None and block.event.type in events.gates:
                await _answer(shared, job, path, block)


def _beyond(looked: int) -> Callable[[LiveExchange], bool]:
    return lambda live: len(live.blocks) > looked


async def _answer(shared: Shared, job: Job, path: str, block: Block) -> None:
    assert block.event is not None
    body = parsed(block.event.data)
    name = first_at(body, NAME_MEMBERS)
    told = _filled(dict(shared.profile.api.gate_body), name if isinstance(name, str) else "")
    header = shared.profile.api.session_header
    answer = await shared.client.ask(
        "POST",
        path,
        label=f"gate {len(shared.gate_answers)}",
        headers=[
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
            *([(header, job.job_id)] if header else []),
        ],
        body=json.dumps(told, ensure_ascii=False).encode(),
        info={"gate": str(at_path(body, "id") or name or ""), "of": job.job_id},
    )
    shared.gate_answers.append(answer)


def _filled(value: Any, gate: str) -> Any:
    """The answer with the gate's name put in."""
    if isinstance(value, dict):
        return {key: _filled(each, gate) for key, each in value.items()}
    return value.replace("{gate}", gate) if isinstance(value, str) else value
