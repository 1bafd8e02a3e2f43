"""Failures that are known: a list beside the project, so that only what is new breaks a build.

The list changes no verdict of a check: what fails is shown as failed, and as known. It only takes
the failure out of the run's verdict. A listed check that passes is told as well, or the list would
grow old in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from .results import CheckResult, Verdict
from .selection import unknown_id

KNOWN_BYTES_MAX = 1_000_000


class KnownError(Exception):
    """The list cannot be used; the message names the file, the line and what was expected."""


def load_known(path: Path) -> dict[str, str]:
    """Read a list: one id a line, and behind a `#` the reason.

    Returns:
        The reason for each id, "" where none is given.

    Raises:
        KnownError: it cannot be read, or names what is no check.
    """
    try:
        with path.open("rb") as file:
            data = file.read(KNOWN_BYTES_MAX + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise KnownError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise KnownError(f"{path} is not UTF-8 text (byte {error.start})") from error
    if len(data) > KNOWN_BYTES_MAX:
        raise KnownError(f"{path} is larger than {KNOWN_BYTES_MAX:,} bytes")
    known: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        identifier, _, reason = (part.strip() for part in line.partition("#"))
        if not identifier:
            continue
        if fault := unknown_id(identifier):
            raise KnownError(f"{path}:{number}: {fault}")
        if identifier in known:
            raise KnownError(f"{path}:{number}: {identifier} is listed twice")
        known[identifier] = reason
    return known


def mark(results: Iterable[CheckResult], known: Mapping[str, str]) -> tuple[CheckResult, ...]:
    """The same results, those on the list with its reason."""
    return tuple(
        replace(result, known=known[result.requirement.id])
        if result.requirement.id in known
        else result
        for result in results
    )


def notes(results: Iterable[CheckResult]) -> list[str]:
    """What has to be said of the listed checks, apart from the findings themselves."""
    listed = [result for result in results if result.known is not None]
    failed = [r.requirement.id for r in listed if r.is_known_failure]
    passed = [r.requirement.id for r in listed if r.verdict is Verdict.PASS]
    other = [
        f"{r.requirement.id} ({r.verdict.value.replace('_', ' ')})"
        for r in listed
        if r.requirement.id not in (*failed, *passed)
    ]
    said = []
    if failed:
        said.append(f"known failures, which do not count: {', '.join(failed)}")
    if passed:
        said.append(f"listed as known failures, but they pass (unlist them): {', '.join(passed)}")
    if other:
        said.append(f"listed as known failures, and neither failed nor passed: {', '.join(other)}")
    return said
