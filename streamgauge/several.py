"""Several deployments in one call: each is judged in turn, then one page shows them side by side.

Each target gets a process and a folder of its own with a complete report, exactly as if it had been
judged alone; nothing of one run can reach another. The exit code is the worst of all.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .compare import CompareError, load_results
from .report.overview import Judged, write_overview

#: From best to worst: incomplete under --strict is less bad than a failure.
_BY_SEVERITY = (0, 3, 1, 2)
_NAME_CHARS_MAX = 60


def judge_several(
    urls: Sequence[str], folder: Path, arguments: Sequence[str], *, strict: bool
) -> int:
    """Judge one target after the other and write the overview.

    Args:
        urls: addresses, checked for their form.
        folder: where everything goes; each target gets a folder in it.
        arguments: the options of every run, as pytest spells them.
        strict: 3 where a target's MUST could not be tested.

    Returns:
        The worst exit code.
    """
    judged: list[Judged] = []
    interrupted = False
    for number, url in enumerate(urls, start=1):
        name = folder_name(number, url)
        if interrupted:
            judged.append(Judged(url, name, 2, None))
            continue
        print(f"\n{number} of {len(urls)}: {url}", flush=True)
        before = _written(folder / name)
        code, interrupted = _judge(url, folder / name, arguments)
        judged.append(Judged(url, name, code, _results(folder / name, before)))
    for path in write_overview(judged, folder, strict=strict):
        print(f"overview: {path}", flush=True)
    return max((each.exit_code for each in judged), key=_BY_SEVERITY.index)


def folder_name(number: int, url: str) -> str:
    """A target's folder: its place in the call, and enough of its address to be recognised."""
    parts = urlsplit(url)
    words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{parts.netloc}{parts.path}").strip("-.")
    return f"{number}-{words[:_NAME_CHARS_MAX]}"


def _judge(url: str, folder: Path, arguments: Sequence[str]) -> tuple[int, bool]:
    """Run the suite in a process of its own: its exit code, and whether it was interrupted."""
    command = [sys.executable, "-m", "streamgauge", "check", url, f"--report-dir={folder}"]
    # In a group of its own, so that Ctrl-C reaches it through us, and exactly once: a second one
    # would disturb it while it writes the report of what it has.
    process = subprocess.Popen([*command, *arguments], process_group=0)
    told = False

    def tell(*_: object) -> None:
        nonlocal told
        if not told:
            told = True
            process.send_signal(signal.SIGINT)

    handlers = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return (code if code in _BY_SEVERITY else 2), told


def _written(folder: Path) -> int:
    """When the folder's results were written, 0 where there are none."""
    try:
        return (folder / "results.json").stat().st_mtime_ns
    except OSError:
        return 0


def _results(folder: Path, before: int) -> dict[str, Any] | None:
    """What this run left, None where it left nothing (an older report does not count)."""
    if _written(folder) == before:
        return None
    try:
        return load_results(folder)
    except CompareError:
        return None
