"""Several server processes on one store: one quota, one log, jobs that outlive their owner (§8).

Every log is compared with the script that it was made from, so that a lost, doubled or exchanged
event cannot hide.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hopping_reader import HoppingReader
from server_process import RESUME, ServerProcess, running_server, wait_until

from chaos.faults import pause_between_transactions
from chaos.services import PostgresServer, RedisServer
from reference_server.payloads import seal
from reference_server.pipelines import Pipelines

LEASE_S = 1.0
#: A dead instance's job goes on at the latest so long after its lease has ended (protocol §8).
TAKEOVER_S = 10.0
ENV = {
    "SCRIPTED_PIPELINES": "1",
    "LEASE_SECONDS": str(LEASE_S),
    "HEARTBEAT_SECONDS": "0.5",
    "POSTGRES_STATEMENT_TIMEOUT_SECONDS": "1",
}

#: Generous: it only has to end, however busy the machine is.
PATIENCE_S = 90.0

#: Store and broadcaster.
PLACES = ["sqlite", "sqlite-redis", "postgres", "postgres-notify", "postgres-redis"]


@dataclass
class Place:
    """What the instances share."""

    env: dict[str, str]
    postgres: PostgresServer | None = None
    redis: RedisServer | None = None


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """Services of one's own, because tests stop them."""
    name: str = request.param
    place = Place({**ENV, "STREAM_STORE_BACKEND": name.partition("-")[0]})
    if name.startswith("postgres"):
        place.postgres = request.getfixturevalue("own_postgres")
        place.env["POSTGRES_DSN"] = place.postgres.dsn
        place.env["POSTGRES_NOTIFY"] = str(int(name.endswith("notify")))
    if name.endswith("redis"):
        place.redis = request.getfixturevalue("redis")
        place.env["REDIS_URL"] = place.redis.url
        place.env["FF_REDIS_SSE_BROADCAST"] = "1"
    return place


@contextmanager
def instances(folder: Path, place: Place, count: int = 3) -> Iterator[list[ServerProcess]]:
    """So many servers, started together on an empty store."""
    with ExitStack() as stack:

        def start(number: int) -> ServerProcess:
            env = {**place.env, "INSTANCE_ID": f"instance-{number}"}
            return stack.enter_context(running_server(folder, **env))

        with ThreadPoolExecutor(count) as pool:
            yield list(pool.map(start, range(count)))


@dataclass(frozen=True)
class Script:
    """A job's script as it is posted, and the log that it must give."""

    events: int = 120
    interval_ms: int = 20

    def body(self) -> dict[str, Any]:
        return {"events": self.events, "interval_ms": self.interval_ms}

    def log(self) -> list[tuple[str, Any]]:
        pipelines = Pipelines()

        @dataclass(frozen=True)
        class Start:
            resume_text: str
            job_text: str | None
            pipeline: object

        stored = pipelines.parameters(Start(RESUME["resume_text"], None, self.body()))
        drafts = [
            seal(emission, "2026-01-31T12:00:00.123456Z")
            for step in pipelines.steps(stored, 0)
            for emission in step.emissions
        ]
        return [(draft.type, json.loads(draft.data)) for draft in drafts]


def pause(server: ServerProcess, place: Place, folder: Path) -> None:
    """Stop it where it stands; on SQLite not while it keeps all others from writing."""

    def stop() -> None:
        server.process.send_signal(signal.SIGSTOP)

    def go_on() -> None:
        server.process.send_signal(signal.SIGCONT)

    if place.postgres is None:
        pause_between_transactions(server.process.pid, folder / "jobs.db", stop, go_on)
    else:
        stop()


def reached(server: ServerProcess, job_id: str, event_id: int) -> list[dict[str, Any]]:
    """Wait until the event is stored; the log as it is then."""

    def log() -> list[dict[str, Any]]:
        try:
            events = server.events(job_id)
        except (httpx.HTTPError, KeyError):  # the store is away: a problem document
            return []
        return events if len(events) >= event_id else []

    found: list[dict[str, Any]] = wait_until(log, f"event {event_id} is stored", PATIENCE_S)
    return found


def require_whole(server: ServerProcess, script: Script, job_id: str) -> list[dict[str, Any]]:
    """The job has ended, and its log is the script's: each event once, in order."""
    log = reached(server, job_id, script.events)
    assert [event["id"] for event in log] == list(range(1, script.events + 1))
    assert [(event["type"], event["data"]) for event in log] == script.log()
    return log


