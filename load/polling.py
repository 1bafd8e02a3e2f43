"""Clients that poll the log instead of streaming it, judged by the same rules."""

from __future__ import annotations

import time

import gevent

from streamgauge.framing import Cut, WireError

from .following import page_of
from .streams import OPENED_LATE, Stream


class Polled(Stream):
    """A client that polls the log instead of streaming it, or looks at it when all is over."""

    def _visit(self) -> bool:
        follower, crowd = self.follower, self.crowd
        asked = time.time()
        follower.opened(asked, "poll")
        wait_s = 2 if crowd.target.profile.capabilities.long_poll is True else 0
        while True:
            try:
                answer = crowd.target.page(self.job, follower.cursor, wait_s)
            except WireError as error:
                return self._try_again(error)
            crowd.reached(None)
            at = self._byte_at = time.time()
            self._octets += len(answer.body)
            if answer.status in OPENED_LATE:
                return self._try_again(Cut(f"polling was answered with status {answer.status}"))
            page = page_of(answer.body) if answer.status == 200 else None
            if page is None:
                self._refused = f"polling was answered with status {answer.status}, or no page"
                return False
            if isinstance(page.get("gap"), dict):
                follower.gap(str(page["gap"].get("earliest")))
            for item in page["events"]:
                known = crowd.target.grammar.listed(item)
                if known is not None:
                    follower.take_known(known, at)
            # What the answer says, not the last event: that is where the next page begins.
            follower.cursor = str(page.get("cursor", follower.cursor))
            crowd.tally.counts["polled"] += len(page["events"])
            self._event_at = at
            if page.get("done") or (follower.over and not page.get("has_more")):
                follower.closed(at, ended=True)
                return False
            if not page.get("has_more"):
                gevent.sleep(self._pause_s or 0.1)
