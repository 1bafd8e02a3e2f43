"""Reads profiles: TOML files that name what differs from the defaults.

`extends` names the profile that a file starts from. Secrets never stand in one: `[auth]` names the
variables of the environment that hold them. Every mistake gets an error that names the line.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .profile import INSTANCE, OF_AN_INSTANCE, Api, Auth, Capability, Declared, Hooks, Profile

ENV_VALUE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9-]* )?env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
"""How a profile refers to a secret: the variable that holds it, behind a scheme word if need be."""
PATHS = ("prefix", "start", "stream", "snapshot", "events", "cancel", "gate")


class ProfileError(Exception):
    """The profile cannot be used; the message names the file, the line and what was expected."""


def bundled_profiles() -> tuple[str, ...]:
    """Names that `--profile` knows without a file."""
    folder = files(__package__).joinpath("profiles")
    return tuple(
        sorted(
            entry.name.removesuffix(".toml") for entry in folder.iterdir() if _is_toml(entry.name)
        )
    )


def load_profile(name_or_path: str) -> Profile:
    """Read a bundled profile by name, or a TOML file by path.

    Raises:
        ProfileError: no such profile, not TOML, an unknown member, or a value of the wrong kind.
    """
    text, origin = _read(name_or_path)
    lines: dict[str, str] = {}
    table = _merged(text, origin, depth=0, lines=lines)
    name = table.pop("name", None) or Path(name_or_path).stem
    table.pop("summary", None)
    if not isinstance(name, str):
        raise _wrong(text, origin, "name", "a string", name)
    own = ("name", "origin", "lines")
    sections = {f.name: f for f in dataclasses.fields(Profile) if f.name not in own}
    values: dict[str, Any] = {}
    for key, members in table.items():
        if key not in sections:
            raise _unknown(text, origin, key, sections)
        if not isinstance(members, dict):
            raise _wrong(text, origin, key, "a table", members)
        values[key] = _section(text, origin, key, members)
    return Profile(name=name, origin=origin, lines=lines, **values)


def _is_toml(name: str) -> bool:
    return name.endswith(".toml")


def _read(name_or_path: str) -> tuple[str, str]:
    if name_or_path in bundled_profiles():
        entry = files(__package__).joinpath("profiles", f"{name_or_path}.toml")
        return entry.read_text("utf-8"), f"{name_or_path}.toml"
    path = Path(name_or_path)
    if not _is_toml(path.name):
        raise ProfileError(
            f"no profile is called {name_or_path!r}: give one of "
            f"{', '.join(bundled_profiles())}, or the path of a .toml file"
        )
    try:
        return path.read_text("utf-8"), str(path)
    except OSError as error:
        raise ProfileError(f"cannot read the profile {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"the profile {path} is not UTF-8 text") from error


def _merged(text: str, origin: str, depth: int, lines: dict[str, str]) -> dict[str, Any]:
    """The file's tables laid over those of the profile it extends."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{origin} is not valid TOML: {error}") from error
    for section, members in table.items():
        for member in members if isinstance(members, dict) else ():
            if line := _line_of(text, f"{section}.{member}"):
                lines.setdefault(f"{section}.{member}", f"{origin}:{line}")
    base_name = table.pop("extends", None)
    if base_name is None:
        return table
    if not isinstance(base_name, str) or depth > 3:
        raise _wrong(text, origin, "extends", "the name of a profile (at most 4 deep)", base_name)
    beside = Path(origin).parent / base_name
    base_text, base_origin = _read(str(beside) if _is_toml(base_name) else base_name)
    base = _merged(base_text, base_origin, depth + 1, lines)
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            base[key] = {**base[key], **value}
        else:
            base[key] = value
    return base


def _section(text: str, origin: str, section: str, members: dict[str, Any]) -> Any:
    kind = get_type_hints(Profile)[section]
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in members.items():
        if key not in hints:
            raise _unknown(text, origin, f"{section}.{key}", hints)
        expected, ok = _env_values(value) if kind is Auth else _fits(hints[key], value)
        if not ok and not (kind is Declared and key == "heartbeat_s" and value == 0):
            raise _wrong(text, origin, f"{section}.{key}", expected, value)
        if kind is Api and key in PATHS and value and not value.startswith("/"):
            raise _wrong(text, origin, f"{section}.{key}", 'a path that begins with "/"', value)
        if kind is Hooks and (wanted := _hook_wants(key, value)):
            raise _wrong(text, origin, f"{section}.{key}", wanted, value)
        values[key] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _fits(hint: Any, value: Any) -> tuple[str, bool]:
    """What a member should be, in words, and whether it is."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return f"one of {', '.join(map(repr, choices))}", value in choices
    if hint == Capability:
        return 'true, false or "auto"', isinstance(value, bool) or value == "auto"
    if hint is bool:
        return "true or false", isinstance(value, bool)
    if hint is str:
        return "a string", isinstance(value, str)
    if hint is int:
        ok = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return "a whole number from 0", ok
    if hint is float:
        ok = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        return "a number above 0 (seconds)", ok
    if get_origin(hint) is tuple:
        ok = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "a list of strings", ok
    return "a table", isinstance(value, dict)


def _hook_wants(name: str, words: list[str]) -> str:
    """What is missing of a hook, "" where nothing is."""
    if words and not words[0]:
        return "a program and its arguments"
    if words and name in OF_AN_INSTANCE and not any(INSTANCE in word for word in words):
        return f'"{INSTANCE}" in one of the words, which stands for the number of the instance'
    return ""


def _env_values(value: Any) -> tuple[str, bool]:
    """A table of secrets: each is named, none stands in the file."""
    ok = isinstance(value, dict) and all(
        isinstance(each, str) and ENV_VALUE.fullmatch(each) for each in value.values()
    )
    return (
        'a table of values like "env:NAME" or "Bearer env:NAME": secrets come from the environment',
        ok,
    )


def _line_of(text: str, key: str) -> int:
    """The line of `section.key` or `section` in the file, 0 where it stands in the base profile."""
    section, _, member = key.rpartition(".")
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            current = header[1].strip()
            if current == key:
                return number
        elif current == section and re.match(rf"\s*{re.escape(member)}\s*=", line):
            return number
    return 0


def _wrong(text: str, origin: str, key: str, expected: str, got: object) -> ProfileError:
    line = _line_of(text, key)
    where = f"{origin}:{line}" if line else origin
    # What stands under [auth] may be a secret that somebody wrote down after all.
    shown = "something else" if key.startswith("auth.") else repr(got)
    return ProfileError(f"{where}: {key}: expected {expected}, got {shown}")


def _unknown(text: str, origin: str, key: str, known: Mapping[str, Any]) -> ProfileError:
    line = _line_of(text, key)
    where = f"{origin}:{line}" if line else origin
    return ProfileError(f"{where}: {key}: unknown; expected one of {', '.join(known)}")
