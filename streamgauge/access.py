"""Turns what a profile says about authentication into headers and parameters, values at last.

A profile names the environment variables; only here are they read, just before a run, so that a
profile can be shared, shown and kept in a repository.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .profile import Profile
from .profile_file import ENV_VALUE


class AccessError(Exception):
    """A secret that the profile names is not there, or cannot be sent; never shows its value."""


@dataclass(frozen=True, slots=True)
class Access:
    """What every request carries."""

    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()


def access(profile: Profile, env: Mapping[str, str] | None = None) -> Access:
    """Look up the secrets that a profile names.

    Raises:
        AccessError: naming the profile's line and the variable.
    """
    env = os.environ if env is None else env

    def values(kind: str) -> list[tuple[str, str]]:
        table: Mapping[str, str] = getattr(profile.auth, kind)
        where = profile.lines.get(f"auth.{kind}", profile.origin)
        return [(name, _value(where, kind, name, said, env)) for name, said in table.items()]

    headers = values("headers")
    cookies = "; ".join(f"{name}={value}" for name, value in values("cookies"))
    return Access(
        (*headers, *([("Cookie", cookies)] if cookies else [])),
        tuple(values("query")),
    )


def _value(where: str, kind: str, name: str, said: str, env: Mapping[str, str]) -> str:
    found = ENV_VALUE.fullmatch(said)
    variable = found["name"] if found else ""
    value = env.get(variable, "")
    if not value:
        raise AccessError(
            f"{where}: auth.{kind}.{name}: expected a value in the environment variable "
            f"{variable}, which is not set"
        )
    token = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
    if (kind != "query" and not token) or any(ord(c) < 32 or ord(c) > 255 for c in value):
        raise AccessError(
            f"{where}: auth.{kind}.{name}: this name, or the value of {variable}, holds characters "
            "that cannot be sent"
        )
    scheme = (found["scheme"] or "") if found else ""
    return f"{scheme}{value}"
