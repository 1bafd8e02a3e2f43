"""The first look: is there a target, can its jobs be shaped, which optional parts does it have."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence

from streamgauge.collect import Unreachable
from streamgauge.gates import keep_gates
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.limits import LEFT_OUT
from streamgauge.recording import End, Recording, outcome
from streamgauge.scenario import together

from .given import look_for_reading, the_only_stream
from .shapes import PROBE_EVENTS, PROBE_TEXT, script

READER = "reader 0"
"""The first reader of the first job: where jobs cannot be shaped, it is read on by `live`."""
NATURAL_BOUND_S = 3600.0
NOT_SHAPED_AFTER_S = 2.0
COUNT_MARGIN = 3
"""A target that emits an event too many or too few has a fault, but does follow scripts."""
SHAPED_WITHIN_S = 6.0
LOOK_EVERY_S = 0.25
FIRST_EVENT_WITHIN_S = 30.0
"""From the start of the target's own job; what is silent for longer is not waited for again."""
QUIET_S = 2.5
HELD_S = 1.0
VIEW_TRIES = 3
VIEW_RETRY_S = 0.3
PARTS = ("shape", "cancel", "wait_for_subscriber", "idempotency", "long_poll", "validators")


async def probe(lab: Lab) -> None:
    """Start a job as a script would, see whether the script was followed, then look for parts."""
    lab.expect("a first answer of the target", 15.0)
    shared = lab.shared
    if shared.client.reads_only or lab.profile.api.start_streams:
        await the_only_stream(lab)
        return
    job = await _start_shaped(lab)
    if job is not None:
        shared.shaped = await _followed(lab, job)
    if shared.shaped:
        shared.found["shape"] = ""
    else:
        shared.found.setdefault("shape", "a start with `pipeline` is accepted, but not followed")
        job = await _natural(lab, job)
    if job is None:
        for part in PARTS:
            shared.found.setdefault(part, "no job could be started")
        return
    looks = [_look_for_views(lab, job), look_for_reading(lab)]
    for jobs, parts, look in (
        (2, ("idempotency", "cancel"), _look_for_keys),
        (2 * shared.shaped, ("wait_for_subscriber", "long_poll"), _look_for_waiting),
    ):
        if _affordable(lab, jobs, parts):
            looks.append(look(lab))
    await together(*looks)


def _affordable(lab: Lab, jobs: int, parts: Sequence[str]) -> bool:
    """Whether so many jobs may be spent on looking for parts: at most a quarter of what is left."""
    allowance = lab.shared.jobs
    if not allowance.limited or jobs * 4 <= allowance.left:
        return True
    for part in parts:
        lab.shared.found[part] = f"{LEFT_OUT} (--max-jobs {allowance.most})"
    return False


async def _start_shaped(lab: Lab) -> Job | None:
    shape = script(PROBE_EVENTS, payload=PROBE_TEXT)
    if lab.profile.capabilities.shape is False:
        lab.shared.found["shape"] = "the profile says shape = false"
        return None
    answer = await lab.post_start("start shaped", shape, client_id=str(uuid.uuid4()))
    if not answer.answered:
        raise Unreachable(unreachable(lab.client.base_url, answer))
    if not 200 <= (answer.status or 0) < 300:
        lab.shared.found["shape"] = f"a start with `pipeline` answers {answer.status}"
    return lab.job_of(answer)


async def _followed(lab: Lab, job: Job) -> bool:
    """Whether the job emitted what the script asked for, as whichever view shows it first.

    A target whose streams are late, cut or never live still has jobs that can be shaped.
    """
    live = lab.stream(job, READER, bound_s=NATURAL_BOUND_S, own=False)
    lab.shared.natural_reader = live
    began, followed, number = lab.now(), False, 0
    while lab.now() < began + SHAPED_WITHIN_S:
        page = await lab.poll(job, f"shaped poll {number}")
        texts, over = _listed_texts(page)
        if not over and await live.until(lab.ended, LOOK_EVERY_S):
            texts = [b.event.data for b in live.blocks if b.event is not None and lab.is_log(b)]
            over = True
        echoed = any(PROBE_TEXT in text for text in texts)
        if over:
            followed = echoed and abs(len(texts) - PROBE_EVENTS) <= COUNT_MARGIN
            break
        if texts and not echoed and lab.now() > began + NOT_SHAPED_AFTER_S:
            break
        number += 1
    if followed:
        await live.until(lab.ended, LOOK_EVERY_S)
        lab.adopt(live, job.started)
    return followed


