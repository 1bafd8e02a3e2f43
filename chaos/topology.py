"""A whole deployment on this machine: instances, their store and broadcaster, a load balancer.

    python -m chaos.topology --instances 3 --store postgres --fanout redis

It prints one address a line and stays until it is interrupted. Meanwhile it takes commands on a
socket in its folder, for instance `python -m chaos.control FOLDER kill 2`, so that whoever judges
the deployment can break it without knowing how it was made; `hooks.toml` there is a profile that
names these commands.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from streamgauge.profile import INSTANCE, OF_AN_INSTANCE

from .instance import Instance
from .nginx import BALANCES, ROUND_ROBIN, NginxServer
from .services import MissingProgram, PostgresServer, RedisServer, Service, ServiceFailed

STORES: Final = ("memory", "sqlite", "postgres")
FANOUTS: Final = ("local", "notify", "redis")
PAUSE_TRIES: Final = 20
UNLOCKED_WITHIN_S: Final = 0.5
TAKEN_OVER_S: Final = 10
"""After the end of a lease (protocol §8)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment is made of."""

    instances: int = 3
    store: str = "postgres"
    fanout: str = "redis"
    balance: str = ROUND_ROBIN
    lease_s: int = 15
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings of every instance."""
    program: tuple[str, ...] = ("reference_server",)
    """The module that each instance is, and its arguments."""
    profile: str = "reference"
    """What is true of the instances, but for their hooks and leases: a name or an absolute path."""

    def problem(self) -> str | None:
        """Why there cannot be such a deployment."""
        if self.fanout == "notify" and self.store != "postgres":
            return "expected --store postgres with --fanout notify: LISTEN/NOTIFY is PostgreSQL's"
        return None


