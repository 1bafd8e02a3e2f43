"""BAD: job ids that are none, and requests by dice: the client's mistake is never a 5xx.

A 5xx says that the server failed. Where a client can cause it at will, something was not checked
before it was used.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamgauge.check import Run, check
from streamgauge.recording import Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .finals import unanswered
from .test_bad_bodies import is_turned_away

UNREADABLE = frozenset({400, 414, 431})
TIDIED = frozenset({301, 302, 307, 308})


@check("BAD-03", "strangers")
def test_odd_job_ids_get_404(run: Run) -> Found:
    """If a job id is odd, then every resource answers 404, or says that the request is broken."""
    bundle = run.bundle("strangers")
    judged = 0
    for prefix, allowed in (
        ("odd", frozenset({404})),
        ("risky", UNREADABLE | {404}),
        ("untidy", UNREADABLE | TIDIED | {404}),
    ):
        for recording in bundle.all(prefix):
            if is_turned_away(recording):
                continue
            name, _, resource = recording.label.removeprefix(f"{prefix} ").partition(": ")
            what = f"the {resource} of an odd job id ({name}: {recording.info['asked']!r})"
            if fault := unanswered(recording):
                raise Broken(f"{what}: {fault}", recording, count=judged, what="requests")
            if recording.status is None:
                continue
            # Tidied up, ".." can leave a path that exists with other methods only.
            if recording.status not in allowed and not (
                prefix == "untidy" and recording.status == 405
            ):
                raise Broken(
                    f"{what} answers {outcome(recording)}, not 404",
                    recording,
                    count=judged,
                    what="requests",
                )
            judged += 1
    if not judged:
        raise Unable(bundle.unable or "no request for an odd job id was answered")
    return Found(judged, "requests")


@check("BAD-04", "fuzz", "inputs", "mistakes", "strangers")
def test_no_input_gives_a_server_error(run: Run) -> Found:
    """If a client sends whatever it likes, then no answer is a 5xx and none stays away."""
    bundle = run.bundle("fuzz")
    judged = 0
    for recording in _chosen_by_clients(run):
        if is_turned_away(recording):
            continue
        status = recording.status
        if status is not None and status >= 500 and not _may_be_unknown(recording):
            raise Broken(
                f"{recording.request.method} {recording.request.url[:120]} ({recording.label}) "
                f"answers {outcome(recording)}",
                recording,
                count=judged,
                what="requests",
            )
        judged += status is not None
    for again in bundle.all("dice"):
        # The first time may have been the network's; nobody is blamed for that.
        if again.label.endswith("again") and (fault := unanswered(again)):
            raise Broken(
                f"{again.request.method} {again.request.url[:120]} ({again.label}): {fault}",
                again,
                count=judged,
                what="requests",
            )
    thrown = sum(each.answered for each in bundle.all("dice"))
    if not thrown:
        raise Unable(bundle.unable or "none of the requests by dice was answered")
    told = f"{thrown} of {bundle.facts.get('requests')} by dice, seed {bundle.facts.get('seed')}"
    return Found(judged, "requests", told)


def _chosen_by_clients(run: Run) -> Iterator[Recording]:
    """Whatever was odd on purpose: the dice first, since they are what the rule is about."""
    for name in ("fuzz", "mistakes", "strangers", "inputs"):
        if name in run.evidence.bundles:
            yield from run.evidence.bundles[name].recordings


def _may_be_unknown(recording: Recording) -> bool:
    """501 is right for a transfer coding, or a method, that the server has never heard of."""
    coding = recording.request.header("Transfer-Encoding")
    method = recording.request.method not in ("GET", "HEAD", "POST")
    return recording.status == 501 and (coding is not None or method)
