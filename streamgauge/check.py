"""What a check is: a catalogue id, the scenarios it looks at, and a function that judges them.

`@check` turns such a function into a pytest test. All that decides between the target's fault, the
suite's fault and "could not test" stands in `judge`, so that no check can mix them up.
"""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .applies import why_not
from .catalogue import Requirement, catalogue
from .collect import Evidence
from .limits import CUT_SHORT, LEFT_OUT, NOT_BEGUN
from .profile import Profile
from .recording import Bundle, Recording
from .reproduce import curl, meanwhile
from .results import CheckResult, Exhibit, Verdict
from .results import Evidence as Counted
from .sse import Block
from .untimed import Untimed
from .verdict import Broken, Found, Inapplicable, NotRun, Unable, Undecided

RUN_FIXTURE = "streamgauge_run"


@dataclass(slots=True, eq=False)
class Run:
    """What a check may look at: the profile, what was found out, and its scenarios' bundles."""

    target: str
    profile: Profile
    evidence: Evidence
    strict: bool = False
    _proven: bool | None = None

    @property
    def shaped(self) -> bool:
        return self.evidence.shaped

    @property
    def long(self) -> bool:
        return self.evidence.long

    def bundle(self, name: str) -> Bundle:
        """What a scenario saw.

        Raises:
            Unable: the scenario did not take place.
        """
        bundle = self.evidence.bundles.get(name)
        if bundle is None and self.evidence.saved_as:
            raise NotRun(f"{self.evidence.saved_as} has no scenario {name!r}: it takes the target")
        if bundle is None:
            raise Unable(self.evidence.stopped or f"the scenario {name!r} did not take place")
        if bundle.broken:
            raise RuntimeError(bundle.broken)
        return bundle

    def need(self, scenario: str, label: str) -> Recording:
        """One recording of a scenario that a judgement cannot do without."""
        bundle = self.bundle(scenario)
        recording = bundle.get(label)
        if recording is None and self.evidence.saved_as:
            raise NotRun(f"{self.evidence.saved_as} has no exchange {label!r} ({scenario})")
        if recording is None:
            raise Unable(bundle.unable or f"nothing was recorded as {label!r} ({scenario})")
        return recording

    def only(self, names: tuple[str, ...]) -> Run:
        """The same run as a check sees it: with the scenarios that it declares, and no others.

        So a check's outcome depends on nothing but those, and it can be judged as soon as they
        have been played.
        """
        # Copied in one step: scenarios may be adding bundles while this is judged early.
        bundles = {n: b for n, b in dict(self.evidence.bundles).items() if n in names}
        return replace(self, evidence=replace(self.evidence, bundles=bundles))

    def recordings(self) -> list[Recording]:
        """All that the scenarios at hand recorded; what several of them share stands here once."""
        found = {
            (recording.label, repr(recording.sent_at)): recording
            for bundle in self.evidence.bundles.values()
            for recording in bundle.recordings
        }
        return list(found.values())

    def require_part(self, part: str) -> None:
        """Stop here where an optional part is declared absent, is missing, or was not found.

        Raises:
            Inapplicable: the profile says false, or auto and it was not found.
            Broken: the profile says true and it was not found.
        """
        declared = getattr(self.profile.capabilities, part)
        seen = self.evidence.found.get(part, "")
        if declared is False:
            raise Inapplicable(self.profile.says(f"capabilities.{part}"))
        if seen.startswith(LEFT_OUT):
            raise NotRun(f"whether the target has {part.replace('_', ' ')} was {seen}")
        if seen and declared is True and not self.proven:
            raise Unable(
                f"no job has streamed an event, so {part} could not be looked for ({seen})"
            )
        if seen and declared is True:
            raise Broken(
                f"the profile {self.profile.name!r} declares {part} = true, but {seen}",
                promised=True,
            )
        if seen:
            raise Inapplicable(f"the target has no {part.replace('_', ' ')}: {seen}")

    @property
    def proven(self) -> bool:
        """Whether an accepted start has yielded a stream with an event of its job.

        Where nothing may be started, a stream with an event is all the proof that can be had.
        """
        if self._proven is None:
            read = (
                not self.profile.api.start
                or self.evidence.reads_only
                or bool(self.evidence.saved_as)
            )
            self._proven = any(
                recording.is_stream
                and (read or bundle.start_of(recording) is not None)
                and any(self.is_log(block) for block in recording.blocks)
                for bundle in list(self.evidence.bundles.values())
                for recording in bundle.recordings
            )
        return self._proven

    def is_log(self, block: Block) -> bool:
        """Whether a block dispatches an event of a job's log (not a control event)."""
        return block.event is not None and block.event.type not in self.profile.control_events


