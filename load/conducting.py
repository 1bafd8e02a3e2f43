"""Ties the crowd to Locust: one process alone, a master, or a worker, from start to verdict.

Processes that have users hold a `Crowd`; the one that the user started (alone or master) holds a
`Run`, which gathers what the crowds count, watches that nobody dies, and gives the verdict. Between
processes travels one message, the whole tally, which is why none may get lost.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import gevent
from locust import LoadTestShape
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from streamgauge.framing import WireError
from streamgauge.profile import INSTANCE

from .arrivals import Arrivals
from .crowd import GONE_S, Crowd, Fire
from .dashboard import serve_dashboard
from .health import watch_over_self
from .run import Run, refused
from .settings import Settings, UsageError, address_of, settings_from
from .shapes import Restarts, Shape
from .table import Table
from .target import Target

TALLY: Final = "streamgauge_tally"
END: Final = "streamgauge_end"
SHARE: Final = "streamgauge_share"
TELL_S: Final = 1.0
FINALS_S: Final = 20.0
"""For so long a master waits for its workers' last counts."""
HOOK_S: Final = 60.0
"""A hook waits for a process to end, or to be ready."""
SPAWN_S: Final = 2.0
"""Within so long a shape's users arrive, where -r does not say otherwise."""
ALONE: Final = "this process"
RECORDS: Final = "streams.jsonl"
_LOG: Final = logging.getLogger("streamgauge.load")


