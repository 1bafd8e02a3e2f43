"""One measurement of a load generator inside Locust, in a process of its own.

    python -m load.bench.generator_client CLIENT STREAMS URL SECONDS

CLIENT is `documented` (HttpUser and `iter_lines`, as Locust's documentation writes a stream), `own`
(this project's client, every stream a job of its own, so that each event is parsed and examined) or
`shared` (the same, all streams of one job). Prints one line of JSON: events, processor seconds, and
the median age of events in seconds.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gevent
from locust import HttpUser, User, constant, task
from locust.env import Environment

from load.crowd import Crowd
from load.histogram import Histogram
from load.jobs import Job
from load.streams import Stream
from load.target import Target
from load.wire import Address
from streamgauge.access import Access
from streamgauge.profile_file import load_profile
from streamgauge.timing import moment

WARM_S = 1.0


class Documented(HttpUser):
    """A stream as Locust's documentation reads one."""

    wait_time = constant(0)
    events = 0
    ages = Histogram()

    @task
    def read(self) -> None:
        answer = self.client.get("/api/jobs/bench/stream", stream=True)
        for line in answer.iter_lines():
            if line.startswith(b"data:"):
                body = json.loads(line[5:])
                Documented.events += 1
                if (emitted := moment(body.get("timestamp", ""))) is not None:
                    Documented.ages.add(time.time() - emitted)


class Judged(User):
    """A stream as this project reads one."""

    wait_time = constant(0)
    crowd: Crowd
    job: Job | None = None
    """The one that all read; None: each has its own."""

    @task
    def read(self) -> None:
        Stream(self.crowd, self.job or Job("bench", None), "bench").read()


def main(kind: str, streams: int, url: str, seconds: float) -> dict[str, Any]:
    """Measure once."""
    user: type[User] = Documented if kind == "documented" else Judged
    environment = Environment(user_classes=[user], host=url)
    runner = environment.create_local_runner()
    with tempfile.TemporaryDirectory() as folder:
        if user is Judged:
            target = Target(Address.of(url), load_profile("resume-optimizer"), Access())
            request: Any = environment.events.request

            def fire(method: str, name: str, took_s: float, size: int, error: Any) -> None:
                request.fire(
                    request_type=method, name=name, response_time=took_s * 1000,
                    response_length=size, exception=error, context={},
                )  # fmt: skip

            Judged.crowd = Crowd(target, Path(folder) / "streams.jsonl", fire, 0)
            Judged.job = Job("bench", None) if kind == "shared" else None
        runner.start(streams, spawn_rate=streams)
        gevent.sleep(WARM_S)
        before, events = time.process_time(), _events(user)
        gevent.sleep(seconds)
        used, came = time.process_time() - before, _events(user) - events
        ages = Documented.ages if user is Documented else Judged.crowd.tally.phases["event_age"]
        told = {"events": came, "cpu_s": used, "age_p50_s": ages.percentile(0.5)}
        if user is Judged:
            ledger = Judged.crowd.tally.ledger
            told["broken"] = ledger.total() - ledger["ok"]
        runner.quit()
    return told


def _events(user: type[User]) -> int:
    return Documented.events if user is Documented else Judged.crowd.tally.counts["events"]


if __name__ == "__main__":
    said = main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
    print(json.dumps(said))
