"""The pytest side: options, collecting before judging, verdicts, the report and the exit code.

A run has two phases. First all scenarios that the selected checks need are played together; then
the tests, pure functions, judge what was recorded. So a run takes as long as its longest wait, and
an interrupted run can still judge what it has.
"""

from __future__ import annotations

import platform
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from . import interrupt
from .catalogue import catalogue, implemented
from .check import RUN_FIXTURE, Check, Run, judge
from .collect import Evidence, Target, Unreachable, collect
from .explain import Cause, explain
from .known import mark, notes
from .limits import LEFT_OUT, NOT_BEGUN
from .options import UsageError, add_options, hide_query, known_from, target_from
from .progress import Progress
from .report import terminal_summary, write_report
from .results import (
    SEVERITY,
    CheckResult,
    RunResult,
    Verdict,
    exit_code,
    judge_run,
)
from .results import (
    Evidence as Counted,
)
from .saved import evidence_from, trace_meta
from .scenario import Scenario
from .selection import UnknownName, chosen, listing, markers, names_of, terms
from .trace import TraceError, save
from .witness import Witness, hear

USAGE_EXIT = 2
TRACE_FILE = "traces/run.trace.gz"


class Hooks:
    """What a suite tells the plugin."""

    @pytest.hookspec(firstresult=True)
    def pytest_streamgauge_scenarios(self) -> Sequence[Scenario]:
        """The suite's scenarios."""
        raise NotImplementedError


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser.getgroup("streamgauge", "streamgauge: judge a deployment"))


def pytest_configure(config: pytest.Config) -> None:
    # What a misbehaving target leaves half open is evidence, and no fault of a judgement.
    for warning in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{warning}")
    hide_query(config)
    for name in markers():
        config.addinivalue_line("markers", f"{name}: checks of this section, level or tag")
    config.pluginmanager.register(Session(config), "streamgauge-session")