Judgement = Callable[[Run], Found]


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement's judgement."""

    requirement: Requirement
    scenarios: tuple[str, ...]
    part: str
    function: Judgement


def check(identifier: str, *scenarios: str, part: str = "") -> Callable[[Judgement], Any]:
    """Make a judgement the pytest test of a catalogue id.

    Args:
        identifier: the catalogue id.
        scenarios: names of the scenarios whose bundles it looks at; only these are played.
        part: the optional part of the protocol that the rule belongs to.
    """
    requirement = catalogue()[identifier]

    def decorate(function: Judgement) -> Any:
        definition = Check(requirement, ("probe", *scenarios), part, function)

        def test(**fixtures: Any) -> None:
            fixtures[RUN_FIXTURE](definition)

        test.__name__ = function.__name__
        test.__doc__ = function.__doc__
        test.__module__ = function.__module__
        parameter = inspect.Parameter(RUN_FIXTURE, inspect.Parameter.KEYWORD_ONLY)
        test.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
        test.check = definition  # type: ignore[attr-defined]
        return test

    return decorate


def judge(definition: Check, run: Run) -> CheckResult:
    """Judge one check: every way in which it can end has its own verdict."""
    began = time.perf_counter()
    verdict, message, counted = Verdict.ERROR, "", Counted(0, "observations")
    exhibits: tuple[Exhibit, ...] = ()
    shown: Recording | None = None
    try:
        found = _run_function(definition, run)
        verdict, message = Verdict.PASS, found.message
        counted, shown = Counted(found.count, found.what), found.shown
        if found.count <= 0:
            raise Unable(f"nothing to judge: no {found.what}")
    except Broken as broken:
        verdict, message = _fault(definition, run, broken), str(broken)
        exhibits = broken.exhibits
        counted = Counted(broken.count + 1, broken.what)  # the faulty one was looked at, too
        if excuse := _excuse(definition, run):
            verdict, message = Verdict.COULD_NOT_TEST, f"{excuse}; until then: {message}"
    except Unable as reason:
        verdict, message = Verdict.COULD_NOT_TEST, str(reason)
        if left_out := _not_begun(definition, run):
            verdict, message = Verdict.NOT_RUN, left_out[0]
        if run.evidence.saved_as and not isinstance(reason, Untimed):
            verdict, message = (
                Verdict.NOT_RUN,
                f"{run.evidence.saved_as} does not show it: {reason}",
            )
        if run.evidence.stopped and not run.proven:
            message = run.evidence.stopped
    except Inapplicable as reason:
        verdict, message = Verdict.NOT_APPLICABLE, str(reason)
    except NotRun as reason:
        verdict, message = Verdict.NOT_RUN, str(reason)
    except Exception:
        verdict, message = Verdict.ERROR, traceback.format_exc(limit=-4)
    if verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE) and (
        len(left_out := _not_begun(definition, run)) == len(definition.scenarios[1:]) > 0
    ):
        # What the probe happened to show is not what the check was made to look at.
        verdict, message = Verdict.NOT_RUN, left_out[0]
    if verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE) and not run.proven:
        verdict = Verdict.COULD_NOT_TEST
        message = run.evidence.stopped or (f"{_proof_wanted(run)}, so nothing is proven")
    return CheckResult(
        requirement=definition.requirement,
        verdict=verdict,
        message=message,
        evidence=counted,
        reproduce=_reproduce(definition, run, exhibits, shown),
        exhibits=exhibits,
        duration_s=time.perf_counter() - began,
    )


