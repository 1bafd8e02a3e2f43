"""A whole deployment on this machine: instances, their store and broadcaster, a load balancer.

    python -m chaos.topology --instances 3 --store postgres --fanout redis

It prints one address a line and stays until it is interrupted. Meanwhile it takes commands on a
socket in its folder, for instance `python -m chaos.control FOLDER kill 2`, so that whoever judges
the deployment can break it without knowing how it was made.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from .instance import Instance
from .nginx import BALANCES, ROUND_ROBIN, NginxServer
from .services import MissingProgram, PostgresServer, RedisServer, Service, ServiceFailed

STORES: Final = ("memory", "sqlite", "postgres")
FANOUTS: Final = ("local", "notify", "redis")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment is made of."""

    instances: int = 3
    store: str = "postgres"
    fanout: str = "redis"
    balance: str = ROUND_ROBIN
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings of every instance."""

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
                instance = Instance(number, {**env, **self.plan.env})
                self.instances.append(instance)
                self._stack.push(instance)
                instance.spawn()
            for instance in self.instances:
                instance.wait_ready()
            ports = [instance.port for instance in self.instances]
            balancer = NginxServer(ports, self.plan.balance)
            self.balancer = self._stack.enter_context(balancer)
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
        }
        if self.plan.store == "sqlite":
            env["SQLITE_PATH"] = str(self.folder / "jobs.db")
        if self.plan.store == "postgres":
            self.postgres = self._stack.enter_context(PostgresServer())
            env["POSTGRES_DSN"] = self.postgres.dsn
        if self.plan.fanout == "redis":
            self.redis = self._stack.enter_context(RedisServer())
            env |= {"FF_REDIS_SSE_BROADCAST": "1", "REDIS_URL": self.redis.url}
        return env

    @property
    def url(self) -> str:
        """The balancer's address."""
        return self.balancer.url

    @property
    def urls(self) -> list[str]:
        """Each instance's own address."""
        return [instance.url for instance in self.instances]

    def obey(self, command: str) -> None:
        """Carry out `kill 2`, `stop store` and the like. Raises ValueError, ServiceFailed."""
        match command.split():
            case ["kill" | "terminate" | "pause" | "continue" | "restart" as what, number]:
                self._handle_instance(what, self._instance(number))
            case ["stop" | "start" | "pause" | "continue" as what, "store" | "broker" as which]:
                self._handle_service(what, self._service(which))
            case _:
                raise ValueError(f"expected a command such as 'kill 1' or 'stop store': {command}")

    def _handle_instance(self, what: str, instance: Instance) -> None:
        if what == "kill":
            instance.kill()
        elif what == "terminate":
            instance.terminate()
        elif what == "pause":
            instance.pause()
        elif what == "continue":
            instance.resume()
        else:
            if instance.running:
                instance.terminate()
            instance.start()

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


def main() -> int:
    """Returns the exit code."""
    from .control import serve_commands  # noqa: PLC0415  it needs Topology

    parser = argparse.ArgumentParser(
        prog="python -m chaos.topology", description="A deployment of local processes."
    )
    parser.add_argument("--instances", type=int, choices=range(1, 17), default=3, metavar="1..16")
    parser.add_argument("--store", choices=STORES, default="postgres")
    parser.add_argument("--fanout", choices=FANOUTS, default="redis")
    parser.add_argument("--balance", choices=BALANCES, default=ROUND_ROBIN)
    options = parser.parse_args()
    plan = Plan(options.instances, options.store, options.fanout, options.balance)
    problem = plan.problem()
    if problem is not None:
        parser.error(problem)
    try:
        with Topology(plan) as topology:
            print(f"balancer {topology.url}")
            for instance in topology.instances:
                print(f"instance {instance.number} {instance.url}")
            print(f"control {topology.folder}", flush=True)
            serve_commands(topology)
    except (MissingProgram, ServiceFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