def require_seen(readers: list[HoppingReader], log: list[dict[str, Any]]) -> None:
    """Every reader saw the whole log, each event once, byte for byte."""
    for reader in readers:
        reader.join(PATIENCE_S)
        assert reader.complete
        assert reader.seen == log
        assert reader.gaps == 0


def taken_over(servers: list[ServerProcess]) -> float:
    total = 0.0
    for server in servers:
        for line in httpx.get(f"{server.url}/metrics").text.splitlines():
            if line.startswith("jobs_taken_over_total "):
                total += float(line.split()[1])
    return total


@pytest.mark.parametrize("place", ["sqlite", "postgres-notify"], indirect=True)
def test_one_quota_and_one_key_for_all_instances(place: Place, tmp_path: Path) -> None:
    """25 starts at once over three instances: five are admitted. 50 with one key: one job."""
    with instances(tmp_path, place) as servers, ThreadPoolExecutor(25) as pool:

        def start(number: int, client: str, key: str | None) -> httpx.Response:
            headers = {"X-Client-Id": client, **({"Idempotency-Key": key} if key else {})}
            url = f"{servers[number % 3].url}/api/pipeline/start"
            return httpx.post(url, json=RESUME, headers=headers, timeout=20)

        burst = list(pool.map(lambda n: start(n, "burst", None), range(25)))
        assert sorted(answer.status_code for answer in burst) == [202] * 5 + [429] * 20
        raced = list(pool.map(lambda n: start(n, "raced", "key"), range(50)))
        assert {answer.status_code for answer in raced} == {202}
        assert len({answer.json()["job_id"] for answer in raced}) == 1
        assert {answer.json()["quota"]["remaining"] for answer in raced} == {4}


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_every_instance_streams_every_job(place: Place, tmp_path: Path) -> None:
    """Readers that hop between the instances see each log whole; so does a reader that came to an
    instance before the first event, and a cancel is told everywhere."""
    script = Script()
    place.env["LEASE_SECONDS"] = "15"
    with instances(tmp_path, place) as servers:
        urls = [server.url for server in servers]
        jobs = [server.start_job(pipeline=script.body())["job_id"] for server in servers]
        readers = {job: [HoppingReader(urls, job, seed) for seed in range(2)] for job in jobs}
        for job in jobs:
            require_seen(readers[job], require_whole(servers[0], script, job))
        assert taken_over(servers) == 0
        slow = servers[0].start_job(pipeline={"events": 60, "interval_ms": 1000})["job_id"]
        watching = [HoppingReader([url], slow, 1, stay_s=60) for url in urls]
        wait_until(lambda: all(reader.seen for reader in watching), "all read")
        answer = httpx.post(f"{urls[1]}/api/jobs/{slow}/cancel").json()
        assert answer["status"] == "canceled"
        for reader in watching:
            reader.join(PATIENCE_S)
            assert reader.seen[-1]["data"]["status"] == "canceled"


@pytest.mark.parametrize("place", ["sqlite", "postgres-redis"], indirect=True)
def test_a_killed_instances_jobs_go_on_elsewhere(place: Place, tmp_path: Path) -> None:
    """After kill -9 another instance takes over in time, after the last stored event, and whoever
    reads at a surviving instance keeps the connection."""
    script = Script()
    with instances(tmp_path, place) as servers:
        urls = [server.url for server in servers]
        job = servers[0].start_job(pipeline=script.body())["job_id"]
        readers = [HoppingReader(urls, job, seed) for seed in range(2)]
        reached(servers[1], job, 30)
        servers[0].kill()
        killed, head = time.monotonic(), len(servers[1].events(job))
        reached(servers[1], job, head + 1)
        assert time.monotonic() - killed < LEASE_S + TAKEOVER_S
        require_seen(readers, require_whole(servers[1], script, job))
        assert taken_over(servers[1:]) >= 1


@pytest.mark.parametrize("place", ["sqlite", "postgres-notify"], indirect=True)
def test_a_paused_instance_is_fenced(place: Place, tmp_path: Path) -> None:
    """An owner that sleeps past its lease writes nothing when it wakes up, and serves on."""
    script = Script()
    with instances(tmp_path, place, 2) as (paused, other):
        job = paused.start_job(pipeline=script.body())["job_id"]
        readers = [HoppingReader([paused.url, other.url], job, seed) for seed in range(2)]
        reached(other, job, 30)
        pause(paused, place, tmp_path)
        head = len(other.events(job))
        reached(other, job, head + 20)
        paused.process.send_signal(signal.SIGCONT)
        require_seen(readers, require_whole(other, script, job))
        require_whole(paused, script, job)
        assert taken_over([other]) >= 1
        again = paused.start_job(pipeline=script.body())["job_id"]
        require_whole(other, script, again)