def _proof_wanted(run: Run) -> str:
    if not run.profile.api.start:
        return (
            f"the profile {run.profile.name!r} takes a stream with an event as proof; none was seen"
        )
    if run.evidence.reads_only:
        return "the given job's stream has shown no event"
    return "no accepted start has yielded a stream with an event of its job"


def _left_out(definition: Check, run: Run, *, all_of_them: bool) -> None:
    """Stop where a check lacks scenarios that this run could not or must not play.

    Raises:
        Inapplicable: the profile says that the target cannot do what they need.
        NotRun: the user asked for a run without them.
    """
    evidence = run.evidence
    if not evidence.left_out:
        return
    needed = [name for name in definition.scenarios if name != "probe"]
    missing = [name for name in needed if name not in evidence.bundles]
    if missing and (len(missing) == len(needed) or not all_of_them):
        raise _leaving_out(evidence)


def _leaving_out(evidence: Evidence) -> Exception:
    return (Inapplicable if evidence.by_profile else NotRun)(evidence.left_out)


def _run_function(definition: Check, run: Run) -> Found:
    if reason := why_not(definition.requirement.id, run.profile, run.evidence.found):
        raise Inapplicable(reason)
    _left_out(definition, run, all_of_them=True)
    saved = run.evidence.saved_as
    if not saved and "J" in definition.requirement.needs and run.profile.capabilities.shape is True:
        run.require_part("shape")
    if definition.part:
        run.require_part(definition.part)
    try:
        return definition.function(run.only(definition.scenarios))
    except Unable as unable:
        evidence = run.evidence
        if not evidence.stopped and run.proven and not isinstance(unable, Undecided):
            if evidence.left_out and str(unable) == evidence.left_out:
                # A scenario was stopped at its first request that would have changed something.
                raise _leaving_out(evidence) from unable
            _left_out(definition, run, all_of_them=False)
        raise


def _fault(definition: Check, run: Run, broken: Broken) -> Verdict:
    """A broken MUST fails, a broken SHOULD warns, unless the profile promises the part."""
    part = definition.part
    promised = broken.promised or (part and getattr(run.profile.capabilities, part) is True)
    return Verdict.FAIL if definition.requirement.is_must or promised else Verdict.WARN


def _not_begun(definition: Check, run: Run) -> list[str]:
    """Why those of its scenarios were not begun that a limit of the user's left out."""
    bundles = (run.evidence.bundles.get(name) for name in definition.scenarios)
    return [b.unable for b in bundles if b is not None and b.unable.startswith(NOT_BEGUN)]


def _excuse(definition: Check, run: Run) -> str:
    """Why a seeming fault cannot be held against the target: its evidence was cut off."""
    for name in definition.scenarios:
        bundle = run.evidence.bundles.get(name)
        if bundle is None:
            continue
        if bundle.unable.startswith(CUT_SHORT):
            return bundle.unable
        gone = run.evidence.vanished_at
        if gone is not None and bundle.finished_at > gone:
            return run.evidence.stopped
    return ""


def _reproduce(
    definition: Check, run: Run, exhibits: tuple[Exhibit, ...], shown: Recording | None
) -> str:
    recording = exhibits[0].recording if exhibits else shown
    bundles = [run.evidence.bundles.get(name) for name in reversed(definition.scenarios)]
    if recording is None:
        recording = next(
            (b.recordings[-1] for b in bundles if b is not None and b.recordings), None
        )
    if recording is None or not recording.request.url:
        return ""
    start = next(
        (s for b in bundles if b is not None and (s := b.start_of(recording)) is not None), None
    )
    facts = next((b.facts for b in bundles if b is not None and recording in b.recordings), {})
    return meanwhile(facts.get("hooks", ())) + curl(recording, fresh_job=start)