class Session:
    """One run: its target, its evidence, its results."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run: Run | None = None
        self.results: dict[str, CheckResult] = {}
        self.known: dict[str, str] = {}
        self._early: dict[str, CheckResult] = {}
        self.started = datetime.now(UTC)
        self.result: RunResult | None = None
        self.report_dir = Path(config.getoption("--report-dir"))
        # The report carries the failures; pytest's own repetition of them helps nobody.
        if config.option.tbstyle == "auto":
            config.option.tbstyle = "no"
        if config.option.reportchars in ("", "fE"):
            config.option.reportchars = "N"

    # -- collecting ----------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        order = {identifier: n for n, identifier in enumerate(catalogue())}
        items.sort(key=lambda item: order.get(_id_of(item), -1))
        try:
            only = terms("--only", self.config.getoption("--only"))
            skip = terms("--skip", self.config.getoption("--skip"))
        except UnknownName as error:
            raise pytest.exit.Exception(str(error), returncode=USAGE_EXIT) from error
        patient = {s.name for s in self._scenarios() if s.patient}
        left: list[pytest.Item] = []
        for item in items:
            names = _names_of(item, patient)
            for name in names & {*markers()}:
                item.add_marker(name)
            item.extra_keyword_matches.update(names)
            if not names or chosen(names, only, skip):
                left.append(item)
        if len(left) < len(items):
            self.config.hook.pytest_deselected(items=[item for item in items if item not in left])
            items[:] = left

    def _scenarios(self) -> Sequence[Scenario]:
        found: Sequence[Scenario] = self.config.hook.pytest_streamgauge_scenarios()
        return found

    def _list(self, items: Sequence[pytest.Item]) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        rows = [d.requirement for item in items if (d := _definition(item)) is not None]
        for line in listing(rows):
            if terminal is not None:
                terminal.write_line(line)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        if self.config.option.collectonly or session.testsfailed:
            return (yield)
        if self.config.getoption("list_checks"):
            self._list(session.items)
            session.items.clear()
            return (yield)
        try:
            if not session.items:
                raise UsageError("the selection leaves no check: see --list")
            target = target_from(self.config)
            self.known = known_from(self.config)
            trace = self.config.getoption("--from-trace")
            evidence = evidence_from(Path(trace), target.profile) if trace else Evidence()
        except (UsageError, TraceError) as error:
            raise pytest.exit.Exception(str(error), returncode=USAGE_EXIT) from error
        strict = bool(self.config.getini("strict"))
        name = f"file:{trace}" if evidence.saved_as else target.base_url
        self.run = Run(name, target.profile, evidence, strict)
        if not trace:
            self._collect(target, evidence, session.items)
        return (yield)

    def _collect(self, target: Target, evidence: Evidence, items: Sequence[pytest.Item]) -> None:
        definitions = [d for item in items if (d := _definition(item)) is not None]
        wanted = {name for item in items for name in _scenarios_of(item)}
        scenarios = [scenario for scenario in self._scenarios() if scenario.name in wanted]
        terminal = Progress(quiet=self.config.option.verbose < -1)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            played = partial(self._judge_early, definitions)
            serves = Counter(name for item in items for name in _scenarios_of(item))
            interrupt.run(collect(target, scenarios, evidence, terminal.show, played, serves))
        except KeyboardInterrupt:
            evidence.stopped = f"interrupted after {_since(self.started):.0f} s"
        except Unreachable as error:
            evidence.stopped = str(error)
        finally:
            terminal.clear()

    def _judge_early(self, definitions: Sequence[Check]) -> None:
        """Judge what is ready while other scenarios still wait.

        Only what holds whatever else happens is kept: a fault is judged again at the end, when it
        is known whether the target went away or the instrument was late.
        """
        assert self.run is not None
        bundles = self.run.evidence.bundles
        for definition in definitions:
            identifier = definition.requirement.id
            if identifier in self._early or not all(n in bundles for n in definition.scenarios):
                continue
            result = judge(definition, self.run)
            if result.verdict is Verdict.PASS:
                self._early[identifier] = result

    # -- judging -------------------------------------------------------------------------------

    @pytest.fixture(name=RUN_FIXTURE)
    def judging(self, request: pytest.FixtureRequest) -> Any:
        """Judges one check and turns its verdict into pytest's terms."""

        def settle(definition: Check) -> None:
            assert self.run is not None
            early = self._early.get(definition.requirement.id)
            result = early or judge(definition, self.run)
            known = self.results.get(result.requirement.id)
            if known is None or SEVERITY.index(result.verdict) > SEVERITY.index(known.verdict):
                self.results[result.requirement.id] = result
            request.node.user_properties.append(("verdict", result.verdict.value))
            message = f"{result.requirement.id} {result.requirement.title}: {result.message}"
            if result.verdict is Verdict.FAIL and result.requirement.id in self.known:
                request.node.user_properties.append(("known", "yes"))
                pytest.skip(f"known failure: {message}")
            if result.verdict in (Verdict.FAIL, Verdict.ERROR):
                pytest.fail(message, pytrace=False)
            if result.verdict not in (Verdict.PASS, Verdict.WARN):
                pytest.skip(f"{result.verdict.value.replace('_', ' ')}: {result.message}")

        return settle

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        told = dict(report.user_properties) if report.when == "call" else {}
        verdict = told.get("verdict")
        if told.get("known"):
            return "known failures", "k", "KNOWN"
        marks = {
            Verdict.WARN: ("warned", "w", "WARN"),
            Verdict.NOT_APPLICABLE: ("not applicable", "-", "N/A"),
            Verdict.COULD_NOT_TEST: ("could not be tested", "?", "COULD NOT TEST"),
            Verdict.NOT_RUN: ("not run", "-", "NOT RUN"),
            Verdict.ERROR: ("suite errors", "E", "ERROR"),
        }
        return marks.get(Verdict(str(verdict))) if verdict else None

    # -- the end -------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.run is None:
            return
        interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        stopped = self.run.evidence.stopped or ("interrupted" if interrupted else "")
        results = mark((self._result_of(row.id, stopped) for row in implemented()), self.known)
        verdict, reason = judge_run(results, stopped)
        results, causes, unexplained = _explained(self.run, results)
        self.result = RunResult(
            target=self.run.target,
            profile=self.run.profile.name,
            started=_began(self.run, self.started).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            duration_s=_since(self.started),
            verdict=verdict,
            reason=reason,
            checks=results,
            notes=(*notes(results), *_notes(self.run), *unexplained),
            environment=_environment(self.run),
            trace="" if self.config.getoption("--from-trace") else TRACE_FILE,
            witnesses=() if stopped else self._witnesses(),
            causes=causes,
        )
        self._write(self.result)
        stale = any(result.is_stale for result in results)
        session.exitstatus = exit_code(verdict, strict=self.run.strict, stale=stale)

    def _result_of(self, identifier: str, stopped: str) -> CheckResult:
        known = self.results.get(identifier)
        if known is not None:
            return known
        why = stopped or "left out by the selection"
        return CheckResult(
            catalogue()[identifier], Verdict.NOT_RUN, why, Counted(0, "observations")
        )

    def _witnesses(self) -> tuple[Witness, ...]:
        assert self.run is not None
        bundles = self.run.evidence.bundles.values()
        try:
            return hear(bundles, browser=self.config.getoption("--browser"))
        except KeyboardInterrupt:  # all is judged: the report is what is wanted
            return ()

    def _write(self, result: RunResult) -> None:
        assert self.run is not None
        try:
            write_report(result, self.report_dir)
            if result.trace:
                trace = self.report_dir / result.trace
                trace.parent.mkdir(exist_ok=True)
                save(
                    trace,
                    trace_meta(self.run.target, self.run.profile.name, self.run.evidence),
                    self.run.evidence.bundles.values(),
                )
        except OSError as error:
            self.result = None
            sys.stderr.write(f"streamgauge: cannot write the report: {error}\n")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.result is None:
            return
        width = terminalreporter._tw.fullwidth
        colour = terminalreporter._tw.hasmarkup
        for line in terminal_summary(self.result, width, colour):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"report: {_shown(self.report_dir / 'index.html')}")

    def pytest_report_header(self) -> list[str]:
        names = ("pytest", "httpx", "h11", "anyio")
        return [
            f"streamgauge {_version('streamgauge')}, Python {platform.python_version()}, "
            + ", ".join(f"{name} {_version(name)}" for name in names)
        ]


