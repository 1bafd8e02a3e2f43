"""`streamgauge probe URL`: the command around a survey."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from .. import interrupt
from ..access import Access, AccessError, access
from ..options import UsageError, header, usable_url
from ..profile_file import ProfileError, load_profile
from .look import LookError, survey
from .write import profile_text

WATCH_S = 30.0
WATCH_MAX_S = 300.0


def add_probe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    probe = commands.add_parser("probe", help="look at a deployment and write a profile for it")
    probe.add_argument("url", metavar="URL", help="its address, or the URL of a stream")
    probe.add_argument("--start", action="store_true", help="one job may be started and watched")
    probe.add_argument("--watch", type=float, default=WATCH_S, metavar="SECONDS")
    probe.add_argument("--profile", metavar="NAME|FILE", help="what it is likely to be")
    probe.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    probe.add_argument("-o", "--output", type=Path, metavar="FILE.toml", help="default: the screen")
    probe.set_defaults(run=run_probe)


def run_probe(options: argparse.Namespace) -> int:
    """Look, write, and make sure that what was written can be used.

    Raises:
        UsageError: a wrong argument, or nothing answers.
    """
    if not 1.0 <= options.watch <= WATCH_MAX_S:
        raise UsageError(f"--watch: expected 1 to {WATCH_MAX_S:.0f} seconds, got {options.watch:g}")
    output: Path | None = options.output
    if output is not None and output.suffix != ".toml":
        raise UsageError(f"-o: expected a file name that ends in .toml, got {str(output)!r}")
    url = usable_url("URL", options.url, query=True)
    headers = tuple(header(text) for text in options.header)
    likely, said = None, Access()
    if options.profile:
        try:
            likely = load_profile(options.profile)
            said = access(likely)
        except (ProfileError, AccessError) as error:
            raise UsageError(f"--profile: {error}") from error
    print(f"looking at {url.partition('?')[0]} ...", file=sys.stderr)
    try:
        found = interrupt.run(
            survey(
                url,
                headers=(*headers, *said.headers),
                query=said.query,
                start=options.start,
                watch_s=options.watch,
                likely=likely,
            )
        )
        if likely is not None:
            # A file is named from the root: what is written may be put anywhere.
            is_file = options.profile.endswith(".toml")
            found.base = str(Path(options.profile).resolve()) if is_file else options.profile
    except LookError as error:
        raise UsageError(str(error)) from error
    text = profile_text(found)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "probed.toml"
        draft.write_text(text, "utf-8")
        try:
            load_profile(str(draft))
        except ProfileError as error:  # pragma: no cover  # a fault of the writer
            raise RuntimeError(f"the profile that was written cannot be read: {error}") from error
    if output is None:
        print(text, end="")
        return 0
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"-o: cannot write {output}: {error.strerror}") from error
    print(f"written to {output}: check it, then give it to --profile", file=sys.stderr)
    return 0