def _listed_texts(page: Recording) -> tuple[list[str], bool]:
    """The events of a page as texts, and whether the job is over."""
    body = page.json
    events = body.get("events") if isinstance(body, dict) else None
    if page.status != 200 or not isinstance(events, list):
        return [], False
    return [json.dumps(event, ensure_ascii=False) for event in events], bool(body.get("done"))


async def _natural(lab: Lab, job: Job | None) -> Job | None:
    """A job that runs as the target's own jobs do, read from its first moment."""
    shared = lab.shared
    if job is None:
        answer = await lab.post_start("start plain", client_id=str(uuid.uuid4()))
        if not answer.answered:
            raise Unreachable(unreachable(lab.client.base_url, answer))
        job = lab.job_of(answer)
        if job is None:
            return None
        shared.natural_reader = lab.stream(job, READER, bound_s=NATURAL_BOUND_S, own=False)
    shared.natural = job
    if shared.natural_reader is not None:
        shared.gatekeeper = asyncio.create_task(keep_gates(shared, job))
        left_s = max(0.0, job.started.ended_at + FIRST_EVENT_WITHIN_S - lab.now())
        lab.expect("the first event of the target's own job", left_s)
        seen = await shared.natural_reader.until(lab.seen(1), left_s)
        if not seen and shared.natural_reader.end is None and await _has_no_events(lab, job):
            shared.silent = (
                f"the target's own job has emitted nothing for {FIRST_EVENT_WITHIN_S:.0f} s"
            )
    return job


async def _has_no_events(lab: Lab, job: Job) -> bool:
    """Whether the other views say so, too: a stream that is held back is a fault to be judged."""
    views = [await lab.poll(job, "silent poll"), await lab.snapshot(job, "silent snapshot")]
    bodies = [view.json for view in views if view.status == 200]
    lists = [body["events"] for body in bodies if isinstance(body, dict) and "events" in body]
    return bool(lists) and not any(lists)


async def _look_for_keys(lab: Lab) -> None:
    """Idempotency and cancel, on a job of their own."""
    found = lab.shared.found
    capabilities = lab.profile.capabilities
    if capabilities.idempotency is False and not lab.shared.has("cancel"):
        return  # a target's own jobs cost something: none is started to look for nothing
    client, key = str(uuid.uuid4()), str(uuid.uuid4())
    shape = script(12, 100) if lab.shared.shaped else None
    first = await lab.post_start("key first", shape, client_id=client, key=key)
    again = await lab.post_start("key again", shape, client_id=client, key=key)
    job, twin = lab.job_of(first), lab.job_of(again)
    if job is None:
        found["idempotency"] = f"a start with Idempotency-Key: {outcome(first)}"
        found["cancel"] = "no job could be started to cancel it"
        return
    same = twin is not None and twin.job_id == job.job_id
    found["idempotency"] = "" if same else "the same Idempotency-Key made two jobs"
    if not lab.profile.api.cancel:
        found["cancel"] = "the profile names no way to cancel"
        return
    answer = await lab.cancel(job, "cancel")
    accepted = answer.status is not None and 200 <= answer.status < 300
    found["cancel"] = "" if accepted else f"POST {lab.profile.api.cancel}: {outcome(answer)}"
    if accepted and twin is not None and not same:
        await lab.cancel(twin, "cancel twin")


