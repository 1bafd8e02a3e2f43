"""Profiles: what a target's API looks like and what it declares about itself.

A profile is a TOML file. Every value has a default (the protocol's own), a file names what differs,
and `extends` names the profile it starts from. What a profile declares is tested, not trusted; what
it calls "auto" is looked for at the start of a run. Secrets never stand in a profile.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

Capability = bool | Literal["auto"]


class ProfileError(Exception):
    """The profile cannot be used; the message names the file, the line and what was expected."""


@dataclass(frozen=True, slots=True)
class Api:
    """Paths, and the members of answers that tell more than the paths do."""

    start: str = "/api/pipeline/start"
    stream: str = "/api/jobs/{job_id}/stream"
    snapshot: str = "/api/jobs/{job_id}/snapshot"
    events: str = "/api/jobs/{job_id}/events"
    cancel: str = "/api/jobs/{job_id}/cancel"
    client_id_header: str = "X-Client-Id"
    cursor_query: str = "last_event_id"
    origin: str = "http://localhost:3000"
    """A browser origin that the target allows."""
    start_body: Mapping[str, Any] = field(
        default_factory=lambda: {
            "resume_text": (
                "Streaming engineer. Ten years of moving events from where they happen to the "
                "people who wait for them."
            ),
            "job_text": "We look for somebody who makes progress visible.",
        }
    )


@dataclass(frozen=True, slots=True)
class Ids:
    """What the target's event ids promise."""

    order: Literal["contiguous", "increasing", "opaque"] = "contiguous"
    first: int = 1


@dataclass(frozen=True, slots=True)
class Events:
    """Names on the wire."""

    names: tuple[str, ...] = (
        "job_status",
        "step_progress",
        "insight_emitted",
        "metric_update",
        "validation_update",
        "diff_chunk",
        "agent_chunk",
        "error",
        "done",
    )
    terminal: tuple[str, ...] = ("done",)
    opening: str = "connection"
    """Empty where the target sends none."""
    heartbeat: str = "heartbeat"
    """Name of the heartbeat event; empty where heartbeats are comments."""
    gap: str = "replay_gap"
    recycle: str = "recycle"
    """The comment that ends a stream which the server recycles."""
    text_type: str = "agent_chunk"
    """The type whose `text_member` is free text that a shaped job can choose."""
    text_member: str = "text"
    json_data: bool = True
    """Every event's data is one JSON text."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Numbers and answers that the target promises. Seconds unless the name says otherwise."""

    frame_bytes: int = 4096
    first_byte_s: float = 1.0
    lag_p95_s: float = 1.0
    skew_s: float = 1.0
    replay_s: float = 2.0
    heartbeat_s: float = 15.0
    heartbeat_margin_s: float = 2.0
    close_s: float = 5.0
    cancel_s: float = 5.0
    subscriber_wait_s: float = 30.0
    quota_runs: int = 5
    """Starts per client; 0: no quota."""
    quota_status: int = 429
    client_id_status: int = 400
    malformed_cursor_status: int = 400
    """200: a malformed cursor means the whole log."""
    repeated_cursor_status: int = 400
    ahead: Literal["gap", "refused"] = "gap"
    not_acceptable_status: int = 406
    terminal_resume_status: int = 204


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Optional parts: true, false, or looked for."""

    shape: Capability = "auto"
    """Jobs can be scripted by the `pipeline` member."""
    cancel: Capability = "auto"
    wait_for_subscriber: Capability = "auto"
    idempotency: Capability = "auto"
    long_poll: Capability = "auto"
    validators: Capability = "auto"
    """Snapshots carry an ETag and answer 304."""


@dataclass(frozen=True, eq=False)
class Profile:
    """One target's shape and promises."""

    name: str
    api: Api = field(default_factory=Api)
    ids: Ids = field(default_factory=Ids)
    events: Events = field(default_factory=Events)
    declared: Declared = field(default_factory=Declared)
    capabilities: Capabilities = field(default_factory=Capabilities)
    origin: str = ""
    """The file it was read from."""

    @cached_property
    def control_events(self) -> frozenset[str]:
        """Events that are not part of the log."""
        named = (self.events.opening, self.events.heartbeat, self.events.gap)
        return frozenset(name for name in named if name)

    def quiet_s(self) -> float:
        """How long a default run keeps a stream quiet: beyond the heartbeat and its margin."""
        beat = self.declared.heartbeat_s
        return max(beat * 5 / 3, beat + self.declared.heartbeat_margin_s + 1.5)


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
    table = _merged(text, origin, depth=0)
    name = table.pop("name", None) or Path(name_or_path).stem
    table.pop("summary", None)
    if not isinstance(name, str):
        raise _wrong(text, origin, "name", "a string", name)
    sections = {f.name: f for f in dataclasses.fields(Profile) if f.name not in ("name", "origin")}
    values: dict[str, Any] = {}
    for key, members in table.items():
        if key not in sections:
            raise _unknown(text, origin, key, sections)
        if not isinstance(members, dict):
            raise _wrong(text, origin, key, "a table", members)
        values[key] = _section(text, origin, key, members)
    return Profile(name=name, origin=origin, **values)


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


def _merged(text: str, origin: str, depth: int) -> dict[str, Any]:
    """The file's tables laid over those of the profile it extends."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{origin} is not valid TOML: {error}") from error
    base_name = table.pop("extends", None)
    if base_name is None:
        return table
    if not isinstance(base_name, str) or depth > 3:
        raise _wrong(text, origin, "extends", "the name of a profile (at most 4 deep)", base_name)
    beside = Path(origin).parent / base_name
    base_text, base_origin = _read(str(beside) if _is_toml(base_name) else base_name)
    base = _merged(base_text, base_origin, depth + 1)
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
        expected, ok = _fits(hints[key], value)
        if not ok:
            raise _wrong(text, origin, f"{section}.{key}", expected, value)
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
    return ProfileError(f"{where}: {key}: expected {expected}, got {got!r}")


def _unknown(text: str, origin: str, key: str, known: Mapping[str, Any]) -> ProfileError:
    line = _line_of(text, key)
    where = f"{origin}:{line}" if line else origin
    return ProfileError(f"{where}: {key}: unknown; expected one of {', '.join(known)}")
