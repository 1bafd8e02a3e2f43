"""POLL: is polling the same log as the stream, page by page, and honest at its tail?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

from streamgauge.check import Run, check
from streamgauge.history import canonical
from streamgauge.recording import Recording
from streamgauge.verdict import Broken, Found, Unable

from .finals import FinalLog, final_log, job_of, scenario_log, unanswered
from .reading import Seen, exhibit, listed, stream_log, suffix

PROMPT_S = 5.0
"""Without `wait` nothing is waited for; the rest is the network's and a busy host's."""
HELD_MARGIN_S = 1.5
HELD_EARLY_S = 0.05
"""Timers may fire a little early."""
DEFAULT_LIMIT = 500
PAGE_LIMITS = (1, 7, 100, 1000)
BAD_LIMITS = ("0", "1001", "-1", "x", "1.5")
PROBLEM = "application/problem+json"
UNREADABLE = frozenset({414, 431})
"""What an HTTP server may say to a request line of 8 KiB before anybody reads the cursor."""
VIEWS = ("log", "live", "quiet", "texts", "starts", "inputs")


def _body(recording: Recording) -> dict[str, Any]:
    body = recording.json
    return body if recording.status == 200 and isinstance(body, dict) else {}


def _cursor(recording: Recording) -> str:
    """A page's cursor as text, "" where it stands before the first event."""
    cursor = _body(recording).get("cursor")
    return "" if cursor in (None, 0, "0", "") and not isinstance(cursor, bool) else str(cursor)


def pages(run: Run, *scenarios: str) -> Iterator[Recording]:
    """All whole pages that were fetched by polling, oddly asked ones left out."""
    for name in scenarios:
        for recording in run.bundle(name).recordings if name in run.evidence.bundles else ():
            body = recording.json
            polled = isinstance(body, dict) and "has_more" in body
            if recording.status == 200 and polled and not recording.label.startswith("malformed"):
                yield recording


def _refusal(recording: Recording) -> str:
    """Why a well-formed poll brought no page, "" where it did or nobody can be blamed."""
    if not recording.answered:
        return unanswered(recording)
    if recording.status != 200:
        return f"status {recording.status} instead of 200"
    if not isinstance(recording.json, dict) or not isinstance(recording.json.get("events"), list):
        return "the body has no list of events"
    return ""


@check("POLL-01", "log")
def test_every_cursor_gives_its_suffix(run: Run) -> Found:
    """If one polls after an event, then one gets exactly the events behind it, from the next on."""
    bundle, log = run.bundle("log"), scenario_log(run, "log")
    asked = [(r, str(r.info.get("after", "")), 1000) for r in bundle.all("after")]
    asked = [each for each in asked if each[1] != log.terminal.id]
    asked += [(r, "", DEFAULT_LIMIT) for r in bundle.all("poll whole")]
    judged = 0
    for recording, after, limit in asked:
        expected = suffix(log.events, after) if after else log.events
        fault = _refusal(recording)
        if expected is None or (not recording.answered and not fault):
            continue
        judged += 1
        if fault := fault or _suffix_fault(recording, expected, limit):
            raise Broken(
                f"polling {f'after {after!r}' if after else 'without a cursor'}: {fault}",
                recording,
                exhibit(log.recording, expected[0] if expected else None, "the stream's log"),
                count=judged,
                what="cursors polled",
            )
    if not judged:
        raise Unable(bundle.unable or "no cursor was polled")
    return Found(judged, "cursors polled", f"the log has {len(log.events)} events")


def _suffix_fault(recording: Recording, expected: Sequence[Seen], limit: int) -> str:
    got, wanted = [e.id for e in listed(recording)], [event.id for event in expected]
    for position, (shown, due) in enumerate(zip(got, wanted, strict=False)):
        if shown != due:
            return f"event {shown!r} stands where {due!r} belongs (position {position + 1})"
    if len(got) > len(wanted):
        return f"event {got[len(wanted)]!r} stands behind the end of the log"
    if len(got) < min(limit, len(wanted)):
        due = wanted[len(got)]
        if not got:
            return f"the page is empty though event {due!r} and more come after that"
        if not _body(recording).get("has_more"):
            return f"the page ends with {got[-1]!r} and says has_more = false, but {due!r} follows"
    return ""


