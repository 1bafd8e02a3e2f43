"""A real browser reads a stream from a page of another origin, is cut off, and comes back."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

from streamgauge.browser import BrowserMissing, chromium, executable
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.verdict import Unable

from .forwarder import Forwarder, forwarding
from .shapes import UNICODE_TEXT, script

EVENTS = 24
CUT_AT = 0.45
"""Share of the log after which the first connection breaks."""
NATURAL_END_S = 60.0
RECONNECT_S = 5.0
"""What browsers wait before they come back, where the stream's `retry` says nothing longer."""
READ_S = 10.0
BOUND_MAX_S = 40.0
SEEN_MAX = 2000
CALM_S = 45.0
LOOK_EVERY_S = 0.2

#: Opens the stream, notes every event of these types, and is over at a terminal one.
PAGE_SCRIPT = """
({url, types, terminal, boundMs, max}) => new Promise((resolve) => {
  const seen = [];
  let errors = 0, opens = 0;
  const source = new EventSource(url);
  const finish = (why) => {
    clearTimeout(timer);
    source.close();
    resolve({seen, errors, opens, why});
  };
  const timer = setTimeout(() => finish("time"), boundMs);
  const take = (event) => {
    if (!(event instanceof MessageEvent)) return;
    if (seen.length < max) seen.push([event.type, event.data, event.lastEventId]);
    if (terminal.includes(event.type)) finish("terminal");
  };
  for (const type of types) source.addEventListener(type, take);
  source.addEventListener("open", () => { opens += 1; });
  source.addEventListener("error", (event) => {
    if (event instanceof MessageEvent) return;
    errors += 1;
    if (source.readyState === EventSource.CLOSED) finish("closed");
  });
})
"""


async def browser(lab: Lab) -> None:
    """One finished log: known beforehand, read by an EventSource whose first connection breaks."""
    lab.facts["asked"] = lab.shared.browser
    origin = lab.profile.api.origin
    if not lab.shared.browser or not origin:
        return
    try:
        executable()
    except BrowserMissing as missing:
        raise Unable(str(missing)) from missing
    # What a browser takes to start would disturb those whose timing is judged closely.
    lab.expect("the others to be done, before a browser starts", CALM_S)
    for _ in range(int(CALM_S / LOOK_EVERY_S)):
        if lab.shared.calm:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    job = await _finished(lab)
    replay = await lab.read(job, "replay", headers=[("Origin", origin)], bound_s=READ_S)
    retry_s = max((int(r) / 1000 for b in replay.blocks for r in _retries(b)), default=0.0)
    forwarder = Forwarder(
        job.stream, lab.client.extra_headers, cut_after=int(len(replay.body) * CUT_AT)
    )
    try:
        async with lab.shared.heavy, forwarding(forwarder):
            bound_s = min(BOUND_MAX_S, max(RECONNECT_S, retry_s) * 2 + READ_S, lab.left_s())
            lab.expect("a browser that is cut off to come back", bound_s)
            lab.facts["seen"] = await _visit(lab, job, origin, forwarder.url, bound_s)
    except BrowserMissing as missing:
        raise Unable(str(missing)) from missing
    finally:
        lab.facts["requests"] = forwarder.requests


async def _finished(lab: Lab) -> Job:
    if lab.shared.shaped:
        job = await lab.start("start", script(EVENTS, payload=UNICODE_TEXT))
        reader = lab.stream(job, "reader", bound_s=READ_S)
        await reader.until(lab.ended, READ_S)
        return job
    job, reader = lab.natural()
    await reader.until(lab.ended, max(1.0, min(NATURAL_END_S, lab.left_s() - BOUND_MAX_S)))
    if not lab.ended(reader):
        raise Unable("the target's own job did not end in time for a browser to read its log")
    return job


def _retries(block: Any) -> list[bytes]:
    return [x.value[:9] for x in block.fields if x.name == b"retry" and x.value.isdigit()]


async def _visit(lab: Lab, job: Job, origin: str, through: str, bound_s: float) -> dict[str, Any]:
    """What a page of `origin` sees of the stream on its way through the forwarder."""
    from playwright.async_api import Error, Route  # noqa: PLC0415  # an optional extra

    async def empty_page(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/html", body="<!doctype html><title>-")

    events, parts = lab.profile.events, urlsplit(job.stream)
    control = [name for name in (events.opening, events.heartbeat, events.gap) if name]
    url = f"{through}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    async with chromium() as program:
        lab.facts["browser"] = f"Chromium {program.version}"
        page = await program.new_page()
        try:
            # Nobody serves this page: it only has to be of the allowed origin.
            await page.route(f"{origin}/**", empty_page)
            await page.goto(f"{origin}/")
            # Interception would answer preflights in the target's place.
            await page.unroute_all()
            given = {
                "url": url,
                "types": ["message", *events.names, *control],
                "terminal": list(events.terminal),
                "boundMs": bound_s * 1000,
                "max": SEEN_MAX,
            }
            async with asyncio.timeout(bound_s + READ_S):
                seen: dict[str, Any] = await page.evaluate(PAGE_SCRIPT, given)
        except Error as error:
            raise Unable(f"the browser failed: {str(error).strip().splitlines()[0]}") from error
    return seen
