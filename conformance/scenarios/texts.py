"""Payloads that break careless encoders, each in a job of its own, seen in every view."""

from __future__ import annotations

import asyncio

from streamgauge.job import Shape
from streamgauge.lab import Lab
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .shapes import EMPTY_TEXT, INJECTION_TEXT, SPACES_TEXT, UNICODE_TEXT, script

LONG_LINE_OCTETS = 200_000


async def texts(lab: Lab) -> None:
    """One job per kind of text."""
    if not lab.shared.shaped:
        raise Unable("chosen texts need a job whose emissions can be shaped")
    frame = lab.profile.declared.frame_bytes
    await together(
        _one(lab, "injection", script(10, payload=INJECTION_TEXT), INJECTION_TEXT),
        _one(lab, "spaces", script(10, payload=SPACES_TEXT), SPACES_TEXT),
        _one(lab, "empty", script(10, payload=EMPTY_TEXT), EMPTY_TEXT),
        _one(lab, "unicode", script(20, payload=UNICODE_TEXT), UNICODE_TEXT),
        *(
            _one(lab, f"size {octets}", script(10, payload_bytes=octets), None)
            for octets in (frame // 2, frame - 200, frame + 1, 3 * frame + 100)
        ),
        _one(lab, "long line", script(8, payload_bytes=LONG_LINE_OCTETS), None),
    )


async def _one(lab: Lab, name: str, shape: Shape, text: str | None) -> None:
    job = await lab.start(f"{name} start", shape)
    reader = lab.stream(job, f"{name} reader", bound_s=20.0, info={"text": text})
    await reader.until(lab.ended, 10.0)
    await reader.until(lambda live: live.end is not None, lab.profile.declared.close_s + 1.0)
    await asyncio.gather(
        lab.read(job, f"{name} replay", bound_s=10.0, info={"text": text}),
        lab.poll(job, f"{name} poll"),
        lab.snapshot(job, f"{name} snapshot"),
    )