class Topology:
    """Running processes. Instances are counted from 1, as the suite counts them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = Path(tempfile.mkdtemp(prefix="streamgauge-topology-"))
        self.postgres: PostgresServer | None = None
        self.redis: RedisServer | None = None
        self.instances: list[Instance] = []
        self.balancer: NginxServer
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Raises MissingProgram, ServiceFailed."""
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            env = self._shared()
            for number in range(1, self.plan.instances + 1):
                instance = Instance(number, {**env, **self.plan.env}, self.plan.program)
                self.instances.append(instance)
                self._stack.push(instance)
                instance.spawn()
            for instance in self.instances:
                instance.wait_ready()
            ports = [instance.port for instance in self.instances]
            balancer = NginxServer(ports, self.plan.balance)
            self.balancer = self._stack.enter_context(balancer)
            self.profile.write_text(self._hooks(), "utf-8")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def _shared(self) -> dict[str, str]:
        """Start what the instances share; the settings by which they find it."""
        env = {
            "SCRIPTED_PIPELINES": "1",
            "STREAM_STORE_BACKEND": self.plan.store,
            "POSTGRES_NOTIFY": "1" if self.plan.fanout == "notify" else "0",
            "LEASE_SECONDS": str(self.plan.lease_s),
        }
        if self.plan.store == "sqlite":
            env["SQLITE_PATH"] = str(self._database)
        if self.plan.store == "postgres":
            self.postgres = self._stack.enter_context(PostgresServer())
            env["POSTGRES_DSN"] = self.postgres.dsn
        if self.plan.fanout == "redis":
            self.redis = self._stack.enter_context(RedisServer())
            env |= {"FF_REDIS_SSE_BROADCAST": "1", "REDIS_URL": self.redis.url}
        return env

    @property
    def _database(self) -> Path:
        """The file that instances on SQLite share."""
        return self.folder / "jobs.db"

    @property
    def profile(self) -> Path:
        """A profile with the commands by which this deployment is broken and mended."""
        return self.folder / "hooks.toml"

    def _hooks(self) -> str:
        command = [sys.executable, "-m", "chaos.control", str(self.folder)]
        hooks = {name: [*command, name, INSTANCE] for name in OF_AN_INSTANCE}
        for part, service in (("store", self.postgres), ("broker", self.redis)):
            if service is not None:
                hooks |= {f"{verb}_{part}": [*command, verb, part] for verb in ("stop", "start")}
        # A list of JSON strings is one of TOML, too.
        lines = [f"{name} = {json.dumps(words)}" for name, words in hooks.items()]
        return "\n".join(
            (
                f"extends = {json.dumps(self.plan.profile)}",
                "",
                "[declared]",
                f"lease_s = {self.plan.lease_s}",
                f"takeover_s = {self.plan.lease_s + TAKEN_OVER_S}",
                "",
                "[hooks]",
                *lines,
                "",
            )
        )

    @property
    def url(self) -> str:
        """The balancer's address."""
        return self.balancer.url

    @property
    def urls(self) -> list[str]:
        """Each instance's own address."""
        return [instance.url for instance in self.instances]

    def obey(self, command: str) -> str:
        """Carry out `kill 2`, `stop store` and the like; returns what there is to say.

        Raises ValueError, ServiceFailed.
        """
        match command.split():
            case ["memory", number]:
                return str(self._instance(number).memory_bytes)
            case ["kill" | "terminate" | "pause" | "unpause" | "restart" as what, number]:
                self._handle_instance(what, self._instance(number))
            case ["stop" | "start" | "pause" | "unpause" as what, "store" | "broker" as which]:
                self._handle_service(what, self._service(which))
            case _:
                raise ValueError(f"expected a command such as 'kill 1' or 'stop store': {command}")
        return ""

    def _handle_instance(self, what: str, instance: Instance) -> None:
        if what == "kill":
            instance.kill()
        elif what == "terminate":
            instance.terminate()
        elif what == "pause":
            self._pause(instance)
        elif what == "unpause":
            instance.resume()
        else:
            if instance.running:
                instance.terminate()
            instance.start()

    def _pause(self, instance: Instance) -> None:
        """Between two transactions: one that stops within holds SQLite's lock for as long, and
        that is another fault (the store's) than an instance that does not answer."""
        for _ in range(PAUSE_TRIES):
            instance.pause()
            if self.plan.store != "sqlite" or _writable(self._database):
                return
            instance.resume()
        raise ServiceFailed(f"each of {PAUSE_TRIES} pauses hit a transaction of {instance.number}")

    def _handle_service(self, what: str, service: Service) -> None:
        if what == "stop":
            service.stop(signal.SIGINT)
        elif what == "start":
            service.start()
        elif what == "pause":
            service.pause()
        else:
            service.resume()

    def _instance(self, number: str) -> Instance:
        if not number.isdecimal() or not 1 <= int(number) <= len(self.instances):
            raise ValueError(f"expected an instance from 1 to {len(self.instances)}: {number}")
        return self.instances[int(number) - 1]

    def _service(self, which: str) -> Service:
        service = self.postgres if which == "store" else self.redis
        if service is None:
            raise ValueError(f"this deployment has no {which} of its own")
        return service


def _writable(database: Path) -> bool:
    """Whether a transaction can begin, those of running processes being over soon."""
    with closing(sqlite3.connect(database, UNLOCKED_WITHIN_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True


def main() -> int:
    """Returns the exit code."""
    from .control import Commands  # noqa: PLC0415  it needs Topology

    parser = argparse.ArgumentParser(
        prog="python -m chaos.topology", description="A deployment of local processes."
    )
    parser.add_argument("--instances", type=int, choices=range(1, 17), default=3, metavar="1..16")
    parser.add_argument("--store", choices=STORES, default="postgres")
    parser.add_argument("--fanout", choices=FANOUTS, default="redis")
    parser.add_argument("--balance", choices=BALANCES, default=ROUND_ROBIN)
    parser.add_argument("--lease", type=int, choices=range(1, 61), default=15, metavar="1..60")
    options = parser.parse_args()
    plan = Plan(
        options.instances, options.store, options.fanout, options.balance, lease_s=options.lease
    )
    problem = plan.problem()
    if problem is not None:
        parser.error(problem)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with Topology(plan) as topology, Commands(topology):
            print(f"balancer {topology.url}")
            for instance in topology.instances:
                print(f"instance {instance.number} {instance.url}")
            print(f"profile {topology.profile}")
            print(f"control {topology.folder}", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (MissingProgram, ServiceFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