class Conducting:
    """What one Locust process does for the load test."""

    def __init__(self, environment: Environment, settings: Settings) -> None:
        self.environment = environment
        self.settings = settings
        self.crowd: Crowd | None = None
        self.run: Run | None = None
        self.table = Table(environment)
        self._arrivals: Arrivals | None = None
        self._arrival_rate = settings.arrivals
        """This process's share of them."""
        self._looked: Target | None = None
        self._background: list[gevent.Greenlet] = []
        self._finals: set[str] = set()
        self._ending = False
        self._stopping = False
        """The users are being ended: what is counted now is no more the target's."""
        runner = environment.runner
        assert runner is not None
        self._is_worker = isinstance(runner, WorkerRunner)
        self._is_master = isinstance(runner, MasterRunner)
        if self._is_master:
            runner.register_message(TALLY, self._told)
        if self._is_worker:
            runner.register_message(END, self._told_to_end, concurrent=True)
            runner.register_message(SHARE, self._told_share)
        events: Any = environment.events
        events.test_start.add_listener(self._test_start)
        events.test_stopping.add_listener(self._test_stopping)
        events.test_stop.add_listener(self._test_stop)
        events.quitting.add_listener(self._quitting)
        events.user_error.add_listener(self._user_failed)
        if settings.shape is not None and not self._is_worker:
            environment.shape_class = Course(self, settings.shape)
            environment.shape_class.runner = runner
        if environment.web_ui is not None:
            base_path = getattr(environment.parsed_options, "web_base_path", None) or ""
            serve_dashboard(environment.web_ui, base_path, self._shown)

    def _shown(self) -> Run:
        """The run that the page shows; before the first one, one that has not begun."""
        return self.run or Run(self.settings, self.environment.host or "")

    @property
    def is_headless(self) -> bool:
        options = self.environment.parsed_options
        return bool(options and options.headless)

    # -- beginning ------------------------------------------------------------------------------

    def look_first(self) -> None:
        """Before anything starts: is there somebody, and is it what the profile describes?

        Raises SystemExit, with the report written.
        """
        try:
            self._looked = self._look()
        except (UsageError, WireError) as error:
            refuse(self.settings.reports, str(error))

    def _look(self) -> Target:
        target = Target(
            address_of(self.environment.host), self.settings.profile, self.settings.access
        )
        target.look()
        return target

    def _test_start(self, **_: Any) -> None:
        self._ending = self._stopping = False
        self._finals = set()
        if not self._is_worker:
            self.run = Run(self.settings, self.environment.host or "")
            self.settings.reports.mkdir(parents=True, exist_ok=True)
            (self.settings.reports / RECORDS).write_bytes(b"")
            self.run.on_restart = self._restart
            self._spawn(self._attend)
        runner = self.environment.runner
        if isinstance(runner, MasterRunner):
            share = self.settings.arrivals / max(1, runner.worker_count)
            runner.send_message(SHARE, {"arrivals": share})
        if not self._is_master:
            self._begin_crowd()

    def _begin_crowd(self) -> None:
        try:
            target, self._looked = self._looked or self._look(), None
        except (UsageError, WireError) as error:
            self._tell({"problem": str(error)})
            return
        self.settings.reports.mkdir(parents=True, exist_ok=True)
        turn = max(0, getattr(self.environment.runner, "worker_index", 0)) * 5
        records = self.settings.reports / RECORDS
        restarts = isinstance(self.settings.shape, Restarts)
        gone_s = HOOK_S + target.profile.declared.takeover_s if restarts else GONE_S
        self.crowd = Crowd(target, records, self._fire(), turn, gone_s)
        self._spawn(watch_over_self, self.crowd.tally)
        self._spawn(self._keep_telling)
        if self._arrival_rate:
            self._arrivals = Arrivals(self.crowd, self._arrival_rate, self._user_failed)

    def _spawn(self, do: Any, *arguments: Any) -> None:
        self._background.append(gevent.spawn(do, *arguments))

    def _fire(self) -> Fire:
        request: Any = self.environment.events.request

        def fire(
            method: str, name: str, seconds: float, octets: int, error: Exception | None
        ) -> None:
            request.fire(
                request_type=method, name=name, response_time=seconds * 1000,
                response_length=octets, exception=error, context={},
            )  # fmt: skip

        return fire

    # -- while it runs --------------------------------------------------------------------------

    def _keep_telling(self) -> None:
        """Send what this process has counted, again and again."""
        while True:
            gevent.sleep(TELL_S)
            self._tell_tally()

    def _tell_tally(self, *, final: bool = False) -> None:
        crowd = self.crowd
        if crowd is None:
            return
        self.table.take(crowd.tally)
        told: dict[str, Any] = {"tally": crowd.tally.as_dict(), "final": final}
        if crowd.gone:
            told["problem"] = f"the target went away: {crowd.gone}"
        self._tell(told)

    def _tell(self, told: dict[str, Any]) -> None:
        runner = self.environment.runner
        if isinstance(runner, WorkerRunner):
            runner.send_message(TALLY, told)
        else:
            self._take(ALONE, told)

    def _told(self, environment: Environment, msg: Any, **_: Any) -> None:
        del environment
        self._take(msg.node_id, msg.data)

    def _take(self, name: str, told: dict[str, Any]) -> None:
        if told.get("final"):
            self._finals.add(name)
        run = self.run
        if run is None:
            return
        if "tally" in told:
            run.take(name, told["tally"])
        if "problem" in told and run.problem(told["problem"]):
            _LOG.error(told["problem"])
            self.end()

    def _attend(self) -> None:
        """Once a second: draw the curves on, and notice workers that died."""
        while True:
            gevent.sleep(TELL_S)
            run, runner = self.run, self.environment.runner
            if run is None or runner is None or self._stopping:
                continue
            if isinstance(runner, MasterRunner):
                self._notice_deaths(run, runner)
            run.tick(runner.user_count)

    def _notice_deaths(self, run: Run, runner: MasterRunner) -> None:
        for worker in runner.clients.all:
            if worker.state == STATE_MISSING and worker.id not in self._finals:
                said = f"the worker {worker.id} died: what it counted last is not in this report"
                if run.problem(said):
                    _LOG.error(said)
        if run.problems and runner.worker_count == 0 and not self._stopping:
            self.end()

    def end(self) -> None:
        """End the run early: the whole process where nobody would look at it afterwards."""
        runner = self.environment.runner
        if self._ending or runner is None:
            return
        self._ending = True
        gevent.spawn(runner.quit if self.is_headless else runner.stop)

    def _restart(self) -> None:
        """Call the profile's hook in the background, and mark when."""
        run = self.run
        if run is None:
            return
        words = [word.replace(INSTANCE, "1") for word in self.settings.profile.hooks.restart]
        run.mark("restart", "fault")

        def call() -> None:
            try:
                # Its output goes nowhere: a service that it starts may hold a pipe open for ever.
                done = subprocess.run(
                    words, timeout=HOOK_S, check=False, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError) as error:
                run.problem(f"the hook 'restart' failed: {error}")
                return
            if done.returncode:
                run.problem(f"the hook 'restart' ended with exit code {done.returncode}")
            run.mark("restarted", "fault")

        self._spawn(call)

    def _user_failed(self, exception: Exception, **_: Any) -> None:
        """A fault of ours, which must not pass for a good run."""
        self._tell({"problem": f"own error: {type(exception).__name__}: {exception}"})

    # -- ending ---------------------------------------------------------------------------------

    def _told_share(self, msg: Any, **_: Any) -> None:
        self._arrival_rate = msg.data["arrivals"]

    def _told_to_end(self, **_: Any) -> None:
        runner = self.environment.runner
        if runner is not None:
            runner.stop()

    def _test_stopping(self, **_: Any) -> None:
        self._stopping = True

    def _test_stop(self, **_: Any) -> None:
        if self._arrivals is not None:
            self._arrivals.stop()
            self._arrivals = None
        if self.crowd is not None:
            self._tell_tally(final=True)
            self.crowd.close()
            self.crowd = None
        runner = self.environment.runner
        if isinstance(runner, MasterRunner):
            self._await_finals(runner)
        background, self._background = self._background, []
        own = gevent.getcurrent()
        for greenlet in background:
            if greenlet is not own:
                greenlet.kill(block=False)
        if self.run is not None and not self.run.finished:
            self._conclude(self.run)

    def _await_finals(self, runner: MasterRunner) -> None:
        """Let the workers end their users and send their last counts."""
        deadline = time.monotonic() + FINALS_S

        def waiting() -> list[str]:
            alive = (worker for worker in runner.clients.all if worker.state != STATE_MISSING)
            told = self.run.processes if self.run is not None else ()
            return [w.id for w in alive if w.id in told and w.id not in self._finals]

        for name in waiting():
            runner.send_message(END, client_id=name)
        while waiting() and time.monotonic() < deadline:
            gevent.sleep(0.05)
        if self.run is not None:
            # One that died in the last seconds has only been missed while the others were awaited.
            self._notice_deaths(self.run, runner)
            for name in waiting():
                self.run.problem(f"the worker {name} did not send its last counts")

    def _conclude(self, run: Run) -> None:
        verdict = run.finish()
        self.environment.process_exit_code = verdict.exit_code
        sys.stderr.write(run.spoken())
        sys.stderr.flush()

    def _quitting(self, **_: Any) -> None:
        """Locust is about to exit: by itself, by Ctrl-C, by SIGTERM."""
        runner = self.environment.runner
        if self.run is not None and not self.run.finished and runner is not None:
            runner.quit()
        elif self._is_worker and self.crowd is not None and runner is not None:
            runner.stop()
        elif self.run is None and not self._is_worker and self.is_headless:
            self.run = Run(self.settings, self.environment.host or "")
            self._conclude(self.run)


