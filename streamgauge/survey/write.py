"""Writes what a survey found as a profile: every line says whether it was seen or is assumed."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

from ..profile import Profile
from ..profile_file import load_profile
from .look import Survey
from .stream import FINAL, Seen

_LINE_MAX = 90


def profile_text(found: Survey) -> str:
    """The TOML of a profile that fits what was found."""
    base = load_profile(found.base)
    lines = [
        f"# What `streamgauge probe` saw at {_plain(found.url)}",
        '# "seen": it showed itself. "assumed": nothing contradicts it. Check both before you rely',
        "# on a verdict: what stands here is what the deployment will be held to.",
        *(f"# note: {_plain(note)}" for note in found.notes),
        f"name = {_toml(_name(found.url))}",
        f"extends = {_toml(found.base)}  # {_plain(found.sure) or 'assumed'}",
    ]
    api = {}
    if found.job_path and found.job_path not in base.api.job_id[:1]:
        api["job_id"] = (_toml([found.job_path]), "seen in the start's answer")
    sections = {"api": api, **_of_stream(found, base)}
    declared = sections.setdefault("declared", {})
    for member, (status, how) in found.statuses.items():
        declared[member] = (str(status), f"seen: {how}")
    if found.quota is not None:
        declared["quota_runs"] = (str(found.quota), "seen in the start's answer: quota.limit")
    parts = sections.setdefault("capabilities", {})
    for part, (there, how) in found.parts.items():
        parts[part] = ("true" if there else "false", f"seen: {how}")
    for section, members in sections.items():
        if members:
            lines += ["", f"[{section}]"]
            lines += [_line(key, value, why) for key, (value, why) in members.items()]
    return "\n".join(lines) + "\n"


def _of_stream(found: Survey, base: Profile) -> dict[str, dict[str, tuple[str, str]]]:
    seen = found.stream
    if seen is None or not seen.events:
        told = "no stream with an event was seen" if seen is not None else ""
        if told:
            found.notes.append(told)
        return {}
    counted = f"seen on {seen.events} events"
    events = _names(seen, base, counted)
    ids: dict[str, tuple[str, str]] = {}
    if seen.order:
        ids["order"] = (_toml(seen.order), counted)
        if seen.order == "contiguous" and seen.first_id is not None:
            ids["first"] = (str(seen.first_id), "seen")
    if seen.id_member:
        ids["member"] = (_toml(seen.id_member), counted)
    declared: dict[str, tuple[str, str]] = {}
    parts: dict[str, tuple[str, str]] = {}
    if seen.heartbeat is None:
        declared["heartbeat_s"] = ("0", f"assumed: no heartbeat came in {seen.watched_s:.0f} s")
        if base.declared.heartbeat_s:
            declared["heartbeat_s"] = (
                f"{base.declared.heartbeat_s:g}",
                f"assumed: none was due in {seen.watched_s:.0f} s, or none is sent",
            )
    elif seen.heartbeat_s:
        declared["heartbeat_s"] = (str(seen.heartbeat_s), "seen: the longest wait for one")
    if not seen.padded:
        declared["frame_bytes"] = ("0", "seen: frames are not padded to 4,096 octets")
        parts["padding"] = ("false", "seen")
    if not seen.order and not seen.id_member:
        parts["resume"] = ("false", "seen: no event has an id")
    if seen.retry_ms is not None:
        found.notes.append(f"seen: retry: {seen.retry_ms}")
    return {"ids": ids, "events": events, "declared": declared, "capabilities": parts}


def _names(seen: Seen, base: Profile, counted: str) -> dict[str, tuple[str, str]]:
    events: dict[str, tuple[str, str]] = {}
    if seen.type_member != base.events.type_member:
        events["type_member"] = (_toml(seen.type_member), counted)
    if not seen.json_data:
        events["json_data"] = ("false", counted)
    if seen.envelope != base.events.envelope:
        events["envelope"] = (_toml(seen.envelope), counted)
    if seen.stamps:
        events["timestamp_members"] = (_toml(list(seen.stamps)), "seen")
    elif seen.json_data:
        events["timestamp_members"] = ("[]", "seen: no event has a timestamp")
    unknown = [name for name in seen.names if base.events.names and not base.is_declared(name)]
    if unknown:
        events["names"] = ("[]", f"seen: {', '.join(unknown[:5])} and others; [] allows any")
    if seen.opening != base.events.opening:
        events["opening"] = (_toml(seen.opening), "seen as the first event")
    if seen.heartbeat is not None and seen.heartbeat != base.events.heartbeat:
        events["heartbeat"] = (_toml(seen.heartbeat), "seen")
    if seen.last and seen.ended and seen.last not in base.events.terminal:
        how = "seen as the last event before a clean end"
        if seen.last not in FINAL:
            how += "; check that no job ends otherwise"
        if found_known := [n for n in base.events.terminal if n in seen.names]:
            how += f" ({', '.join(found_known)} came before)"
        events["terminal"] = (_toml([seen.last]), how)
    gates = [name for name in seen.gates if name not in base.events.gates]
    if gates:
        events["gates"] = (_toml([*base.events.gates, *gates]), "assumed from the name")
    return events


def _line(key: str, value: str, why: str) -> str:
    return f"{key} = {value}  # {_plain(why)}"


def _plain(text: str) -> str:
    """Text that cannot leave its comment, whatever the target said."""
    return re.sub(r"[^\x20-\x7e]", "?", text)[: 3 * _LINE_MAX]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # A JSON string or list of strings is TOML, too, but for surrogates and DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _name(url: str) -> str:
    host = urlsplit(url).hostname or "probed"
    return re.sub(r"[^A-Za-z0-9.-]", "-", host)[:60]
