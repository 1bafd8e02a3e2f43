"""Servers whose jobs mix, can be guessed, or can be told from jobs that do not exist."""

from __future__ import annotations

import dataclasses
import itertools
import re
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from . import seams
from .model import Mutant, put


def _one_cache_for_all() -> None:
    """Short texts come from a cache whose key has forgotten the job."""
    from reference_server import payloads

    redact, cache = payloads.redact, dict[int, str]()

    def cached(text: str) -> str:
        clean = redact(text)
        return cache.setdefault(len(text), clean) if 20 < len(text) < 30 else clean

    put(payloads, "redact", cached)


def _recent_texts() -> None:
    """Snapshots show what the server has said lately, whoever it was said to."""
    from reference_server import payloads
    from reference_server.events import to_json

    redact, recent = payloads.redact, deque[str](maxlen=20)

    def noted(text: str) -> str:
        recent.append(redact(text)[:200])
        return recent[-1] if len(text) <= 200 else redact(text)

    put(payloads, "redact", noted)
    seams.on_snapshot(lambda _run, text: text[:-1] + b',"recent":%s}' % _json(to_json, recent))


def _json(to_json: Callable[[object], str], recent: deque[str]) -> bytes:
    return to_json(list(recent)).encode()


def _empty_snapshot() -> None:
    """Nothing is known of a job that is unknown, and the snapshot says so with 200."""
    from reference_server.api import jobs
    from reference_server.api.requests import json_answer
    from reference_server.problems import Problem

    original = jobs.JobsApi.snapshot

    async def snapshot(self: jobs.JobsApi, job_id: str) -> Any:
        try:
            return await original(self, job_id)
        except Problem as problem:
            if problem.status != 404:
                raise
            return json_answer({"job_id": job_id, "status": "queued", "cursor": 0, "events": []})

    jobs.JobsApi.snapshot = snapshot  # type: ignore[method-assign]


def _malformed_is_422() -> None:
    """An id that is no UUID fails validation, as frameworks do by default."""
    from reference_server.api import requests
    from reference_server.problems import Problem

    original = requests.require_job_id

    def validated(raw: str) -> str:
        try:
            return original(raw)
        except Problem as problem:
            raise Problem(422, "The job id is not a valid UUID.") from problem

    put(requests, "require_job_id", validated)


def _forbidden() -> None:
    """Another client's job is forbidden, one that does not exist is not found."""
    from quart import request

    from reference_server.api import jobs
    from reference_server.problems import Problem

    original = jobs.JobsApi.snapshot

    async def snapshot(self: jobs.JobsApi, job_id: str) -> Any:
        answer = await original(self, job_id)
        asking = request.headers.get("X-Client-Id")
        if asking and asking != await seams.client_of(self._store, job_id):
            raise Problem(403, "This job belongs to another client.")
        return answer

    jobs.JobsApi.snapshot = snapshot  # type: ignore[method-assign]


def _ids_from(make: Callable[[], str]) -> None:
    from reference_server import app
    from reference_server.api import requests

    put(requests, "_JOB_ID", re.compile(r"[0-9a-f-]{36}"))
    original = app.create_app

    def with_ids(settings: Any, parts: Any) -> Any:
        return original(settings, dataclasses.replace(parts, new_id=make))

    app.create_app = with_ids


def _counted(stride: int) -> None:
    numbers = itertools.count(1)

    def make() -> str:
        tail = next(numbers) * stride % 2**48
        return f"7c9e6679-7425-40de-944b-{tail:012x}"

    _ids_from(make)


def _tail_only() -> None:
    """The first 92 random bits are the machine's, chosen once."""
    node = str(uuid.uuid4())[:28]
    _ids_from(lambda: node + uuid.uuid4().hex[:8])


def _clocked() -> None:
    """Version 4 by its bits; made of the time and a little chance."""

    def make() -> str:
        ticks, rest = time.time_ns(), uuid.uuid4().hex
        head = f"{ticks:016x}"
        return f"{head[:8]}-{head[8:12]}-4{head[12:15]}-8{rest[:3]}-{rest[3:15]}"

    _ids_from(make)


def _counted_v7() -> None:
    """The time is right, and what should be random counts."""
    numbers = itertools.count(1)

    def make() -> str:
        head = f"{time.time_ns() // 1_000_000:012x}"
        return f"{head[:8]}-{head[8:]}-7000-8000-{next(numbers):012x}"

    _ids_from(make)


