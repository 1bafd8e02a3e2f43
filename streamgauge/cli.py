"""The `streamgauge` command: the same runs for people who do not want to know pytest.

`check` and `judge` hand over to pytest with the options spelled as pytest knows them; nothing is
decided here.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from .compare import CompareError, compare
from .coverage import coverage_text
from .explain.found import search_buffer, search_silence
from .options import DEFAULT_PROFILE, DEFAULT_REPORT_DIR, UsageError, path_from, usable_url
from .profile_file import bundled_profiles
from .several import judge_several
from .survey.command import add_probe
from .trace import TraceError
from .verdict import Unable

USAGE_EXIT = 2
UP_TO_MAX_S = 1800.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (0 conformant, 1 not, 2 error, 3 incomplete)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (UsageError, TraceError, CompareError) as error:
        print(f"streamgauge: {error}", file=sys.stderr)
        return USAGE_EXIT
    except KeyboardInterrupt:
        print("streamgauge: interrupted", file=sys.stderr)
        return USAGE_EXIT
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamgauge",
        description="Does a deployment really stream? A verdict per guarantee, with evidence.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="judge one or several running deployments")
    check.add_argument(
        "url", metavar="URL", nargs="*", help="its address, for example https://your.service"
    )
    check.add_argument("--instance", action="append", default=[], metavar="URL")
    check.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    check.add_argument(
        "--read-only", action="store_true", help="start and change nothing: judge --job"
    )
    check.add_argument("--job", metavar="ID|URL", help="the job to read, or its stream's URL")
    check.add_argument("--long", action="store_true", help="also judge what needs minutes")
    check.add_argument("--max-jobs", metavar="N", help="start at most N jobs")
    check.add_argument("--budget", metavar="SECONDS", help="collect for at most so long")
    check.add_argument("--wait-ready", metavar="SECONDS", help="first wait until it answers")
    check.add_argument(
        "--browser", action="store_true", help="also let a real browser read streams"
    )
    _add_judging(check)
    check.set_defaults(run=_check)

    judge = commands.add_parser(
        "judge", help="judge what was saved, without the target: a trace, a .har file, a curl dump"
    )
    judge.add_argument("file", metavar="FILE", type=Path)
    _add_judging(judge)
    judge.set_defaults(run=_judge)

    add_probe(commands)
    compare = commands.add_parser("compare", help="what got better and worse between two runs")
    compare.add_argument("before", metavar="A.json", type=Path)
    compare.add_argument("after", metavar="B.json", type=Path)
    compare.add_argument("--json", action="store_true", help="for programs")
    compare.set_defaults(run=_compare)

    serve = commands.add_parser("serve", help="run the reference server (settings: .env.example)")
    serve.add_argument("--port", type=int, help="0 picks a free one")
    serve.set_defaults(run=_serve)

    _add_finders(commands)
    _add_chaos(commands)

    coverage = commands.add_parser("coverage", help="the catalogue: which rules have a check")
    coverage.set_defaults(run=_coverage)
    return parser


def _add_finders(commands: Any) -> None:
    """The two searches of a path, which start jobs of their own and take their time."""
    buffer = commands.add_parser(
        "find-buffer", help="the smallest frame that passes this path at once (about a minute)"
    )
    buffer.set_defaults(run=_find_buffer)
    heartbeat = commands.add_parser(
        "find-heartbeat", help="the longest silence that a stream outlives (as long as --up-to)"
    )
    heartbeat.add_argument(
        "--up-to", type=float, default=90.0, metavar="SECONDS", help="the longest to try (90)"
    )
    heartbeat.set_defaults(run=_find_heartbeat)
    for parser in (buffer, heartbeat):
        parser.add_argument("url", metavar="URL")
        parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
        parser.add_argument("--profile", metavar="NAME|FILE", default=DEFAULT_PROFILE)


def _add_chaos(commands: Any) -> None:
    """The experiments; what they do is decided in the folder `chaos`."""
    chaos = commands.add_parser(
        "chaos", help="break a deployment on purpose, and judge what every reader got"
    )
    chaos.add_argument(
        "url", metavar="URL", nargs="?", help="your own (with [hooks]); else local ones are made"
    )
    chaos.add_argument("--profile", metavar="NAME|FILE", help="its hooks, and what it declares")
    chaos.add_argument("--instance", action="append", default=[], metavar="URL")
    chaos.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    chaos.add_argument("--seed", type=int, help="of the faults; default: a new one")
    chaos.add_argument("--schedule", metavar="FILE", help="play what a run wrote down")
    chaos.add_argument("--whole", action="store_true", help="every fault on every link")
    chaos.add_argument("--budget", metavar="SECONDS", help="then random combinations")
    chaos.add_argument("--only", action="append", default=[], metavar="TEXT")
    chaos.add_argument("--report-dir", metavar="DIR", default=str(Path("reports") / "chaos"))
    chaos.set_defaults(run=_chaos)


def _add_judging(parser: argparse.ArgumentParser) -> None:
    profiles = ", ".join(bundled_profiles())
    parser.add_argument(
        "--profile", metavar="NAME|FILE", help=f"{profiles} (default: {DEFAULT_PROFILE})"
    )
    parser.add_argument("--report-dir", metavar="DIR", default=str(DEFAULT_REPORT_DIR))
    parser.add_argument("--strict", action="store_true", help="exit 3 when a MUST is untested")
    chosen = "ids, sections, levels or tags, with commas"
    parser.add_argument("--only", action="append", default=[], metavar="NAMES", help=chosen)
    parser.add_argument("--skip", action="append", default=[], metavar="NAMES", help=chosen)
    parser.add_argument("-k", metavar="WORDS", help="only checks that match, as in pytest")
    parser.add_argument("-m", metavar="MARKS", help='as in pytest: "must and not quota"')
    parser.add_argument("--list", action="store_true", help="print what would be judged, and end")
    parser.add_argument("--known-failures", metavar="FILE", help="ids that are known to fail")


def _check(options: argparse.Namespace) -> int:
    if options.list:
        return _pytest(options, [*_judging(options), "--list"])
    if not options.url:
        raise UsageError("which deployment? Give its address: streamgauge check https://...")
    running = []
    for name in ("instance", "header"):
        for value in getattr(options, name):
            running += [f"--{name}", value]
    for name in ("max_jobs", "budget", "wait_ready"):
        if getattr(options, name) is not None:
            running.append(f"--{name.replace('_', '-')}={getattr(options, name)}")
    if options.long:
        running.append("--long")
    if options.browser:
        running.append("--browser")
    if options.read_only:
        running.append("--read-only")
    if options.job:
        running += ["--job", options.job]
    arguments = [*_judging(options), *running]
    if len(options.url) > 1:
        if options.instance:
            raise UsageError("--instance belongs to one deployment: judge several one by one")
        urls = [usable_url("URL", url) for url in options.url]
        return judge_several(urls, Path(options.report_dir), arguments, strict=options.strict)
    return _pytest(options, ["--base-url", options.url[0], *arguments])


def _judge(options: argparse.Namespace) -> int:
    if options.list:
        return _pytest(options, [*_judging(options), "--list"])
    if not options.file.is_file():
        raise UsageError(f"no such file: {options.file}")
    return _pytest(options, ["--from-trace", str(options.file), *_judging(options)])


def _compare(options: argparse.Namespace) -> int:
    return compare(options.before, options.after, as_json=options.json)


def _judging(options: argparse.Namespace) -> list[str]:
    """The options that `check`, `judge` and pytest spell alike."""
    arguments = ["--strict"] if options.strict else []
    for name in ("only", "skip"):
        for value in getattr(options, name):
            arguments.append(f"--{name}={value}")
    if options.profile:
        arguments.append(f"--profile={options.profile}")
    if options.known_failures:
        arguments.append(f"--known-failures={options.known_failures}")
    for name in ("k", "m"):
        if getattr(options, name):
            arguments += [f"-{name}", getattr(options, name)]
    return arguments


def _find_buffer(options: argparse.Namespace) -> int:
    url, headers, profile = path_from(options.url, options.header, options.profile)
    return _tell(lambda: search_buffer(url, headers, profile))


def _find_heartbeat(options: argparse.Namespace) -> int:
    if not 2.0 <= options.up_to <= UP_TO_MAX_S:
        raise UsageError(f"--up-to: expected 2 to {UP_TO_MAX_S:g} seconds, got {options.up_to:g}")
    url, headers, profile = path_from(options.url, options.header, options.profile)
    return _tell(lambda: search_silence(url, headers, profile, options.up_to))


def _tell(search: Callable[[], list[str]]) -> int:
    try:
        lines = search()
    except Unable as reason:
        raise UsageError(f"the search could not be made: {reason}") from reason
    print("\n".join(lines))
    return 0


def _chaos(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("toxiproxy") is None:
        raise UsageError("the chaos suite is not installed: pip install 'streamgauge[chaos]'")
    arguments = ["--base-url", options.url] if options.url else []
    for name in ("instance", "header", "only"):
        arguments += [f"--{name}={value}" for value in getattr(options, name)]
    for name in ("profile", "seed", "schedule", "budget"):
        if getattr(options, name) is not None:
            arguments.append(f"--{name}={getattr(options, name)}")
    if options.whole:
        arguments.append("--whole")
    return _pytest(options, arguments, "chaos")


def _pytest(
    options: argparse.Namespace, arguments: list[str], suite_name: str = "conformance"
) -> int:
    suite = importlib.util.find_spec(suite_name)
    if suite is None or not suite.submodule_search_locations:
        raise UsageError(f"the {suite_name} suite is not installed beside this command")
    folder = Path(next(iter(suite.submodule_search_locations)))
    arguments = [
        str(folder),
        f"--rootdir={folder.parent}",
        # No settings but these: neither those of the project that stands in the current folder, nor
        # a cache that several runs would share. Judgements are plain functions.
        *("-c", os.devnull, "-p", "no:cacheprovider", "-p", "no:asyncio"),
        # pytest-playwright, where it is installed, has a --browser of its own.
        *("-p", "no:playwright"),
        "-q",
        f"--report-dir={Path(options.report_dir).resolve()}",
        *arguments,
    ]
    return int(pytest.main(arguments))


def _serve(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("reference_server") is None:
        raise UsageError("the reference server is not installed beside this command")
    missing = [name for name in ("quart", "hypercorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} is not installed: pip install 'streamgauge[server]'"
        )
    if options.port is not None:
        os.environ["PORT"] = str(options.port)
    sys.stdout.flush()
    # Becoming the server leaves no parent behind that would have to pass signals on.
    os.execv(sys.executable, [sys.executable, "-m", "reference_server"])


def _coverage(_: argparse.Namespace) -> int:
    print(coverage_text())
    return 0
