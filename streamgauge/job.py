"""A job of the target: what it was asked to do, and where its views are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .recording import Recording

Shape = Mapping[str, Any]
"""The `pipeline` member of a start, which says what a job emits."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that the target accepted, and where its views are."""

    job_id: str
    stream: str
    snapshot: str
    events: str
    cancel: str
    client_id: str
    started: Recording
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Given:
    """A job that the user names, to be read and left alone."""

    job_id: str = ""
    stream: str = ""
    """Its stream's URL where the user gave that; "" where the profile's path tells."""