@check("POLL-02", *VIEWS)
def test_polling_shows_the_log_of_the_stream(run: Run) -> Found:
    """If an event stands in a page, then its id, type, time and data are those of the stream."""
    logs: dict[str, FinalLog | None] = {}
    known: dict[str, dict[str, Seen]] = {}
    compared = 0
    for recording in pages(run, *VIEWS):
        job = job_of(recording)
        if job not in logs:
            log = logs[job] = final_log(run, job)
            known[job] = {event.id: event for event in log.events} if log else {}
        if (log := logs[job]) is None:
            continue
        for event in listed(recording):
            compared += 1
            twin = known[job].get(event.id)
            if twin is None and log.predates(event.id):
                continue
            if fault := _unlike(twin, event):
                raise Broken(
                    f"{recording.label}: event {event.id!r} {fault}",
                    recording,
                    exhibit(log.recording, twin, "the same event on the stream"),
                    count=compared,
                    what="events compared with the stream",
                )
    if not compared:
        raise Unable("no page with events was fetched of a job whose whole log is known")
    return Found(compared, "events compared with the stream")


def _unlike(twin: Seen | None, event: Seen) -> str:
    if twin is None:
        return f"({event.type}) is in no replay of the finished job"
    for name in ("type", "timestamp", "data"):
        polled, streamed = (canonical(getattr(each, name)) for each in (event, twin))
        if polled != streamed:
            place = next(
                (n for n, (a, b) in enumerate(zip(polled, streamed, strict=False)) if a != b), 0
            )
            shown = [text[max(0, place - 20) : place + 60] for text in (polled, streamed)]
            return f"has another {name} than on the stream: {shown[0]} instead of {shown[1]}"
    return ""


@check("POLL-03", "log", "live", "quiet")
def test_the_tail_is_empty_and_prompt(run: Run) -> Found:
    """If nothing comes after a cursor, then the page is empty at once, with this very cursor."""
    tails = [
        *run.bundle("log").all("poll at the end"),
        *(run.bundle("quiet").all("poll at the tail") if "quiet" in run.evidence.bundles else ()),
    ]
    judged = 0
    for recording in tails:
        fault = _refusal(recording)
        if not recording.answered and not fault:
            continue
        judged += 1
        if fault := fault or _tail_fault(recording):
            raise Broken(
                f"{recording.label} (after {recording.info.get('after')!r}, where nothing follows "
                f"yet): {fault}",
                recording,
                count=judged,
                what="pages at the tail",
            )
    if not judged:
        raise Unable(run.bundle("log").unable or "nothing was polled at the tail")
    return Found(judged, "pages at the tail", _done_is_true(run, judged))


def _tail_fault(recording: Recording) -> str:
    took, after = recording.ended_at - recording.sent_at, str(recording.info.get("after"))
    shown = [event.id for event in listed(recording)]
    if after in shown:
        raise Unable(f"polling after {after!r} shows {after!r} once more (see POLL-01)")
    if took > PROMPT_S:
        return f"answered only after {took:.1f} s, though no wait was asked for"
    if not shown and _cursor(recording) != after:
        return f"the cursor is {_body(recording).get('cursor')!r}, not the one that was asked with"
    return ""


def _done_is_true(run: Run, judged: int) -> str:
    """The half about `done`, on every page whose place in the log is known."""
    told = 0
    log_of = cache(partial(final_log, run))
    for recording in pages(run, "log", "live", "quiet"):
        log = log_of(job_of(recording))
        if log is None:
            continue
        shown, after = listed(recording), str(recording.info.get("after") or "")
        reached = shown[-1].id if shown else after
        at_end, done = reached == log.terminal.id, _body(recording).get("done")
        told += 1
        if done is not at_end and (at_end or log.place(reached) is not None or not reached):
            why = "the terminal event" if at_end else "which is not the end of the log"
            raise Broken(
                f"{recording.label}: done is {done!r} on a page that reaches {reached or 0!r}, "
                f"{why} (the terminal event is {log.terminal.id!r})",
                recording,
                exhibit(log.recording, log.terminal, "the terminal event"),
                count=judged + told,
                what="pages whose done was judged",
            )
    return f"done was right on {told} pages"


