"""CORS: pages of an allowed origin can start, read, resume and see errors; foreign ones cannot.

Judged is what a browser would do by the Fetch standard (see `fetch`), not how headers are spelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End, Recording, outcome
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .browsing import judge_browser
from .fetch import (
    allows_credentials,
    exposes,
    listed,
    preflight_refusal,
    refusal,
    varies_by_origin,
)
from .quotas import client_in_turn, is_refused, starts_of
from .reading import succeeded

HEADER_TOO_LARGE = 431
"""The header section was not read, so nobody knows where the request came from."""


def _origin(run: Run) -> str:
    origin = run.profile.api.origin
    if not origin:
        raise Inapplicable(
            f"the profile {run.profile.name!r} names no origin of pages (api.origin is empty)"
        )
    return origin


def _hint(run: Run, answer: Recording) -> str:
    """Where no answer at all allows the origin, the profile may name the wrong one."""
    origin = run.profile.api.origin
    if any(not refusal(each, origin) for each in run.recordings() if _sent(each) == origin):
        return ""
    if answer.header("access-control-allow-origin") is not None:
        return f" (is {origin} allowed there? The profile's api.origin has to name one that is)"
    return f" (no answer allows {origin}, which the profile's api.origin names as allowed)"


def _sent(recording: Recording) -> str | None:
    return recording.request.header("Origin")


def _require_answer(recording: Recording, what: str, count: int) -> None:
    if recording.answered:
        return
    if recording.end in (End.REFUSED, End.LEFT):
        raise Unable(f"{what}: {outcome(recording)}")
    raise Broken(f"{what}: {outcome(recording)}", recording, count=count, what="preflights")


@check("CORS-01", "cors", "quota")
def test_preflights_of_starts_succeed_free_of_charge(run: Run) -> Found:
    """If a page wants to start a job, then its preflight succeeds, and costs no start."""
    origin, bundle = _origin(run), run.bundle("cors")
    names = ("Content-Type", run.profile.api.client_id_header)
    judged = 0
    for answer in bundle.all("preflight start"):
        _require_answer(answer, "the preflight of a start", judged)
        if why := preflight_refusal(answer, origin, "POST", names):
            raise Broken(
                f"a browser would not send the start: {why}; the preflight ({outcome(answer)}) "
                "carries no client id, as every preflight" + _hint(run, answer),
                answer,
                count=judged,
                what="preflights",
            )
        judged += 1
    if not judged:
        raise Unable(bundle.unable or "no preflight was answered")
    return Found(judged, "preflights", _charge(run, bundle))


def _charge(run: Run, bundle: Bundle) -> str:
    """The starts behind the preflights are all there; returns what could not be judged of it."""
    runs = run.profile.declared.quota_runs
    starts = bundle.all("start")
    if runs == 0:
        return "the profile declares no quota that preflights could use up"
    quota = run.evidence.bundles.get("quota")
    plain = [r for name in ("turn", "running") if quota for r in quota.all(name)]
    first = next((r for r in plain if succeeded(r)), None)
    if first is None or not starts:
        return "whether preflights use up starts could not be told: no other client to compare with"
    if refused := next((r for r in starts if is_refused(run, r)), None):
        usual = starts_of(quota, client_in_turn(run), runs) if quota else []
        if len(usual) == runs and all(map(succeeded, usual)):
            raise Broken(
                f"{refused.label!r} of {runs} was refused ({refused.status}) after preflights; "
                "without them none is: preflights use up starts",
                refused,
                what="preflights",
            )
    told, untouched = _remaining(starts[0]), _remaining(first)
    if None not in (told, untouched) and told != untouched:
        raise Broken(
            f"after preflights a first start leaves {told} starts, without them {untouched}: "
            "preflights use up starts",
            starts[0],
            what="preflights",
        )
    if told is None and len(starts) < runs:
        return "whether preflights use up starts could not be told: answers tell no `quota`"
    return ""


def _remaining(answer: Recording) -> int | None:
    body = answer.json
    quota = body.get("quota") if isinstance(body, dict) else None
    left = quota.get("remaining") if isinstance(quota, dict) else None
    return left if isinstance(left, int) else None


@check("CORS-02", "cors")
def test_preflights_of_streams_allow_last_event_id(run: Run) -> Found:
    """If a page reads a stream by fetch, then it may send Last-Event-ID."""
    origin = _origin(run)
    answer = run.need("cors", "preflight stream resumed")
    _require_answer(answer, "the preflight of a stream", 0)
    if why := preflight_refusal(answer, origin, "GET", ("Last-Event-ID",)):
        raise Broken(
            f"a browser would not send the resuming request: {why}" + _hint(run, answer),
            answer,
            what="preflights",
        )
    return Found(1, "preflights", shown=answer)


@check("CORS-03", "cors", "inputs", "quota")
def test_pages_can_read_streams_and_errors(run: Run) -> Found:
    """If the origin is allowed, then a page of it can read every answer, errors above all."""
    origin = _origin(run)
    errors = streams = 0
    for answer in _page_answers(run, origin):
        if why := refusal(answer, origin):
            raise Broken(
                f"{_named(answer)} is hidden from the page that asked: {why}" + _hint(run, answer),
                answer,
                count=errors + streams,
                what="answers",
            )
        errors += (answer.status or 0) >= 400
        streams += answer.is_stream
    if not streams:
        raise Unable(run.bundle("cors").unable or "no stream was answered to a page")
    if not errors:
        raise Unable("none of the wrong requests was answered with an error")
    return Found(errors + streams, "answers", f"{errors} of them errors")


def _page_answers(run: Run, origin: str) -> Iterator[Recording]:
    """What the allowed origin was answered; where the header section was refused, nobody knows."""
    for recording in run.recordings():
        if (
            _sent(recording) == origin
            and recording.answered
            and recording.status != HEADER_TOO_LARGE
            and recording.request.method != "OPTIONS"
        ):
            yield recording


def _named(answer: Recording) -> str:
    return f"the answer {answer.status} to {answer.label!r} ({answer.request.method})"


@check("CORS-04", "cors", "inputs", "quota")
def test_only_known_origins_are_allowed(run: Run) -> Found:
    """If a page is foreign, then nothing allows it; credentials never go with a wildcard."""
    origin, bundle = _origin(run), run.bundle("cors")
    known = [r for r in _page_answers(run, origin) if not refusal(r, origin)]
    if not known:
        raise Unable(
            bundle.unable or f"not even the allowed origin {origin} is allowed (see CORS-03)"
        )
    judged = _credentials(run, bundle, origin)
    foreigners = 0
    for answer in bundle.all():
        foreign = _sent(answer)
        if foreign is None or foreign == origin or not answer.answered:
            continue
        if not refusal(answer, foreign):
            told = answer.header("access-control-allow-origin")
            every = "every page" if told == "*" else f"a page of {foreign}"
            raise Broken(
                f"{every} may read {_named(answer)}: Access-Control-Allow-Origin is {told!r}",
                answer,
                count=judged + foreigners,
                what="answers",
            )
        foreigners += 1
    if not foreigners:
        raise Unable(bundle.unable or "no request of a foreign origin was answered")
    return Found(judged + foreigners + _vary(bundle, judged + foreigners), "answers")


def _credentials(run: Run, bundle: Bundle, origin: str) -> int:
    """Answers that allow credentials name the origin, and their preflights need no wildcard."""
    judged = 0
    answers = [r for r in run.recordings() if _sent(r) is not None and r.answered]
    for answer in answers:
        judged += 1
        if not allows_credentials(answer):
            continue
        told = answer.header("access-control-allow-origin")
        if told == "*":
            raise Broken(
                f"{_named(answer)} allows credentials and every origin (`*`): browsers refuse that",
                answer,
                count=judged,
                what="answers",
            )
    names = ("Content-Type", run.profile.api.client_id_header)
    for answer in bundle.all("preflight start"):
        plain = preflight_refusal(answer, origin, "POST", names)
        why = preflight_refusal(answer, origin, "POST", names, credentials=True)
        if answer.answered and allows_credentials(answer) and why and not plain:
            raise Broken(
                f"the preflight allows credentials, but with them it fails: {why} (`*` is no "
                "wildcard then)",
                answer,
                count=judged,
                what="answers",
            )
    return judged


def _vary(bundle: Bundle, count: int) -> int:
    """Where the answer depends on Origin, caches are told so, whoever asked first."""
    judged = 0
    for allowed, others in (
        ("stream", ("without origin stream", "foreign stranger/stream")),
        ("snapshot", ("without origin snapshot", "foreign stranger/snapshot")),
        ("error unknown job snapshot", ("foreign stranger/unknown job",)),
    ):
        page = bundle.get(allowed)
        for label in others:
            other = bundle.get(label)
            if page is None or other is None or not page.answered or not other.answered:
                continue
            told = [r.header("access-control-allow-origin") for r in (page, other)]
            for answer in (page, other):
                if told[0] != told[1] and not varies_by_origin(answer):
                    raise Broken(
                        f"{_named(answer)} depends on Origin ({told[0]!r} for the allowed one, "
                        f"{told[1]!r} for another or none), and Vary "
                        f"({answer.header('vary')!r}) does not say so",
                        answer,
                        count=count + judged,
                        what="answers",
                    )
            judged += 1
    return judged


@check("CORS-05", "cors", "quota", "browser")
def test_browsers_resume_across_origins(run: Run) -> Found:
    """If an answer has Location or Retry-After, then pages see it; and a real browser resumes."""
    origin = _origin(run)
    bundle = run.bundle("cors")
    answers = [r for r in _page_answers(run, origin) if not refusal(r, origin)]
    if not answers:
        raise Unable(
            bundle.unable or f"not even the allowed origin {origin} is allowed (see CORS-03)"
        )
    judged, said = 0, []
    for name in ("Location", "Retry-After"):
        bearers = [r for r in answers if r.header(name) is not None]
        hidden = next((r for r in bearers if not exposes(r, name)), None)
        if hidden is None and not bearers and not any(exposes(r, name) for r in answers):
            if name == "Location":
                said.append("no answer had a Location")
                continue
            # What may come any time (503 with Retry-After) cannot be provoked: the list tells.
            hidden = next((r for r in answers if succeeded(r)), answers[0])
        if hidden is not None:
            raise Broken(
                f"{name} is not exposed: Access-Control-Expose-Headers of {_named(hidden)} lists "
                f"{_list_of(hidden)}",
                hidden,
                count=judged,
                what="answers",
            )
        judged += max(1, len(bearers))
    return judge_browser(run, judged, said)


def _list_of(answer: Recording) -> str:
    names: Iterable[str] = listed(answer, "access-control-expose-headers") or ()
    return ", ".join(names) or "nothing"
