"""LIFE: a finished job is kept for as long as declared, and is gone everywhere afterwards."""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.verdict import Broken, Found, NotRun, Unable

from .reading import has_terminal, stream_log, succeeded


@check("LIFE-14", "kept")
def test_retention_ends_everywhere_at_once(run: Run) -> Found:
    """If a job is over, then all its views are there for the declared time, and 404 after it."""
    bundle = run.bundle("kept")
    if bundle.facts.get("lacking"):
        raise NotRun(str(bundle.facts["lacking"]))
    reader = bundle.get("reader")
    if reader is None or not has_terminal(stream_log(reader, run.profile)[-1:], run.profile):
        raise Unable(bundle.unable or "the job whose end was waited for did not end")
    kept = _asked(bundle, "kept")
    for answer in kept:
        if not succeeded(answer):
            raise Broken(
                f"{answer.label}: {outcome(answer)} {bundle.facts['kept_after_s']:.0f} s after the "
                f"job's end; declared are {run.profile.declared.kept_s:g} s",
                answer,
                what="answers",
            )
    gone = _asked(bundle, "gone")
    for answer in gone:
        if answer.status != 404:
            others = ", ".join(f"{r.label}: {r.status}" for r in gone if r is not answer)
            raise Broken(
                f"{answer.label}: {outcome(answer)} {bundle.facts['gone_after_s']:.0f} s after the "
                f"job's end, of which it should be kept for {run.profile.declared.kept_s:g} s "
                f"({others})",
                answer,
                count=len(kept),
                what="answers",
            )
    return Found(len(kept) + len(gone) if kept and gone else 0, "answers")


def _asked(bundle: Bundle, when: str) -> list[Recording]:
    """The views that were asked for at a time and answered."""
    return [answer for answer in bundle.all(when) if answer.answered]