def _definition(item: pytest.Item) -> Check | None:
    return getattr(getattr(item, "function", None), "check", None)


def _names_of(item: pytest.Item, patient: set[str]) -> set[str]:
    """What `--only`, `--skip`, `-m` and `-k` know a check by."""
    definition = _definition(item)
    if definition is None:
        return set()
    return names_of(
        definition.requirement,
        slow=not patient.isdisjoint(definition.scenarios),
        optional=bool(definition.part),
    )


def _id_of(item: pytest.Item) -> str:
    definition = _definition(item)
    return definition.requirement.id if definition else ""


def _scenarios_of(item: pytest.Item) -> tuple[str, ...]:
    definition = _definition(item)
    return definition.scenarios if definition else ()


def _notes(run: Run) -> tuple[str, ...]:
    notes = [
        f"{part.replace('_', ' ')} was {seen}"
        if seen.startswith(LEFT_OUT)
        else f"no {part.replace('_', ' ')}: {seen}"
        for part, seen in run.evidence.found.items()
        if seen
    ]
    not_begun = [
        bundle.scenario
        for bundle in run.evidence.bundles.values()
        if bundle.unable.startswith(NOT_BEGUN)
    ]
    if not_begun:
        notes.append(f"left out by a limit: {', '.join(not_begun)}")
    if run.evidence.saved_as:
        return (f"judged from {run.evidence.saved_as}: no scenario was played, no time is known",)
    if not run.long:
        notes.append("rules that need minutes of waiting were judged in part: see --long")
    return tuple(notes)


def _explained(
    run: Run, results: tuple[CheckResult, ...]
) -> tuple[tuple[CheckResult, ...], tuple[Cause, ...], tuple[str, ...]]:
    """The results with their causes; a fault in seeking these must cost nobody the report."""
    try:
        return (*explain(run, results), ())
    except Exception as error:
        note = f"causes could not be sought, a fault of this suite: {error!r}"
        return results, (), (note,)


def _environment(run: Run) -> dict[str, str]:
    return {
        "streamgauge": _version("streamgauge"),
        "python": platform.python_version(),
        "instrument lateness (p99)": f"{run.evidence.loop_lag_s * 1000:.0f} ms",
        "instrument waited for a core": f"{run.evidence.starved:.0%}",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _began(run: Run, otherwise: datetime) -> datetime:
    """The zero of all recorded times, so that the report can hold them against timestamps."""
    zero = run.evidence.wall_at_zero
    return datetime.fromtimestamp(zero, UTC) if zero else otherwise


def _since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
