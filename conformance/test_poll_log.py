"""POLL: page by page, polling gives the log of the stream, with nothing missing or twice.

Polling is what is left to a client whose network lets no stream through. It has to be the same log,
or such clients see another job.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamgauge.check import Run, check
from streamgauge.history import canonical
from streamgauge.recording import Recording
from streamgauge.verdict import Broken, Found, Unable

from .comparing import suffix
from .finals import FinalLog, final_log, job_of, scenario_log, unanswered
from .polling import pages, refusal
from .reading import Seen, body_of, exhibit, listed

DEFAULT_LIMIT = 500
PAGE_LIMITS = (1, 7, 100, 1000)
BAD_LIMITS = ("0", "1001", "-1", "x", "1.5")
VIEWS = ("log", "live", "quiet", "texts", "starts", "inputs")


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
        fault = refusal(recording)
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
        if not body_of(recording).get("has_more"):
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
            fault = refusal(recording)
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
            if not fault and last and not body_of(recording).get("has_more"):
                rest = log.ids[len(together) + len(shown) :]
                fault = f"has_more is false, but {rest[0]!r} follows" if rest else ""
            if not fault and not shown and body_of(recording).get("has_more"):
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