@check("POLL-04", "log")
def test_pages_add_up_to_the_log(run: Run) -> Found:
    """If the pages of one limit are put together, then they are the log; wrong limits get 400."""
    bundle, log = run.bundle("log"), scenario_log(run, "log")
    fetched = 0
    for limit in PAGE_LIMITS:
        together: list[str] = []
        own = bundle.all(f"page {limit}")
        for recording in own:
            fetched += 1
            shown = [event.id for event in listed(recording)]
            fault = _refusal(recording)
            if shown and shown[0] == recording.info.get("after"):
                raise Unable(
                    f"polling after {shown[0]!r} shows {shown[0]!r} once more (see POLL-01)"
                )
            due = log.ids[len(together) : len(together) + len(shown)]
            if not fault and len(shown) > limit:
                fault = f"{len(shown)} events instead of {limit} at most"
            if not fault and shown != due:
                wrong = next((n for n, i in enumerate(shown) if [i] != due[n : n + 1]), 0)
                expected = due[wrong] if wrong < len(due) else "nothing (the log has ended)"
                fault = f"event {shown[wrong]!r} where {expected!r} belongs"
            last = recording is own[-1]
            if not fault and last and not _body(recording).get("has_more"):
                rest = log.ids[len(together) + len(shown) :]
                fault = f"has_more is false, but {rest[0]!r} follows" if rest else ""
            if not fault and not shown and _body(recording).get("has_more"):
                fault = "an empty page says has_more: whoever follows it turns in a circle"
            if fault:
                raise Broken(
                    f"page {recording.label.rpartition('/')[2]} with limit={limit} "
                    f"(after {recording.info.get('after', 0)!r}): {fault}",
                    recording,
                    log.recording,
                    count=fetched,
                    what="pages put together",
                )
            together += shown
    if not fetched:
        raise Unable(bundle.unable or "no pages were fetched")
    return Found(fetched, "pages put together", _limits(run, fetched))


def _limits(run: Run, fetched: int) -> str:
    """The half about the bounds of `limit`."""
    asked = [(value, run.bundle("log").get(f"limit {value}")) for value in BAD_LIMITS]
    refused = []
    for value, recording in asked:
        if recording is None or not (recording.answered or unanswered(recording)):
            continue
        if recording.status != 400:
            raise Broken(
                f"limit={value} was answered "
                f"{unanswered(recording) or f'{recording.status} instead of 400'} (1 to 1000 are "
                "allowed)",
                recording,
                count=fetched,
                what="pages put together",
            )
        refused.append(value)
    return f"refused as they should: limit {', '.join(refused)}" if refused else "limits not judged"


@check("POLL-05", "log")
def test_stream_and_polling_share_their_cursors(run: Run) -> Found:
    """If a cursor comes from one view, then the other one goes on from it."""
    bundle, log = run.bundle("log"), scenario_log(run, "log")
    judged = 0
    for recording in bundle.all("after"):
        if recording.answered and recording.status != 200:
            raise Broken(
                f"the stream's id {recording.info.get('after')!r} as `after`: status "
                f"{recording.status} instead of 200",
                recording,
                log.recording,
                count=judged,
                what="cursors carried over",
            )
        judged += recording.answered
    for recording in pages(run, "log"):
        cursor = _cursor(recording)
        if cursor and log.place(cursor) is None and not log.predates(cursor):
            raise Broken(
                f"{recording.label}: the page's cursor {cursor!r} is no id of the stream (which "
                f"runs from {log.events[0].id!r} to {log.terminal.id!r})",
                recording,
                log.recording,
                count=judged,
                what="cursors carried over",
            )
        resumed = bundle.get(f"suffix {cursor}") if cursor else None
        judged += _resumes(run, log, recording, resumed, judged)
    return Found(judged, "cursors carried over")


def _resumes(
    run: Run, log: FinalLog, page: Recording, resumed: Recording | None, judged: int
) -> int:
    """Whether the stream went on behind a page's cursor."""
    if resumed is None or not resumed.answered:
        return 0
    cursor = _cursor(page)
    if not resumed.is_stream:
        raise Broken(
            f"the page's cursor {cursor!r} as Last-Event-ID: status {resumed.status}, not a stream",
            resumed,
            page,
            count=judged,
            what="cursors carried over",
        )
    shown, due = stream_log(resumed, run.profile), suffix(log.events, cursor)
    if due and shown and shown[0].id != due[0].id:
        raise Unable(
            f"the stream does not go on behind the cursor {cursor!r}, which is an id of its own "
            "(see REPLAY-04)"
        )
    return 1


@check("POLL-06", "inputs")
def test_malformed_parameters_are_refused(run: Run) -> Found:
    """If a parameter is malformed, then it is refused as declared; unknown ones are ignored."""
    bundle = run.bundle("inputs")
    judged = 0
    for recording in [*bundle.all("malformed poll"), *bundle.all("poll")]:
        if not recording.answered and not unanswered(recording):
            continue
        judged += 1
        name = recording.label.removeprefix("malformed ").removeprefix("poll ")
        fault = _torture_fault(run, recording, name)
        if fault:
            query = recording.request.url.partition("?")[2]
            raise Broken(
                f"{name} (?{query if len(query) <= 60 else query[:57] + '...'}): {fault}",
                recording,
                count=judged,
                what="odd parameters",
            )
    if not judged:
        raise Unable(bundle.unable or "no odd parameters could be sent")
    return Found(judged, "odd parameters")


