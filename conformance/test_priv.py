"""PRIV: what is personal or secret in a request comes back in no event, whichever view is read.

Values are compared as a reader sees them, decoded, and as they stand in the bytes. Strings that
follow each other are joined as well: an address that two chunks share has come back all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .finals import job_of
from .leaks import shown_text
from .reading import events_of
from .scenarios.canaries import EMAILS, NO_PHONES, PHONES

_SEPARATORS = re.compile(r"[\s.\-/()\u2010\u2011]+")


@check("PRIV-01", "secrets", "plain")
def test_personal_data_is_redacted(run: Run) -> Found:
    """If addresses and phone numbers stand in a job's text, then no view shows any of them."""
    judged, kept = 0, set(NO_PHONES)
    for bundle, recording, mark in _views(run, "personal", "plain"):
        whole = shown_text(recording, run.profile)
        if fault := _personal_in(whole) or _personal_in(_raw(recording)):
            raise Broken(
                f"{recording.label!r} shows {fault}",
                recording,
                count=judged,
                what="views with the text",
            )
        if mark in whole:
            judged += 1
            if bundle.scenario == "secrets":
                kept &= {each for each in NO_PHONES if each in whole}
    if not judged:
        raise Unable(_missing(run, "no view shows anything of the text with personal data"))
    lost = [each for each in NO_PHONES if each not in kept]
    told = f"redacted beside them: {', '.join(lost)} (no phone numbers)" if lost else ""
    return Found(judged, "views with the text", told)


def _personal_in(text: str) -> str:
    folded = text.casefold()
    for email in EMAILS:
        if email.casefold() in folded:
            return f"the e-mail address {email}"
    for phone in PHONES:
        if phone in text:
            return f"the phone number {phone}"
    digits = _SEPARATORS.sub("", text)
    for phone in PHONES:
        bare = _SEPARATORS.sub("", phone).lstrip("+")
        if bare in digits:
            return f"the phone number {phone}, written otherwise"
    return ""


def _raw(recording: Recording) -> str:
    """The bytes of a stream, without its padding; the JSON views hold more than events."""
    if not recording.is_stream:
        return ""
    fields = (line.raw for block in recording.blocks for line in block.lines if line.value.strip())
    return b"\n".join(fields).decode("utf-8", "replace")


@check("PRIV-02", "secrets", "plain")
def test_requests_are_not_echoed(run: Run) -> Found:
    """If a start tells a secret, then no event of any type repeats it."""
    if run.profile.declared.echoes_input:
        raise Inapplicable(run.profile.says("declared.echoes_input"))
    judged = 0
    for _, recording, mark in _views(run, "secret", "plain"):
        whole = shown_text(recording, run.profile)
        if mark.casefold() in (whole + _raw(recording)).casefold():
            shown = [
                event.type
                for event in events_of(recording, run.profile)
                if mark.casefold() in (event.text + repr(event.data)).casefold()
            ]
            where = f"in {shown[0]}" if shown else "across its events"
            raise Broken(
                f"{recording.label!r} repeats the request's text {where}",
                recording,
                count=judged,
                what="events",
            )
        judged += len(events_of(recording, run.profile))
    if not judged:
        raise Unable(_missing(run, "no view of a job whose start told a secret was read"))
    ended = run.bundle("plain").facts.get("ended", []) if "plain" in run.evidence.bundles else []
    if not run.shaped and not any(ended):
        raise Unable(f"the target's own jobs did not end in time ({judged} events had no secret)")
    return Found(judged, "events")


def _views(run: Run, *prefixes: str) -> Iterator[tuple[Bundle, Recording, str]]:
    """Accepted views of the jobs whose starts have these labels, and the word that marks them."""
    for bundle in run.evidence.bundles.values():
        marks = bundle.facts.get("marks", {})
        for prefix in prefixes:
            for recording in bundle.all(prefix):
                mark = marks.get(job_of(recording))
                if mark and recording.status == 200 and recording.request.method == "GET":
                    yield bundle, recording, str(mark)


def _missing(run: Run, otherwise: str) -> str:
    bundle = run.evidence.bundles.get("secrets" if run.shaped else "plain")
    return (bundle.unable if bundle else "") or otherwise