def _one_index() -> None:
    """Polling looks a cursor up in all jobs: where this one has no such event, another may."""
    from reference_server.api import jobs, start

    original = jobs.read_page
    created = start.StartApi._create
    known: list[str] = []

    async def noted(self: start.StartApi, new: Any) -> Any:
        known.append(new.job_id)
        return await created(self, new)

    async def page(store: Any, run: Any, after: int, limit: int) -> Any:
        if after > run.head and run.ended:
            for job_id in reversed(known[-400:]):
                other = await store.run(job_id)
                if other is not None and other.head > after:
                    found = await original(store, other, after, limit)
                    return dataclasses.replace(found, run=run)
        return await original(store, run, after, limit)

    jobs.read_page = page
    start.StartApi._create = noted  # type: ignore[method-assign]


def _foreign_history() -> None:
    """A stream whose cursor is ahead of its job begins with another job that has got there."""
    from reference_server import stream

    logs: list[Any] = []

    def opened(it: stream.Stream) -> None:
        if it.log not in logs:
            logs.append(it.log)
            del logs[:-400]
        behind = [log for log in logs if log.ended and it.reader.cursor < log.head < 100]
        if it.log.ended and it.reader.cursor > it.log.head and behind:
            it.log = behind[-1]

    seams.on_opened(opened)


MUTANTS: list[Mutant] = [
    Mutant(
        name="iso-cache-without-the-job",
        breaks=("ISO-01",),
        follows=("ISO-04",),
        patch=_one_cache_for_all,
        about="Texts come from a cache that is keyed by their length and not by the job.",
    ),
    Mutant(
        name="iso-snapshot-shows-the-neighbours",
        breaks=("ISO-01",),
        follows=("SNAP-06",),
        patch=_recent_texts,
        about="Snapshots show the latest texts of all jobs, so that they change after the end.",
    ),
    Mutant(
        name="iso-missing-snapshot-is-empty",
        breaks=("ISO-02",),
        follows=("HDR-10", "BAD-03"),
        patch=_empty_snapshot,
        about="The snapshot of a job that does not exist is 200 and empty, for odd ids too.",
    ),
    Mutant(
        name="iso-malformed-is-422",
        breaks=("ISO-02",),
        follows=("BAD-03",),
        patch=_malformed_is_422,
        about="An id that is no UUID gets 422 where an unknown one gets 404; so do odd ids.",
    ),
    Mutant(
        name="iso-others-are-forbidden",
        breaks=("ISO-02",),
        patch=_forbidden,
        about="Another client's job answers 403, which tells that it exists.",
    ),
    Mutant(
        name="iso-counter-as-uuid",
        breaks=("ISO-03",),
        patch=partial(_counted, 1),
        about="Job ids are a counter in the shape of a UUID.",
    ),
    Mutant(
        name="iso-strides",
        breaks=("ISO-03",),
        patch=partial(_counted, 0x9E3779B97F4B),
        about="Job ids are multiples of an odd number, which look random and are a sequence.",
    ),
    Mutant(
        name="iso-uuid1",
        breaks=("ISO-03",),
        patch=partial(_ids_from, lambda: str(uuid.uuid1())),
        about="Job ids are UUIDs of version 1: time and a machine.",
    ),
    Mutant(
        name="iso-random-tail",
        breaks=("ISO-03",),
        patch=_tail_only,
        about="Only the last 32 bits of a job id are random.",
    ),
    Mutant(
        name="iso-time-as-uuid4",
        breaks=("ISO-03",),
        patch=_clocked,
        about="Job ids say version 4 and begin with the time.",
    ),
    Mutant(
        name="iso-counted-uuid7",
        breaks=("ISO-03",),
        patch=_counted_v7,
        about="Job ids are UUIDs of version 7 that count where they should be random.",
    ),
    Mutant(
        name="iso-one-index",
        breaks=("ISO-04",),
        follows=("REPLAY-08", "REPLAY-09", "POLL-02", "POLL-05"),
        patch=_one_index,
        about="Polling with a cursor ahead of the job goes on in a job that has such an event.",
    ),
    Mutant(
        name="iso-stream-of-another",
        breaks=("ISO-04",),
        follows=("REPLAY-08", "REPLAY-09", "HDR-12"),
        patch=_foreign_history,
        about="A stream with a cursor ahead of its job is the log of another job.",
    ),
]