def _torture_fault(run: Run, recording: Recording, name: str) -> str:
    status, declared = recording.status, run.profile.declared
    if status is None:
        return unanswered(recording)
    if status >= 500:
        return f"status {status}: no input of a client may lead to a server error"
    opaque = run.profile.ids.order == "opaque"
    if name == "empty after":
        return _refusal(recording) or _first_fault(run, recording)
    if name == "unknown parameter":
        return "" if opaque else _refusal(recording)
    if name == "empty wait" and not _has_long_poll(run):
        return ""  # there it is an unknown parameter
    if name in ("empty limit", "empty wait"):
        return _problem_fault(recording, (400,))
    if opaque and name != "repeated":
        return ""  # what is malformed is the target's own secret
    due = (
        declared.repeated_cursor_status if name == "repeated" else declared.malformed_cursor_status
    )
    if due == 200:
        return _refusal(recording) or ("" if name == "repeated" else _first_fault(run, recording))
    if name == "8 KiB" and status in UNREADABLE:
        return ""
    return _problem_fault(recording, (due,))


def _has_long_poll(run: Run) -> bool:
    absent = run.profile.capabilities.long_poll is False
    return not absent and not run.evidence.found.get("long_poll", "not looked for")


def _problem_fault(recording: Recording, due: tuple[int, ...]) -> str:
    if recording.status not in due:
        return f"status {recording.status} instead of {due[0]}"
    if recording.media_type != PROBLEM:
        return f"status {recording.status}, but as {recording.media_type!r} instead of {PROBLEM}"
    if not isinstance(recording.json, dict):
        return f"status {recording.status}, but its body is not a JSON object"
    return ""


def _first_fault(run: Run, recording: Recording) -> str:
    """Whether a page begins with the log."""
    due = scenario_log(run, "inputs").events
    shown = listed(recording)
    if not shown or shown[0].id != due[0].id:
        got = repr(shown[0].id) if shown else "no event at all"
        return f"the page begins with {got} instead of {due[0].id!r}"
    return ""


@check("POLL-07", "quiet", part="long_poll")
def test_wait_holds_the_answer(run: Run) -> Found:
    """If `wait` is given, then the answer comes with news or when the time is over, not else."""
    bundle = run.bundle("quiet")
    held = [*run.bundle("probe").all("held poll"), *bundle.all("poll held")]
    margin = HELD_MARGIN_S + run.evidence.loop_lag_s
    judged, longest = 0, 0.0
    for recording in held:
        if not recording.answered and not unanswered(recording):
            continue
        judged += 1
        took = recording.ended_at - recording.sent_at
        longest = max(longest, took)
        if fault := _held_fault(run, recording, took, margin):
            raise Broken(
                f"{recording.label} (wait={recording.info.get('wait')}, after "
                f"{recording.info.get('after')!r}): {fault}",
                recording,
                bundle.get("reader"),
                count=judged,
                what="held polls",
            )
    if not judged:
        raise Unable(bundle.unable or "no poll was held")
    return Found(judged, "held polls", f"the longest was held for {longest:.1f} s")


def _held_fault(run: Run, recording: Recording, took: float, margin: float) -> str:
    if fault := _refusal(recording):
        return fault
    wait, shown = float(recording.info.get("wait", 0)), listed(recording)
    if shown and shown[0].id == recording.info.get("after"):
        raise Unable(f"polling after {shown[0].id!r} shows it once more (see POLL-01)")
    if took > wait + margin:
        return f"answered after {took:.2f} s: later than was asked for"
    if not shown and took < wait - HELD_EARLY_S:
        return f"answered empty-handed after {took:.2f} s, before the time was over"
    reader = run.bundle("quiet").get("reader")
    if not shown or reader is None or job_of(reader) != job_of(recording) or not reader.is_stream:
        return ""
    arrived = [e.at for e in stream_log(reader, run.profile) if e.id == shown[0].id]
    if arrived and recording.ended_at > max(arrived[0], recording.sent_at) + margin:
        late = recording.ended_at - arrived[0]
        return f"event {shown[0].id!r} came {late:.2f} s after a reader had it: the wait slept on"
    return ""
