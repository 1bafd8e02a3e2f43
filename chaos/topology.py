"""A whole deployment on this machine: instances, their store and broadcaster, a load balancer.

    python -m chaos.topology --instances 3 --store postgres --fanout redis

It prints one address a line and stays until it is interrupted. Meanwhile it takes commands on a
socket in its folder, for instance `python -m chaos.control FOLDER kill 2`, so that whoever judges
the deployment can break it without knowing how it was made; `hooks.toml` there is a profile that
names these commands.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from streamgauge.profile import INSTANCE, OF_AN_INSTANCE

from . import faults
from .disk import SmallDisk
from .instance import Instance
from .nginx import BALANCES, ROUND_ROBIN, NginxServer, configuration
from .services import MissingProgram, PostgresServer, RedisServer, ServiceFailed

if TYPE_CHECKING:
    from .toxiproxy import Link, ToxiproxyServer

STORES: Final = ("memory", "sqlite", "postgres")
FANOUTS: Final = ("local", "notify", "redis")
HEARTBEAT_S: Final = 15.0
"""What an instance does by itself."""
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
    linked: bool = False
    """Every link between its parts leads through Toxiproxy."""
    small_disk: bool = False
    """The SQLite file is on a disk that can be filled; only root can make one."""
    profile: str = "reference"
    """What is true of the instances, but for their hooks and leases: a name or an absolute path."""

    def problem(self) -> str | None:
        """Why there cannot be such a deployment."""
        if self.fanout == "notify" and self.store != "postgres":
            return "expected --store postgres with --fanout notify: LISTEN/NOTIFY is PostgreSQL's"
        return None


class Topology:
    """Running processes. Instances are counted from 1, as the suite counts them."""

    def __init__(self, plan: Plan, toxiproxy: ToxiproxyServer | None = None) -> None:
        """`toxiproxy`: the running server that the links of a linked plan lead through."""
        self.plan = plan
        self.links: dict[str, Link] = {}
        """By name: `edge` before the balancer; `backend-1`, `store-1`, `broker-1` of instance 1."""
        self.disk: SmallDisk | None = None
        self._toxiproxy = toxiproxy
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
                own = {**env, **self._linked(number), **self.plan.env}
                instance = Instance(number, own, self.plan.program)
                self.instances.append(instance)
                self._stack.push(instance)
                instance.spawn()
            for instance in self.instances:
                instance.wait_ready()
            ports = [self._link(f"backend-{each.number}", each.port) for each in self.instances]
            servers = [f"127.0.0.1:{port}" for port in ports]
            config = partial(configuration, instances=servers, balance=self.plan.balance)
            self.balancer = self._stack.enter_context(NginxServer(config))
            self._edge_port = self._link("edge", self.balancer.port)
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
            if self.plan.small_disk:
                self.disk = self._stack.enter_context(SmallDisk(self.folder / "disk"))
            env["SQLITE_PATH"] = str(self.database)
        if self.plan.store == "postgres":
            self.postgres = self._stack.enter_context(PostgresServer())
            env["POSTGRES_DSN"] = self.postgres.dsn
        if self.plan.fanout == "redis":
            self.redis = self._stack.enter_context(RedisServer())
            env |= {"FF_REDIS_SSE_BROADCAST": "1", "REDIS_URL": self.redis.url}
        return env

    def _linked(self, number: int) -> dict[str, str]:
        """Settings by which one instance finds the shared services through links of its own."""
        env = {}
        if self.plan.linked and self.postgres is not None:
            port = self._link(f"store-{number}", self.postgres.port)
            env["POSTGRES_DSN"] = self.postgres.dsn.replace(f":{self.postgres.port}/", f":{port}/")
        if self.plan.linked and self.redis is not None:
            port = self._link(f"broker-{number}", self.redis.port)
            env["REDIS_URL"] = self.redis.url.replace(f":{self.redis.port}/", f":{port}/")
        return env

    def _link(self, name: str, port: int) -> int:
        """The port of a new link to this one; without links the same port."""
        if not self.plan.linked:
            return port
        if self._toxiproxy is None:
            raise ServiceFailed("a linked deployment needs a running Toxiproxy")
        link = self._toxiproxy.link(f"{self.folder.name}-{name}", port)
        self.links[name] = link
        return link.port

    @property
    def database(self) -> Path:
        """The file that instances on SQLite share."""
        return (self.disk.folder if self.disk else self.folder) / "jobs.db"

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

    def obey(self, command: str) -> str:
        """Carry out `kill 2`, `stop store` and the like; returns what there is to say.

        Raises ValueError, ServiceFailed, MissingProgram.
        """
        return faults.obey(self, command)

    def heal(self) -> list[str]:
        """Mend whatever is broken; returns what could not be mended."""
        return faults.heal(self)

    async def aclose(self) -> None:
        """End it, also while being cancelled."""
        await asyncio.shield(asyncio.create_task(asyncio.to_thread(self.__exit__)))

    @property
    def lease_s(self) -> float:
        return self.plan.lease_s

    @property
    def heartbeat_s(self) -> float:
        return float(self.plan.env.get("HEARTBEAT_SECONDS", HEARTBEAT_S))

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    @property
    def about(self) -> str:
        linked = ", every link through Toxiproxy" if self.plan.linked else ""
        return f"{self.plan.instances} instances behind nginx{linked}"

    @property
    def url(self) -> str:
        """Where its readers find it: the balancer, or the link before it."""
        return f"http://127.0.0.1:{self._edge_port}"

    @property
    def entrances(self) -> list[str]:
        return [self.url]

    @property
    def urls(self) -> list[str]:
        """Each instance's own address."""
        return [instance.url for instance in self.instances]


async def started(plan: Plan, toxiproxy: ToxiproxyServer | None = None) -> Topology:
    """A running one; who is cancelled meanwhile leaves nothing behind.

    Raises MissingProgram, ServiceFailed.
    """
    entering = asyncio.create_task(asyncio.to_thread(Topology(plan, toxiproxy).__enter__))
    try:
        return await asyncio.shield(entering)
    except asyncio.CancelledError:
        await asyncio.to_thread((await entering).__exit__)
        raise


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
