"""The rules of `hooks`: the user's commands are run as they stand, bounded, and blamed rightly."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from streamgauge import hooks
from streamgauge.client import Client
from streamgauge.clock import RunClock
from streamgauge.lab import Lab
from streamgauge.profile import Hooks, Profile
from streamgauge.profile_file import ProfileError, load_profile
from streamgauge.reproduce import meanwhile
from streamgauge.shared import Shared
from streamgauge.verdict import Unable

NOBODY = "http://127.0.0.1:9"


def lab_with(*addresses: str, **commands: tuple[str, ...]) -> Lab:
    """A lab whose profile has these hooks, and an instance for each address."""
    clock = RunClock()
    first, *others = (Client(address, clock, ()) for address in addresses or (NOBODY,))
    profile = Profile("tried", hooks=Hooks(**commands))
    return Lab("tried", Shared(first, profile, False, 60.0, instances=tuple(others)))


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, "{instance}")


async def test_the_instance_is_counted_from_one(tmp_path: Path) -> None:
    """If a hook is about an instance, then its number stands in the words, and the facts say so."""
    told = tmp_path / "told"
    code = f"import sys, pathlib; pathlib.Path({str(told)!r}).write_text(sys.argv[1])"
    lab = lab_with(kill=python(code))
    await hooks.call(lab, "kill", 1)
    assert told.read_text() == "2"
    (noted,) = lab.facts["hooks"]
    assert (noted["hook"], noted["instance"]) == ("kill", 2)
    assert noted["at"] <= noted["done_at"]


def test_the_reproduction_names_the_hooks() -> None:
    """If something was broken meanwhile, then the lines that reproduce it say what."""
    called = [{"hook": "kill", "instance": 3, "at": 1.0}, {"hook": "stop_store", "instance": None}]
    said = meanwhile(called)
    assert said == "# meanwhile, by the profile's hooks: kill of instance 3, then stop_store\n"
    assert meanwhile(()) == ""


async def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    """If a word has a shell's signs in it, then they are only signs."""
    made = tmp_path / "made"
    lab = lab_with(stop_store=(sys.executable, "-c", "pass", f"; touch {made}", "$(id)"))
    await hooks.call(lab, "stop_store")
    assert not await asyncio.to_thread(made.exists)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((sys.executable, "-c", "import sys; sys.exit('no such pod')"), "exit code 1: no such pod"),
        ((sys.executable, "-c", "import sys; sys.exit(3)"), "exit code 3: it said nothing"),
        (("/nowhere/at/all",), "cannot be run: /nowhere/at/all: No such file"),
    ],
)
async def test_a_hook_that_fails_is_nobodys_fault(words: tuple[str, ...], said: str) -> None:
    """If a hook fails, then what needed it could not be tested, and the message says why."""
    with pytest.raises(Unable, match=said):
        await hooks.call(lab_with(stop_store=words), "stop_store")


async def test_a_hook_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a hook does not end, then it is ended."""
    monkeypatch.setattr(hooks, "HOOK_S", 0.5)
    lab = lab_with(stop_store=(sys.executable, "-c", "import time; time.sleep(60)"))
    began = time.monotonic()
    with pytest.raises(Unable, match="did not end within"):
        await hooks.call(lab, "stop_store")
    assert time.monotonic() - began < 10.0


async def test_what_a_hook_starts_may_stay() -> None:
    """If a hook starts a service that keeps its output open, then the hook has ended."""
    code = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'])"
    )
    began = time.monotonic()
    await hooks.call(lab_with(start_store=(sys.executable, "-c", code)), "start_store")
    assert time.monotonic() - began < 4.0


async def test_what_is_missing_is_named() -> None:
    """If a part needs hooks or instances that the user did not give, then it is told which."""
    lab = lab_with(kill=("kill", "{instance}"))
    assert hooks.lacking(lab, "kill") == ""
    assert "restart in the profile's [hooks]" in hooks.lacking(lab, "kill", "restart")
    assert "--instance" in hooks.lacking(lab, "kill", instances=2)
    assert hooks.lacking(lab_with(NOBODY, NOBODY, kill=("x",)), "kill", instances=2) == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('kill = ["kill", "-9"]', '"{instance}" in one of the words'),
        ('kill = "kill -9 {instance}"', "expected a list of strings"),
        ('stop_store = [""]', "a program and its arguments"),
        ('destroy = ["x"]', "hooks.destroy: unknown"),
    ],
)
def test_a_wrong_hook_gets_an_error_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    """If a profile's hooks cannot be used, then the error names the line and what was expected."""
    path = tmp_path / "mine.toml"
    path.write_text(f"[hooks]\n{line}\n", "utf-8")
    with pytest.raises(ProfileError) as error:
        load_profile(str(path))
    assert said in str(error.value)
    assert "mine.toml:2" in str(error.value)
