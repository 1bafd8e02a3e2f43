"""Which rules a target can be judged by: what each needs it to have, and who says it has not.

A rule about snapshots says nothing of an API without snapshots. The profile tells what a target
has; the reason why a rule does not apply is always the profile's line, or what was looked for and
not found. What is declared and missing is no matter of this module: the check itself says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from .profile import Profile

_SECTIONS = {
    "PAD": ("capabilities.padding", "declared.frame_bytes"),
    "REPLAY": ("capabilities.join", "capabilities.resume"),
    "LATE": ("capabilities.join", "capabilities.replay", "capabilities.resume"),
    "SNAP": ("api.snapshot", "capabilities.snapshot"),
    "POLL": ("api.events", "capabilities.polling"),
    "HB": ("capabilities.heartbeat",),
    "QUOTA": ("api.start", "capabilities.quota", "api.client_id_header"),
    "ISO": ("api.start", "capabilities.join"),
    "BAD": ("api.start", "capabilities.problems"),
    "CORS": ("capabilities.cors",),
    "MI": ("capabilities.join", "capabilities.resume"),
    "RETRY": ("capabilities.join", "capabilities.resume"),
    "TAKE": ("capabilities.join", "capabilities.resume"),
    "OPS": ("capabilities.operations",),
    "PRIV": ("api.start", "capabilities.redaction"),
}
"""Section -> what all of its rules need. A value that is false, 0 or empty says: not there."""

_RULES = {
    "WIRE-03": ("capabilities.shape",),
    "WIRE-04": ("capabilities.shape",),
    "WIRE-05": ("capabilities.shape",),
    "WIRE-06": ("capabilities.resume",),
    "WIRE-10": ("events.json_data",),
    "WIRE-12": ("capabilities.shape",),
    "HDR-06": ("declared.not_acceptable_status",),
    "HDR-08": ("api.start", "capabilities.start_urls"),
    "HDR-09": ("capabilities.methods",),
    "HDR-10": ("capabilities.problems",),
    "HDR-11": ("capabilities.shape",),
    "HDR-12": ("events.opening",),
    "HB-01": ("declared.heartbeat_s",),
    "HB-02": ("declared.heartbeat_s",),
    "RT-02": ("events.timestamp_members",),
    "RT-03": ("capabilities.shape",),
    "RT-04": ("events.timestamp_members",),
    "RT-05": ("capabilities.shape", "events.timestamp_members"),
    "RT-06": ("capabilities.shape",),
    "RT-07": ("events.timestamp_members",),
    "PAD-03": ("capabilities.heartbeat",),
    "PAD-05": ("capabilities.shape",),
    "PAD-07": ("capabilities.shape",),
    "REPLAY-01": ("events.names",),
    "REPLAY-03": ("capabilities.replay",),
    "REPLAY-05": ("capabilities.replay",),
    "REPLAY-07": ("capabilities.strict_cursors",),
    "REPLAY-08": ("capabilities.strict_cursors",),
    "REPLAY-09": ("capabilities.shape",),
    "REPLAY-10": ("capabilities.strict_cursors",),
    "REPLAY-13": ("capabilities.shape",),
    "REPLAY-14": ("capabilities.shape",),
    "SNAP-03": ("capabilities.resume",),
    "LIFE-01": ("events.terminal",),
    "LIFE-02": ("events.terminal",),
    "LIFE-03": ("capabilities.states",),
    "LIFE-04": ("capabilities.shape",),
    "LIFE-05": ("events.terminal",),
    "LIFE-06": ("api.start", "api.cancel", "capabilities.cancel"),
    "LIFE-07": ("capabilities.join", "capabilities.resume", "capabilities.strict_cursors"),
    "LIFE-08": ("capabilities.join", "capabilities.resume", "capabilities.strict_cursors"),
    "LIFE-09": ("api.start", "capabilities.shape"),
    "LIFE-10": ("api.start", "capabilities.idempotency"),
    "LIFE-11": ("capabilities.states",),
    "LIFE-12": ("capabilities.states",),
    "LIFE-13": ("capabilities.wait_for_subscriber",),
    "RETRY-01": ("declared.retry_max_ms",),
    "SEC-01": ("capabilities.shape",),
    "SEC-03": ("capabilities.problems",),
    "BP-04": ("capabilities.resume",),
    "PROXY-02": ("capabilities.padding", "declared.frame_bytes"),
    "PROXY-05": ("capabilities.heartbeat",),
}
"""Rule -> what it needs beside what its section needs."""


def needed_by(identifier: str) -> Iterator[str]:
    """The members of a profile that have to say yes before a rule applies."""
    yield from _SECTIONS.get(identifier.partition("-")[0], ())
    yield from _RULES.get(identifier, ())


def why_not(identifier: str, profile: Profile, found: dict[str, str]) -> str:
    """Why a rule does not apply to a target, "" where it does.

    Args:
        identifier: the rule's.
        profile: what the target says of itself.
        found: what was looked for: part -> "" where it was found, else what was seen instead.
    """
    for key in needed_by(identifier):
        section, _, member = key.partition(".")
        value = getattr(getattr(profile, section), member)
        if not value:
            return profile.says(key)
        if value == "auto" and section == "capabilities" and found.get(member):
            return f"the target has no {member.replace('_', ' ')}: {found[member]}"
    return ""
