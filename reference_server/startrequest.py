"""What a start request may say, and everything that is wrong with the one at hand (protocol §1).

All faults of a body are told at once, each with a pointer to where it is. Nothing here touches the
store: a request that does not get through here costs a client nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from .jsonbody import MalformedJson, fingerprint, lone_surrogates, parse_object
from .negotiation import is_json
from .pipelines import FieldErrors, Pipelines
from .problems import Problem

RESUME_MAX_CHARS: Final = 200_000
JOB_URL_MAX_CHARS: Final = 2048
CLIENT_ID_MAX_CHARS: Final = 128
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_URL_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]")


@dataclass(frozen=True, slots=True)
class StartMembers:
    """What a pipeline may derive its parameters from."""

    resume_text: str
    job_text: str | None
    pipeline: object


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A start request that may be carried out."""

    members: StartMembers
    wait_for_subscriber: bool
    fingerprint: str


def client_id(values: Sequence[str], *, required: bool) -> str:
    """The client's id, trimmed. Raises Problem 400; empty only where no quota is in force."""
    if len(values) > 1:
        raise Problem(400, "X-Client-Id must be given once only.")
    value = values[0].strip(" \t") if values else ""
    if not value and not required:
        return ""
    if len(value) > CLIENT_ID_MAX_CHARS or _PRINTABLE.fullmatch(value) is None:
        raise Problem(400, f"X-Client-Id must be 1 to {CLIENT_ID_MAX_CHARS} printable characters.")
    return value


def idempotency_key(values: Sequence[str]) -> str | None:
    """The key, or None where there is none. Raises Problem 400."""
    if len(values) > 1:
        raise Problem(400, "Idempotency-Key must be given once only.")
    if values and _KEY.fullmatch(values[0]) is None:
        raise Problem(400, "Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return values[0] if values else None


def require_json(content_types: Sequence[str], content_codings: Sequence[str]) -> None:
    """Raise Problem 415 for anything but plain JSON."""
    coded = any(coding.strip().lower() not in ("", "identity") for coding in content_codings)
    if len(content_types) != 1 or not is_json(content_types[0]) or coded:
        raise Problem(415)


def read_start(body: bytes, pipelines: Pipelines, *, scripted: bool) -> StartRequest:
    """Read and check a body. Raises Problem 400 for what is not JSON, 422 for what is not right.

    `scripted` says whether a start may bring its own script (protocol §10).
    """
    try:
        members = parse_object(body)
    except MalformedJson as error:
        raise Problem(400, str(error)) from error
    errors = [
        (pointer, "is not Unicode text: it holds half of a surrogate pair")
        for pointer in lone_surrogates(body, members)
    ]
    if not errors:
        errors = [
            *_text_errors(members),
            *_url_errors(members),
            *_flag_errors(members),
            *_script_errors(members, pipelines, scripted),
        ]
    if errors:
        raise Problem(422, "The request has members that cannot be used.", errors=errors)
    return StartRequest(
        members=StartMembers(
            resume_text=str(members["resume_text"]),
            job_text=None if "job_text" not in members else str(members["job_text"]),
            pipeline=members.get("pipeline"),
        ),
        wait_for_subscriber=members.get("wait_for_subscriber") is True,
        fingerprint=fingerprint(members),
    )


def _text_errors(members: dict[str, object]) -> list[tuple[str, str]]:
    errors: list[tuple[str, str]] = []
    resume = members.get("resume_text")
    if not isinstance(resume, str) or not 1 <= len(resume) <= RESUME_MAX_CHARS:
        errors.append(("#/resume_text", f"must be a string of 1 to {RESUME_MAX_CHARS} characters"))
    if "job_text" in members and not isinstance(members["job_text"], str):
        errors.append(("#/job_text", "must be a string"))
    return errors


def _url_errors(members: dict[str, object]) -> list[tuple[str, str]]:
    """The URL is checked and never fetched."""
    if "job_url" not in members:
        return []
    url = members["job_url"]
    if isinstance(url, str) and len(url) <= JOB_URL_MAX_CHARS and not _URL_FORBIDDEN.search(url):
        try:
            parts = urlsplit(url)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                return []
        except ValueError:
            pass  # a port or an address in brackets that is none
    return [("#/job_url", "must be an absolute http or https URL")]


def _flag_errors(members: dict[str, object]) -> list[tuple[str, str]]:
    if isinstance(members.get("wait_for_subscriber", False), bool):
        return []
    return [("#/wait_for_subscriber", "must be true or false")]


def _script_errors(
    members: dict[str, object], pipelines: Pipelines, scripted: bool
) -> list[tuple[str, str]]:
    if "pipeline" not in members:
        return []
    if not scripted:
        return [("#/pipeline", "is not offered by this server")]
    try:
        pipelines.validate_script(members["pipeline"])
    except FieldErrors as error:
        return [(f"#{pointer.removeprefix('#')}", detail) for pointer, detail in error.errors]
    return []
