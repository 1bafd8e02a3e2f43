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

from .coverage import coverage_text
from .explain.found import search_buffer, search_silence
from .options import DEFAULT_PROFILE, DEFAULT_REPORT_DIR, UsageError, path_from
from .profile import bundled_profiles
from .trace import TraceError
from .verdict import Unable

USAGE_EXIT = 2
UP_TO_MAX_S = 1800.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (0 conformant, 1 not, 2 error, 3 incomplete)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (UsageError, TraceError) as error:
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

    check = commands.add_parser("check", help="judge a running deployment")
    check.add_argument("url", metavar="URL", help="its address, for example https://your.service")
    check.add_argument("--instance", action="append", default=[], metavar="URL")
    check.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    check.add_argument("--long", action="store_true", help="also judge what needs minutes")
    _add_judging(check)
    check.set_defaults(run=_check)

    judge = commands.add_parser("judge", help="judge a saved trace again, without the target")
    judge.add_argument("trace", metavar="TRACE", type=Path)
    _add_judging(judge)
    judge.set_defaults(run=_judge)

    serve = commands.add_parser("serve", help="run the reference server (settings: .env.example)")
    serve.add_argument("--port", type=int, help="0 picks a free one")
    serve.set_defaults(run=_serve)

    _add_finders(commands)

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


def _add_judging(parser: argparse.ArgumentParser) -> None:
    profiles = ", ".join(bundled_profiles())
    parser.add_argument(
        "--profile", metavar="NAME|FILE", help=f"{profiles} (default: {DEFAULT_PROFILE})"
    )
    parser.add_argument("--report-dir", metavar="DIR", default=str(DEFAULT_REPORT_DIR))
    parser.add_argument("--strict", action="store_true", help="exit 3 when a MUST is untested")
    parser.add_argument("-k", metavar="WORDS", help="only checks that match, as in pytest")


def _check(options: argparse.Namespace) -> int:
    arguments = ["--base-url", options.url]
    for name in ("instance", "header"):
        for value in getattr(options, name):
            arguments += [f"--{name}", value]
    if options.long:
        arguments.append("--long")
    return _pytest(options, arguments)


def _judge(options: argparse.Namespace) -> int:
    if not options.trace.is_file():
        raise UsageError(f"no such trace: {options.trace}")
    return _pytest(options, ["--from-trace", str(options.trace)])


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


def _pytest(options: argparse.Namespace, arguments: list[str]) -> int:
    suite = importlib.util.find_spec("conformance")
    if suite is None or not suite.submodule_search_locations:
        raise UsageError("the conformance suite is not installed beside this command")
    folder = Path(next(iter(suite.submodule_search_locations)))
    arguments = [
        str(folder),
        f"--rootdir={folder.parent}",
        # No settings but these: neither those of the project that stands in the current folder, nor
        # a cache that several runs would share. Judgements are plain functions.
        *("-c", os.devnull, "-p", "no:cacheprovider", "-p", "no:asyncio"),
        "-q",
        f"--report-dir={Path(options.report_dir).resolve()}",
        *arguments,
    ]
    if options.profile:
        arguments += ["--profile", options.profile]
    if options.strict:
        arguments.append("--strict")
    if options.k:
        arguments += ["-k", options.k]
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
