"""BAD: requests whose length can be read in two ways, and clients of another age.

Where two servers in a row disagree about where a request ends, the rest of it is somebody else's
request. So such a request is refused, and nothing that follows on its connection is believed.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .finals import unanswered
from .reading import is_log, succeeded
from .scenarios.mistakes import LINGER_S
from .test_bad_bodies import is_turned_away


@check("BAD-05", "mistakes")
def test_ambiguous_framing_is_refused(run: Run) -> Found:
    """If a request's length is ambiguous or malformed, then 400, and the connection is closed."""
    bundle = run.bundle("mistakes")
    judged = 0
    for recording in bundle.all("framing"):
        if is_turned_away(recording):
            continue
        name = recording.label.removeprefix("framing ")
        what = f"a request with ambiguous framing ({name})"
        if fault := unanswered(recording):
            raise Broken(f"{what}: {fault}", recording, count=judged, what="requests")
        if recording.status is None:
            continue
        if recording.status not in _allowed(name):
            raise Broken(
                f"{what} is answered with {outcome(recording)}, not 400",
                recording,
                count=judged,
                what="requests",
            )
        if recording.surplus.lstrip().startswith(b"HTTP/"):
            raise Broken(
                f"{what}: what stands behind it was answered as another request "
                f"({recording.surplus.lstrip()[:24]!r})",
                recording,
                count=judged,
                what="requests",
            )
        if not recording.info.get("closed"):
            raise Broken(
                f"{what} is answered with {recording.status}, and the connection stays open "
                f"(for {LINGER_S:.0f} s and more)",
                recording,
                count=judged,
                what="requests",
            )
        judged += 1
    if not judged:
        raise Unable(bundle.unable or "no request with ambiguous framing was answered")
    return Found(judged, "requests")


def _allowed(name: str) -> frozenset[int]:
    """The statuses that RFC 9112 allows.

    With both framings a server may also go by the transfer coding alone, if it closes behind its
    answer (§6.1). An unknown coding may be 501 (§6.1), an absurd size 413.
    """
    if name.startswith("both"):
        return frozenset({400, *range(200, 300)})
    if name.startswith("coding"):
        return frozenset({400, 501})
    if name == "chunk size overflows":
        return frozenset({400, 413})
    return frozenset({400})


@check("BAD-06", "mistakes")
def test_old_clients_and_expectations(run: Run) -> Found:
    """If a client speaks HTTP/1.0, then it gets no chunks; if it expects 100, then it gets it."""
    bundle = run.bundle("mistakes")
    judged = 0
    for recording in bundle.all("old"):
        name = recording.label.removeprefix("old ")
        if recording.header("transfer-encoding") is not None:
            raise Broken(
                f"the {name} is answered to an HTTP/1.0 client with Transfer-Encoding: "
                f"{recording.header('transfer-encoding')}",
                recording,
                count=judged,
                what="requests",
            )
        if fault := unanswered(recording):
            raise Broken(
                f"the {name}, asked by HTTP/1.0: {fault}", recording, count=judged, what="requests"
            )
        if not succeeded(recording):
            continue
        if fault := _body_fault(run, recording, name):
            raise Broken(
                f"the {name}, asked by HTTP/1.0: {fault}", recording, count=judged, what="requests"
            )
        judged += 1
    if not judged:
        raise Unable(bundle.unable or "no request by HTTP/1.0 was accepted")
    expecting = bundle.get("expect continue")
    if expecting is None:
        raise Unable(bundle.unable or "no request with an expectation was made")
    judged += _judge_expectation(expecting, judged)
    return Found(judged, "requests")


def _body_fault(run: Run, recording: Recording, name: str) -> str:
    """Whether the body is what it says it is: chunk sizes in it would break it."""
    if name == "stream":
        events = sum(is_log(block, run.profile) for block in recording.blocks)
        return "" if events or recording.status == 204 else "it shows no event of the job"
    ended = recording.end in (End.COMPLETE, End.CLOSED)
    if not ended or recording.json is None:
        return f"its body is no whole JSON text ({recording.body[:40]!r})"
    return ""


def _judge_expectation(recording: Recording, judged: int) -> int:
    if is_turned_away(recording):
        raise Unable(f"the start with an expectation was turned away: {outcome(recording)}")
    if fault := unanswered(recording):
        raise Broken(f"Expect: 100-continue: {fault}", recording, count=judged, what="requests")
    if 100 not in recording.info.get("interim", ()):
        raise Broken(
            f"Expect: 100-continue gets no 100 before the body is sent ({outcome(recording)})",
            recording,
            count=judged,
            what="requests",
        )
    if not succeeded(recording):
        raise Broken(
            f"a start with Expect: 100-continue is answered with {outcome(recording)}",
            recording,
            count=judged,
            what="requests",
        )
    return 1
