"""Puts a report into a folder that is not ours alone.

Two runs may finish in the same second, a browser may be reading the last report, and the folder may
hold other people's files. So all of a report is rendered first, written beside its final names, and
renamed under a lock: a reader sees the old file or the new one, and the set left behind is of one
run. Only the names in `render` and our own left-over temporary files are ever replaced or removed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..results import RunResult
from .data import results_json
from .html import report_html
from .junit import junit_xml
from .markdown import summary_markdown

LOCK_NAME = ".lock"
LOCK_WAIT_S = 30.0
"""A writer holds the lock for milliseconds; longer than this it is stuck, and we say so."""
LOCK_POLL_S = 0.02
TEMPORARY_PREFIX = ".streamgauge-"
TEMPORARY_SUFFIX = ".tmp"


def write_report(run: RunResult, folder: Path) -> None:
    """Write `results.json`, `summary.md`, `junit.xml` and `index.html` into `folder`.

    The folder is made where it is missing. Foreign files in it are not touched.

    Raises:
        OSError: the folder cannot be written to.
        TimeoutError: another writer has held the folder's lock for too long.
    """
    replace_files(render(run), folder)


def replace_files(contents: Mapping[str, bytes], folder: Path) -> None:
    """Put files into a folder, all of them or none; it is made where it is missing.

    Raises:
        OSError: the folder cannot be written to.
        TimeoutError: another writer has held the folder's lock for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _sweep(folder)
        _replace(folder, contents)


def render(run: RunResult) -> dict[str, bytes]:
    """The files of a report by name."""
    texts = {
        "index.html": report_html(run),
        "summary.md": summary_markdown(run),
        "junit.xml": junit_xml(run),
        "results.json": results_json(run),
    }
    return {name: text.encode("utf-8", "replace") for name, text in texts.items()}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel releases it also when we are killed."""
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(
                        f"{folder / LOCK_NAME} has been held by another writer"
                        f" for {LOCK_WAIT_S:.0f} s"
                    ) from None
                time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what a killed writer left: under the lock, no temporary file of ours is in use."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"):
        path.unlink(missing_ok=True)


def _replace(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write everything first, then rename: a full disk leaves the previous report whole."""
    temporary = {
        name: folder / f"{TEMPORARY_PREFIX}{name}-{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        for name in contents
    }
    try:
        for name, path in temporary.items():
            # "x" follows no link and overwrites nothing; the mode is the user's umask.
            with path.open("xb") as file:
                file.write(contents[name])
                file.flush()
                os.fsync(file.fileno())
        for name, path in temporary.items():
            path.replace(folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
