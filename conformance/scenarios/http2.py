"""HTTP/2: the same log as on HTTP/1.1, and streams that share one connection without harm.

Windows are granted, and streams reset, exactly as each part needs it. On a connection whose streams
begin without a window, streams stay open without a byte of their bodies: so a hundred of them cost
little, whatever the job's log is.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamgauge.h2client import WIDE, H2Connection, H2Stream
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import End
from streamgauge.verdict import Unable

from .ending import natural_s
from .over import until_over
from .shapes import TINY, UNICODE_TEXT, script

ACCEPT = (("Accept", "text/event-stream"), ("Cache-Control", "no-store"))
LOG = script(24, 30, payload=UNICODE_TEXT)
STARVED = script(300, 4, payload_bytes=4096)
"""More than a server keeps for a stream that cannot send."""
STARVED_WINDOW = 20_000
SIBLING = script(40, 100)
SLOTS = 100
SLOTS_STATED_MAX = 256
"""A stated limit up to this is used up, to see what becomes of the surplus."""
SURPLUS = 3
STREAMS_MIN = 8
"""So many streams the parts of this scenario have open together."""
FIRST_BYTES = 1024
CANCEL_LIMIT_MAX = 1024
"""A stated limit up to this is passed by streams that were opened and cancelled."""
AT_ONCE = 40
ANSWER_S = 6.0
HEADS_S = 2.0
NATURAL_END_S = 60.0


async def http2(lab: Lab) -> None:
    """Look whether HTTP/2 is spoken, and if so, use it in every way that the rules are about."""
    if lab.profile.capabilities.http2 is False:
        return
    looked = H2Connection(lab.client, "first")
    seen = await looked.open()
    try:
        lab.facts["offered"] = looked.offered
        lab.shared.found["http2"] = "" if looked.offered else seen
        if seen:
            raise Unable(f"HTTP/2 was not spoken: {seen}")
        if (looked.max_streams or STREAMS_MIN) < STREAMS_MIN:
            raise Unable(f"a limit of {looked.max_streams} streams leaves no room for siblings")
        job = await _same_log(lab, looked)
    finally:
        await _close(lab, looked)
    await _windows(lab, job)
    async with lab.shared.heavy:
        await _slots(lab, job)
        await _cancels(lab, job)


@asynccontextmanager
async def _connected(lab: Lab, name: str) -> AsyncIterator[H2Connection]:
    """A connection of its own whose streams begin without a window."""
    connection = H2Connection(lab.client, name, initial_window=0)
    seen = await connection.open()
    if seen:
        raise Unable(f"a further HTTP/2 connection could not be made: {seen}")
    try:
        yield connection
    finally:
        await _close(lab, connection)


async def _close(lab: Lab, connection: H2Connection) -> None:
    _note(lab, connection)
    await connection.close()


def _note(lab: Lab, connection: H2Connection) -> None:
    """Note what the connection was like, once: before the suite does anything to end it."""
    lab.facts.setdefault("connections", {}).setdefault(connection.name, connection.facts)


async def _to_the_end(lab: Lab, stream: H2Stream, within_s: float) -> None:
    """Wait for the terminal event, then for the end of the stream that has to follow."""
    if await stream.until(lab.ended, within_s):
        await stream.finish(lab.profile.declared.close_s + 0.5)
    else:
        stream.reset(End.TIMEOUT)


def _stream(
    lab: Lab, connection: H2Connection, job: Job, label: str, window: int | None = None
) -> H2Stream:
    """Open a job's stream; `window` is what it may send."""
    info = {"job": job.job_id, "after": None, "window": window}
    stream = connection.request(job.stream, label=label, headers=ACCEPT, info=info)
    if window:
        stream.grant(window)
    lab.follow(stream)
    return stream


async def _same_log(lab: Lab, connection: H2Connection) -> Job:
    """One job, read over both versions, live and again; and answers that are no streams."""
    close_s = lab.profile.declared.close_s
    if lab.shared.shaped:
        job = await lab.start("start", LOG)
        bound_s = 15.0
    else:
        job, first = lab.natural()
        lab.adopt(first, job.started)
        bound_s = natural_s(lab, NATURAL_END_S, 40.0)
    reader = _stream(lab, connection, job, "h2 reader")
    other = lab.stream(job, "h1 reader", bound_s=bound_s + close_s + 1.0)
    answers = [
        connection.request(job.snapshot, label="h2 snapshot"),
        connection.request(job.events, label="h2 poll"),
        connection.request(
            lab.client.url(lab.profile.api.stream.replace("{job_id}", str(uuid.uuid4()))),
            label="h2 unknown job",
            headers=ACCEPT,
        ),
    ]
    if lab.shared.shaped:
        headers = lab.start_headers(lab.new_client())
        url, body = lab.client.url(lab.profile.api.start), lab.start_body(TINY)
        answers.append(
            connection.request(url, label="h2 start", method="POST", headers=headers, body=body)
        )
    lab.follow(*answers)
    await asyncio.gather(*(answer.finish(ANSWER_S) for answer in answers))
    await other.until(lab.ended, bound_s)
    over = lab.ended(other) or await until_over(lab, job, 5.0)
    await _to_the_end(lab, reader, close_s)
    if not over:
        raise Unable("the job did not end in time for this")
    replay = _stream(lab, connection, job, "h2 replay")
    await asyncio.gather(_to_the_end(lab, replay, 10.0), lab.read(job, "h1 replay", bound_s=10.0))
    return job