class Course(LoadTestShape):
    """A shape, as Locust asks for it."""

    use_common_options = True

    def __init__(self, conducting: Conducting, shape: Shape) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._conducting = conducting
        self._shape = shape

    def tick(self) -> tuple[int, float] | None:
        """Users and how many of them begin each second; None ends the run."""
        run = self._conducting.run or Run(self._conducting.settings, "")
        users = self._shape.users(time.time() - run.began, run)
        if users is None:
            return None
        options = self._conducting.environment.parsed_options
        rate = getattr(options, "spawn_rate", None) or max(1.0, users / SPAWN_S)
        return users, rate


def refuse(reports: Path, reason: str) -> NoReturn:
    """There is nothing to run: say why, and leave a report. Raises SystemExit."""
    verdict = refused(reports, reason)
    sys.stderr.write(f"streamgauge: {reason}\n")
    sys.exit(verdict.exit_code)


def conduct(environment: Environment) -> Conducting:
    """Set a Locust process up. Raises SystemExit where the options cannot be used."""
    options = environment.parsed_options
    assert options is not None
    try:
        settings = settings_from(options)
    except UsageError as error:
        refuse(Path(options.report_dir), str(error))
    conducting = Conducting(environment, settings)
    if conducting.is_headless and not isinstance(environment.runner, WorkerRunner):
        conducting.look_first()
    return conducting
