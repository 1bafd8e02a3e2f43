"""Control hooks: the user's own commands that kill, pause and restart parts of the deployment.

A profile declares them as lists of words; no shell reads them. A hook that fails says something
about the user's set-up and nothing about the target, so what it was needed for could not be tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from typing import Final

from .lab import Lab
from .limits import until_ready
from .profile import INSTANCE
from .verdict import Unable

HOOK_S: Final = 60.0
"""A command waits for a process to end, or to be ready."""
BACK_S: Final = 60.0
SAID_CHARS: Final = 200
PRINTED_BYTES_MAX: Final = 65_536


async def call(lab: Lab, name: str, number: int | None = None) -> str:
    """Run a hook, for an instance counted from 0 where it is about one; returns what it printed.

    That it ran is noted in the facts.

    Raises:
        Unable: it failed, or did not end in time.
    """
    instance = None if number is None else number + 1
    noted: dict[str, object] = {"hook": name, "instance": instance, "at": lab.now()}
    lab.facts.setdefault("hooks", []).append(noted)
    words = [word.replace(INSTANCE, str(instance)) for word in getattr(lab.profile.hooks, name)]
    try:
        return await _run(words)
    except _Failed as error:
        raise Unable(f"the hook {name!r} of the profile {lab.profile.name!r} {error}") from error
    finally:
        noted["done_at"] = lab.now()


async def bring_back(lab: Lab, name: str, number: int) -> None:
    """Let an instance serve again, and wait until it answers.

    Raises:
        Unable: it does not come back.
    """
    await call(lab, name, number)
    if seen := await until_ready(lab.instances[number], BACK_S):
        raise Unable(f"after the hook {name!r}: {seen}")


def lacking(lab: Lab, *names: str, instances: int = 1) -> str:
    """What a scenario is missing that only the user can give, "" where it has all."""
    missing = [name for name in names if not getattr(lab.profile.hooks, name)]
    if missing:
        return f"control hooks are needed: {', '.join(missing)} in the profile's [hooks]"
    if len(lab.instances) < instances:
        return "another instance is needed: name each other one by --instance URL"
    return ""


class _Failed(Exception):
    """What went wrong with a command."""


async def _run(words: Sequence[str]) -> str:
    """What a command printed. Raises _Failed.

    It prints to a file: a service that it starts may hold a pipe open for ever.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        except OSError as error:
            raise _Failed(f"cannot be run: {words[0]}: {error.strerror}") from error
        try:
            async with asyncio.timeout(HOOK_S):
                code = await process.wait()
        except TimeoutError:
            raise _Failed(f"did not end within {HOOK_S:.0f} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        output.seek(0)
        printed = output.read(PRINTED_BYTES_MAX).decode("utf-8", "replace").strip()
    if code:
        last = printed.rpartition("\n")[2][:SAID_CHARS]
        raise _Failed(f"ended with exit code {code}: {last or 'it said nothing'}")
    return printed