async def _look_for_waiting(lab: Lab) -> None:
    """Does a job wait for its first subscriber? Asked of the snapshot, which is no subscriber."""
    found = lab.shared.found
    if not lab.shared.shaped:
        found["wait_for_subscriber"] = "not looked for: this target's jobs cannot be shaped"
        found["long_poll"] = "not looked for: this target's jobs cannot be shaped"
        return
    await together(_look_for_subscriber_wait(lab), _look_for_long_poll(lab))


async def _look_for_subscriber_wait(lab: Lab) -> None:
    found = lab.shared.found
    answer = await lab.post_start("waiting", script(6, 50), client_id=str(uuid.uuid4()), wait=True)
    job = lab.job_of(answer)
    if job is None:
        found["wait_for_subscriber"] = f"a start with wait_for_subscriber: {outcome(answer)}"
        return
    await asyncio.sleep(HELD_S)
    emitted = _head(await lab.snapshot(job, "waiting snapshot"))
    found["wait_for_subscriber"] = (
        f"the job emitted {emitted} events without a subscriber" if emitted else ""
    )


async def _look_for_long_poll(lab: Lab) -> None:
    found = lab.shared.found
    job = await lab.start("pausing", script(6, 0, pauses=[[3, int(QUIET_S * 1000)]]))
    after = await _pausing_at(lab, job)
    began = lab.now()
    page = await lab.poll(job, "held poll", after=after, wait=HELD_S)
    held = lab.now() - began
    if page.status != 200:
        found["long_poll"] = f"polling with wait: {outcome(page)}"
    else:
        found["long_poll"] = "" if held > HELD_S * 0.8 else f"wait=1 answered after {held:.2f} s"


async def _pausing_at(lab: Lab, job: Job) -> str:
    """The cursor at which the job pauses, told by polling: a stream may not be live."""
    after = "0"
    for number in range(20):
        body = (await lab.poll(job, f"pausing poll {number}")).json
        if not isinstance(body, dict):
            break
        after = str(body.get("cursor"))
        events = body.get("events")
        if isinstance(events, list) and len(events) >= 3:
            break
        await asyncio.sleep(0.05)
    return after


async def _look_for_views(lab: Lab, job: Job) -> None:
    found, capabilities = lab.shared.found, lab.profile.capabilities
    if capabilities.polling == "auto":
        body = (await lab.poll(job, "looked-for poll")).json
        there = isinstance(body, dict) and isinstance(body.get("events"), list)
        found["polling"] = "" if there else f"GET {lab.profile.api.events} lists no events"
    snapshot = await lab.snapshot(job, "snapshot")
    for number in range(VIEW_TRIES):
        if snapshot.status == 200:
            break
        # A snapshot that comes late is a fault of its own, and no reason to miss its ETag.
        await asyncio.sleep(VIEW_RETRY_S)
        snapshot = await lab.snapshot(job, f"snapshot again {number}")
    if capabilities.snapshot == "auto":
        body = snapshot.json
        there = snapshot.status == 200 and isinstance(body, dict) and "events" in body
        found["snapshot"] = "" if there else f"GET {lab.profile.api.snapshot}: no snapshot"
    lab.shared.found["validators"] = "" if snapshot.header("etag") else "snapshots carry no ETag"


def _head(snapshot: Recording) -> int:
    body = snapshot.json
    events = body.get("events") if isinstance(body, dict) else None
    return len(events) if isinstance(events, list) else 0


def unreachable(base_url: str, answer: Recording) -> str:
    """One line for the user: what was wrong with the address."""
    said = answer.error
    if "CERTIFICATE_VERIFY_FAILED" in said.upper() or "certificate" in said.lower():
        return f"{base_url}: the TLS certificate is not valid for this address ({said})"
    if answer.end is End.REFUSED:
        return f"{base_url}: no connection ({said})"
    if answer.end is End.TIMEOUT:
        return f"{base_url}: accepts connections but did not answer a start within 10 s"
    return f"{base_url}: does not speak HTTP there ({said or answer.end.value})"
