"""BAD: bodies that are no JSON, of another type, or too large, and what becomes of the connection.

A refusal has its own status for each of these. Whatever the refused client does, the next one must
be served.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .finals import unanswered
from .reading import succeeded


def is_turned_away(recording: Recording) -> bool:
    """Refused for something else than what the request says: a rate limit, an overload."""
    return recording.status == 429 or (
        recording.status == 503 and recording.header("retry-after") is not None
    )


@check("BAD-01", "mistakes")
def test_invalid_bodies_are_refused(run: Run) -> Found:
    """If a body is no JSON object in UTF-8, then 400; if it is declared as something else, 415."""
    bundle = run.bundle("mistakes")
    judged = 0
    for prefix, due in (("body", 400), ("media", 415)):
        for recording in bundle.all(prefix):
            name = recording.label.removeprefix(f"{prefix} ")
            if is_turned_away(recording):
                continue
            what = f"a body that is wrong ({name})" if due == 400 else f"a body declared as {name}"
            if fault := unanswered(recording):
                raise Broken(f"{what}: {fault}", recording, count=judged, what="requests")
            if recording.status is None:
                continue
            if recording.status != due:
                raise Broken(
                    f"{what} is answered with {outcome(recording)}, not {due}",
                    recording,
                    count=judged,
                    what="requests",
                )
            judged += 1
    if not judged:
        raise Unable(bundle.unable or "no start with a wrong body was answered")
    return Found(judged, "requests")


@check("BAD-02", "mistakes")
def test_oversize_requests_are_refused(run: Run) -> Found:
    """If body or headers are too large, then 413, or 431 or 400, and the next client is served."""
    bundle = run.bundle("mistakes")
    limit = run.profile.declared.body_bytes_max
    judged, refused = 0, 0
    for recording in bundle.all("size"):
        kind = recording.label.removeprefix("size ").removesuffix(" again")
        due = (431, 400) if kind == "head" else (413,)
        what = (
            "a header section of 1.5 MiB"
            if kind == "head"
            else f"{'an' if kind[0] == 'a' else 'a'} {kind} of more than {limit:,} octets"
        )
        if is_turned_away(recording):
            continue
        if recording.status is None:
            last = recording.label.endswith("again") or not bundle.get(f"{recording.label} again")
            if recording.end is End.TIMEOUT and last:
                raise Broken(
                    f"{what} is read on and on: {unanswered(recording)}",
                    recording,
                    count=judged,
                    what="requests",
                )
            # Closed without a word, or the reset has overtaken the answer: the peer cannot tell.
            continue
        if recording.status not in due:
            wanted = " or ".join(map(str, due))
            raise Broken(
                f"{what} is answered with {outcome(recording)}, not {wanted}",
                recording,
                count=judged,
                what="requests",
            )
        judged += 1
        refused += kind != "head"
    for recording in bundle.all("after"):
        if fault := unanswered(recording):
            raise Broken(
                f"{recording.label!r}, somebody else's request: {fault}",
                recording,
                count=judged,
                what="requests",
            )
        if recording.status is not None and recording.status >= 500:
            raise Broken(
                f"{recording.label!r}, somebody else's request, answers {recording.status}",
                recording,
                count=judged,
                what="requests",
            )
        judged += succeeded(recording)
    closed = [r for r in bundle.all("size") if r.end in (End.CUT, End.RESET)]
    if closed and not refused:
        raise Broken(
            "bodies that are too large get no answer at all: the connection is closed",
            closed[0],
            count=judged,
            what="requests",
        )
    if not refused:
        raise Unable(bundle.unable or "no oversize body was answered")
    told = f"{len(closed)} of the refusals were overtaken by the close" if closed else ""
    return Found(judged, "requests", told)
