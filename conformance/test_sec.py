"""SEC: what a client says cannot forge events or headers, errors tell nothing, slowness is private.

The texts of these checks pretend to be protocol. Whoever builds frames or headers by pasting
strings together lets them through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End, Recording, outcome
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, Unable

from .clocks import slack_s
from .finals import job_of, unanswered
from .leaks import shown_text, told_by
from .quotas import started_job
from .reading import event_names, events_of, stream_log, succeeded
from .scenarios.canaries import FORGED_RETRY_MS

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
SERVED_WITHIN_S = 5.0


@check("SEC-01", "secrets", "plain")
def test_payloads_cannot_forge_events(run: Run) -> Found:
    """If a payload imitates an empty line and fields, then it creates no event, id or retry."""
    judged, echoed = 0, 0
    for recording, mark in _forged_streams(run):
        if fault := _forged_in(recording, mark):
            block, said = fault
            raise Broken(
                f"{recording.label!r}: the payload has become {said}",
                Exhibit(recording, "made by a payload", block),
                count=judged,
                what="events",
            )
        judged += len(stream_log(recording, run.profile))
        echoed += mark in shown_text(recording, run.profile)
    if not echoed:
        bundle = run.evidence.bundles.get("secrets" if run.shaped else "plain")
        raise Unable(
            (bundle.unable if bundle else "")
            or "the target's jobs show nothing of the text that was to forge events"
        )
    return Found(judged, "events")


def _forged_streams(run: Run) -> Iterator[tuple[Recording, str]]:
    for bundle in run.evidence.bundles.values():
        marks: Mapping[str, str] = bundle.facts.get("marks", {})
        for recording in (*bundle.all("forged"), *bundle.all("plain")):
            mark = marks.get(job_of(recording))
            if mark and recording.is_stream:
                yield recording, mark


def _forged_in(recording: Recording, mark: str) -> tuple[tuple[int, int], str] | None:
    """The place of a field that only the payload can have made, and what it is."""
    word = mark.encode()
    for block in recording.blocks:
        for line in block.fields:
            place = (line.offset, line.offset + len(line.raw))
            name, value = line.name, line.value
            if name in (b"event", b"id") and word in value:
                return place, f"an {name.decode()} field"
            if name == b"retry" and value.strip() == str(FORGED_RETRY_MS).encode():
                return place, "a retry field"
            if name == b"data" and value.strip() in (b"forged", word + b" forged"):
                names = event_names(block)
                if not names or any(mark in each for each in names):
                    return place, "an event of its own"
            if word in name:
                return place, f"a line of its own ({line.raw[:60]!r})"
    return None


@check("SEC-02", "strangers")
def test_clients_cannot_inject(run: Run) -> Found:
    """If a client chooses a type, id, name or header value, then no field or header comes of it."""
    bundle = run.bundle("strangers")
    name = str(bundle.facts.get("name", ""))
    if not name:
        raise Unable(bundle.unable or "nothing was injected")
    judged = 0
    for recording in (*bundle.all("inject"), *bundle.all("named stream")):
        if fault := _injected(recording, name):
            raise Broken(f"{recording.label!r}: {fault}", recording, count=judged, what="answers")
        judged += recording.answered
    if not judged:
        raise Unable(bundle.unable or "no request with such a value was answered")
    return Found(judged, "answers")


def _injected(recording: Recording, name: str) -> str:
    low = name.lower()
    for header, value in recording.headers:
        if header.lower() == low:
            return f"the client's value has become a header of the answer ({header}: {value})"
        if header.lower() == "set-cookie" and low in value.lower():
            return "the client's value has become a cookie of the answer"
        if ("\r" in value or "\n" in value) and low in value.lower():
            return f"the header {header} carries the client's line end"
    if recording.end is End.PROTOCOL_ERROR and low.encode() in recording.body.lower():
        return f"the answer is no HTTP any more ({recording.error})"
    behind = recording.surplus.lower()
    if low.encode() in behind:
        return "the client's value stands behind the end of the answer"
    if recording.is_stream:
        for block in recording.blocks:
            for line in block.fields:
                own = line.name in (b"event", b"id", b"retry") and low.encode() in line.value
                if own or low.encode() in line.name:
                    return f"the client's value has become a line of the stream ({line.raw[:80]!r})"
    return ""


@check("SEC-03", "inputs", "quota", "mistakes", "strangers", "fuzz")
def test_errors_reveal_nothing(run: Run) -> Found:
    """If a request fails, then the answer has no stack trace, path, version or foreign data."""
    judged, servers = 0, set()
    foreign = _everybody(run)
    for recording in run.recordings():
        if recording.status is None or recording.status < 400:
            continue
        if fault := told_by(recording) or _somebody_else(recording, foreign):
            raise Broken(
                f"{recording.label!r}, answered {recording.status}, reveals {fault}",
                recording,
                count=judged,
                what="error answers",
            )
        server = recording.header("server") or ""
        if re.search(r"\d\.\d", server):
            servers.add(server)
        judged += 1
    if not judged:
        raise Unable("no request was answered with an error")
    told = f"not judged: the Server header says {', '.join(sorted(servers))}" if servers else ""
    return Found(judged, "error answers", told)


def _everybody(run: Run) -> frozenset[str]:
    """The ids of all clients and jobs of these scenarios."""
    found: set[str] = set()
    for recording in run.recordings():
        client = recording.info.get("client") or recording.request.header(
            run.profile.api.client_id_header
        )
        found.update(str(each).lower() for each in (client, started_job(recording)) if each)
    return frozenset(each for each in found if _UUID.fullmatch(each))


def _somebody_else(recording: Recording, known: frozenset[str]) -> str:
    request = recording.request
    said = " ".join((request.url, *(value for _, value in request.headers)))
    own = (unquote(said) + request.body.decode("utf-8", "replace")).lower()
    for found in _UUID.findall(recording.body[:200_000].decode("utf-8", "replace")):
        if found.lower() in known and found.lower() not in own:
            return f"another client's data: {found}"
    return ""


@check("SEC-04", "siege")
def test_slow_clients_block_nobody(run: Run) -> Found:
    """If many connections are slow or idle, then an ordinary client is served all the same."""
    bundle = run.bundle("siege")
    before, during = _last_tries(bundle, "before"), _last_tries(bundle, "during")
    if not before or not all(_served(run, each) for each in before):
        raise Unable(bundle.unable or "the ordinary requests failed before there was any load")
    held = int(bundle.facts.get("held", 0))
    usual = max(each.ended_at - each.sent_at for each in before)
    bound = SERVED_WITHIN_S + 5 * usual + slack_s(run)
    if held < 20:
        raise Unable(f"only {held} connections could be opened")
    judged = 0
    for each in during:
        took = (each.head_at or each.ended_at) - each.sent_at
        what = f"with {held} slow or idle connections, {each.label.removeprefix('during ')}"
        if each.status in (429, 503):
            raise Unable(f"{what} answers {each.status}: the target limits one address")
        if not _served(run, each) or took > bound:
            fault = unanswered(each) or (outcome(each) if not succeeded(each) else "")
            raise Broken(
                f"{what} {fault or f'took {took:.1f} s'} (before: {usual:.2f} s)",
                each,
                count=judged,
                what="requests",
            )
        judged += 1
    if len(during) < len(before):
        raise Unable(bundle.unable or "the requests beside the load were not all made")
    slowest = max((each.head_at or each.ended_at) - each.sent_at for each in during)
    return Found(judged, "requests", f"{held} connections held, slowest answer {slowest:.2f} s")


def _last_tries(bundle: Bundle, when: str) -> list[Recording]:
    """The requests of that time; of a stream that was recycled without an event, the next one."""
    return list({each.label: each for each in bundle.all(when)}.values())


def _served(run: Run, recording: Recording) -> bool:
    if recording.label.endswith("stream"):
        return bool(events_of(recording, run.profile)) or recording.status == 204
    return succeeded(recording)