@pytest.mark.parametrize("place", ["sqlite", "postgres-notify"], indirect=True)
def test_a_rolling_restart_hands_jobs_over_at_once(place: Place, tmp_path: Path) -> None:
    """SIGTERM frees the leases, however long they last, and nobody notices but by a reconnect."""
    place.env["LEASE_SECONDS"] = "60"
    script = Script()
    with instances(tmp_path, place) as servers:
        urls = [server.url for server in servers]
        job = servers[0].start_job(pipeline=script.body())["job_id"]
        readers = [HoppingReader(urls, job, seed) for seed in range(2)]
        reached(servers[2], job, 20)
        for server in servers[:2]:
            assert server.terminate() < 8
            head = len(servers[2].events(job))
            reached(servers[2], job, min(head + 10, script.events))
        require_seen(readers, require_whole(servers[2], script, job))


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("postgres-notify", "stopped"),
        ("postgres-notify", "killed"),
        ("postgres-notify", "paused"),
        ("postgres-redis", "stopped"),
    ],
    indirect=["place"],
)
def test_the_store_goes_away_and_comes_back(place: Place, fault: str, tmp_path: Path) -> None:
    """Starts answer 503 with Retry-After, pipelines wait, and when it is back the jobs go on: with
    their owner or another one, and nothing is lost or doubled."""
    script = Script()
    assert place.postgres is not None
    with instances(tmp_path, place, 2) as servers:
        urls = [server.url for server in servers]
        jobs = [servers[n % 2].start_job(pipeline=script.body())["job_id"] for n in range(4)]
        readers = [HoppingReader(urls, job, seed) for seed, job in enumerate(jobs)]
        reached(servers[0], jobs[0], 30)
        match fault:
            case "stopped":
                place.postgres.stop(signal.SIGINT)
            case "killed":
                place.postgres.stop(signal.SIGQUIT)  # an immediate end, with recovery afterwards
            case "paused":
                place.postgres.pause()
        headers = {"X-Client-Id": "somebody"}
        for url in urls:
            refused = httpx.post(
                f"{url}/api/pipeline/start", json=RESUME, headers=headers, timeout=20
            )
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert httpx.get(f"{url}/healthz").status_code == 200
            assert httpx.get(f"{url}/readyz", timeout=20).status_code == 503
        time.sleep(1.5 * LEASE_S)
        if fault == "paused":
            place.postgres.resume()
        else:
            place.postgres.start()
        for reader, job in zip(readers, jobs, strict=True):
            require_seen([reader], require_whole(servers[1], script, job))
        wait_until(
            lambda: all(httpx.get(f"{url}/readyz").status_code == 200 for url in urls),
            "ready",
            PATIENCE_S,
        )


@pytest.mark.parametrize("place", ["postgres-notify", "postgres-redis"], indirect=True)
def test_an_instance_ends_in_time_whatever_hangs(place: Place, tmp_path: Path) -> None:
    """SIGTERM while store and broadcaster answer nothing: the process ends within its grace."""
    place.env["GRACE_SECONDS"] = "4"
    with instances(tmp_path, place, 1) as (server,):
        job = server.start_job(pipeline=Script().body())["job_id"]
        readers = [HoppingReader([server.url], job, seed) for seed in range(2)]
        wait_until(lambda: all(reader.seen for reader in readers), "all read")
        for service in (place.postgres, place.redis):
            if service is not None:
                service.pause()
        assert server.terminate() < 4.5
        assert server.process.returncode == 0
        for reader in readers:
            reader.complete = True


@pytest.mark.parametrize("place", ["sqlite-redis", "postgres-redis"], indirect=True)
def test_redis_goes_away_and_comes_back(place: Place, tmp_path: Path) -> None:
    """Readers notice nothing: the store is polled meanwhile, which is logged once."""
    script = Script()
    assert place.redis is not None
    with instances(tmp_path, place, 2) as servers:
        urls = [server.url for server in servers]
        job = servers[0].start_job(pipeline=script.body())["job_id"]
        readers = [HoppingReader(urls, job, seed) for seed in range(2)]
        reached(servers[1], job, 20)
        place.redis.stop()
        reached(servers[1], job, 60)
        place.redis.start()
        require_seen(readers, require_whole(servers[1], script, job))
        for server in servers:
            wait_until(lambda server=server: "Redis is back" in server.logs, "back")  # type: ignore[misc]
            assert server.logs.count("Redis is away") == 1