async def _windows(lab: Lab, finished: Job) -> None:
    """Two streams have no window while two others, and a question, go on beside them."""
    job = await lab.start("starved start", STARVED) if lab.shared.shaped else finished
    async with _connected(lab, "windows") as connection:
        siblings = [_stream(lab, connection, job, "sibling 0", WIDE)]
        starved = [
            _stream(lab, connection, job, "starved 0", 0),
            _stream(lab, connection, job, "starved 1", STARVED_WINDOW),
        ]
        await starved[0].until(lambda stream: stream.status is not None, ANSWER_S)
        await starved[1].until(lambda stream: stream.size >= STARVED_WINDOW, 3.0)
        siblings.append(_stream(lab, connection, job, "sibling 1", WIDE))
        question = connection.request(job.snapshot, label="sibling question")
        question.grant(WIDE)
        lab.follow(question)
        await asyncio.gather(
            question.finish(ANSWER_S), *(_to_the_end(lab, each, 12.0) for each in siblings)
        )
        for stream in starved:
            stream.info["held"] = stream.size
            stream.info["held_open"] = stream.end is None
            stream.grant(WIDE)
        await asyncio.gather(*(_to_the_end(lab, stream, 8.0) for stream in starved))


async def _slots(lab: Lab, job: Job) -> None:
    """As many streams at once as the rule asks for, and some beyond a stated limit."""
    async with _connected(lab, "slots") as connection:
        limit = connection.max_streams
        count = SLOTS
        if limit is not None and (limit < SLOTS or limit <= SLOTS_STATED_MAX):
            count = max(limit, 1)
        streams = [_stream(lab, connection, job, f"slot {n}", 0) for n in range(count)]
        await _answered(streams, HEADS_S)
        surplus = []
        if limit == count:
            surplus = [_stream(lab, connection, job, f"surplus {n}", 0) for n in range(SURPLUS)]
            await _answered(surplus, HEADS_S)
            lab.facts["surplus"] = [_said(stream) for stream in surplus]
        for stream in streams:
            stream.info["open_at_once"] = stream.end is None
            stream.grant(FIRST_BYTES)
        await _each(streams, lambda stream: stream.size > 0, 2 * ANSWER_S)
        lab.facts.update(
            slots=count,
            slots_answered=sum(stream.status == 200 for stream in streams),
            slots_fed=sum(stream.size > 0 for stream in streams),
        )
        _note(lab, connection)
        for stream in (*streams, *surplus):
            stream.reset()


async def _cancels(lab: Lab, finished: Job) -> None:
    """Open and cancel more streams than may be open at once, beside one that goes on."""
    job = await lab.start("cancel start", SIBLING) if lab.shared.shaped else finished
    async with _connected(lab, "cancels") as connection:
        limit = connection.max_streams
        passes = limit is not None and limit <= CANCEL_LIMIT_MAX
        total = (limit or 0) + 20 if passes else SLOTS + 20
        at_once = min(AT_ONCE, max(1, (limit or AT_ONCE) - 1))
        sibling = _stream(lab, connection, job, "sibling of cancels", WIDE)
        made = 0
        lab.facts.update(cancel_limit=limit, cancel_total=total, cancel_stuck=[])
        while made < total and not connection.closed:
            wave = [_open(connection, finished, made + n) for n in range(at_once)]
            await _answered(wave, ANSWER_S)
            stuck = [stream for stream in wave if stream.status is None]
            for stream in wave:
                stream.reset()
            made += len(wave)
            if stuck:
                # Fewer at once may be had than were asked for; or the slots were never freed.
                await asyncio.sleep(1.0)
                again = _open(connection, finished, made)
                await _answered([again], ANSWER_S)
                if again.status != 200:
                    lab.follow(again)
                    lab.facts["cancel_stuck"] = [_said(again)]
                again.reset()
                break
        lab.facts["cancelled"] = made
        after = _stream(lab, connection, finished, "after cancels", WIDE)
        await asyncio.gather(_to_the_end(lab, after, ANSWER_S), _to_the_end(lab, sibling, 12.0))


def _open(connection: H2Connection, job: Job, number: int) -> H2Stream:
    """A stream that is going to be cancelled; its recording is not kept."""
    info = {"job": job.job_id, "after": None}
    return connection.request(job.stream, label=f"cancel {number}", headers=ACCEPT, info=info)


async def _answered(streams: list[H2Stream], within_s: float) -> None:
    """Wait for the heads of all. Proxies may keep some back until there is a window."""
    await _each(streams, lambda stream: stream.status is not None, within_s)


async def _each(streams: list[H2Stream], seen: object, within_s: float) -> None:
    assert callable(seen)
    await asyncio.gather(*(stream.until(seen, within_s) for stream in streams))


def _said(stream: H2Stream) -> str:
    """What became of a stream, in a few words."""
    if stream.status is not None:
        return f"status {stream.status}"
    if stream.end in (None, End.LEFT):
        return "no answer"
    return stream.error or (stream.end.value if stream.end else "")
