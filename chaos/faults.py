"""Every way in which a topology is broken and mended, as commands of two words.

kill | terminate | pause | unpause | restart | roll   an instance (1, 2, …), or all
ahead | behind | ontime                               an instance: restarted with another clock
stop | start | pause | unpause                        store, broker
fill | free                                           disk
a toxic | heal                                        a link, or a group of them: edge, backend, …
memory                                                an instance: prints what it holds
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .services import MissingProgram, Service, ServiceFailed
from .toxics import NAMES, toxics

if TYPE_CHECKING:
    from .instance import Instance
    from .topology import Topology
    from .toxiproxy import Link

PAUSE_TRIES: Final = 1000
BETWEEN_S: Final = 0.005
STOPPED_S: Final = 5.0
ALL: Final = "all"

MENDED_BY: Final[Mapping[str, str]] = {
    "kill": "restart",
    "terminate": "restart",
    "pause": "unpause",
    "stop": "start",
    "fill": "free",
    "ahead": "ontime",
    "behind": "ontime",
    **dict.fromkeys(NAMES, "heal"),
}
"""What ends each; a fault that is not here ends by itself."""
SKEW_S: Final = {"ahead": 20, "behind": -20, "ontime": 0}
"""Ten leases: more than that would only be more of the same."""
_FAKETIME: Final = "/usr/lib/*/faketime/libfaketime.so.1"


def obey(topology: Topology, command: str) -> str:
    """Carry out `kill 2`, `stop store` and the like; returns what there is to say.

    Raises ValueError, ServiceFailed, MissingProgram.
    """
    match command.split():
        case ["memory", number]:
            return str(_instance(topology, number).memory_bytes)
        case [("stop" | "start" | "pause" | "unpause") as what, ("store" | "broker") as which]:
            _handle_service(what, _service(topology, which))
        case [("kill" | "terminate" | "pause" | "unpause" | "restart") as what, number]:
            for instance in _instances(topology, number):
                _handle_instance(topology, what, instance)
        case ["roll", "all"]:
            for instance in topology.instances:
                _handle_instance(topology, "restart", instance)
        case [("ahead" | "behind" | "ontime") as what, number]:
            _set_clock(_instance(topology, number), SKEW_S[what])
        case [("fill" | "free") as what, "disk"] if topology.disk is not None:
            topology.disk.fill() if what == "fill" else topology.disk.free()
        case [what, name] if links := _links(topology, name):
            for link in links:
                _handle_link(what, link, name)
        case _:
            raise ValueError(f"expected a command such as 'kill 1' or 'stop store': {command}")
    return ""


def heal(topology: Topology) -> list[str]:
    """Mend whatever is still broken, as far as that can be seen; returns what could not be."""
    troubles = []
    if topology.disk is not None:
        topology.disk.free()
    for link in topology.links.values():
        try:
            link.heal()
        except ServiceFailed as error:
            troubles.append(str(error))
    services: list[Service] = [s for s in (topology.postgres, topology.redis) if s is not None]
    for service in (*services, *topology.instances):
        try:
            if service.running:
                service.resume()
            else:
                service.start()
        except ServiceFailed as error:
            troubles.append(str(error))
    for instance in topology.instances:
        if instance.clock:
            _set_clock(instance, 0)
    return troubles


def faketime() -> str:
    """The library that shows a process another time. Raises MissingProgram."""
    found = sorted(Path("/").glob(_FAKETIME.removeprefix("/")))
    if not found:
        raise MissingProgram("libfaketime", "apt-get install -y faketime")
    return str(found[0])


def _handle_instance(topology: Topology, what: str, instance: Instance) -> None:
    if what == "kill":
        instance.kill()
    elif what == "terminate":
        instance.terminate()
    elif what == "pause":
        _pause(topology, instance)
    elif what == "unpause":
        instance.resume()
    else:
        if instance.running:
            instance.terminate()
        instance.start()


def _pause(topology: Topology, instance: Instance) -> None:
    if topology.plan.store == "sqlite":
        pause_between_transactions(instance.pid, topology.database, instance.pause, instance.resume)
    else:
        instance.pause()


def pause_between_transactions(
    pid: int, database: Path, pause: Callable[[], None], resume: Callable[[], None]
) -> None:
    """One that stops within a transaction holds SQLite's lock for as long, and that is another
    fault (the store's) than an instance that does not answer. Raises ServiceFailed."""
    for _ in range(PAUSE_TRIES):
        pause()
        if not _writes(pid, database):
            return
        resume()
        time.sleep(random.uniform(0, BETWEEN_S))
    raise ServiceFailed(f"each of {PAUSE_TRIES} pauses of process {pid} hit a transaction")


def _writes(pid: int, database: Path) -> bool:
    """Whether a process that was told to stop did so while it held the file's lock for writers.

    In WAL mode that is a lock on a byte of the `-shm` file (Linux lists them all in /proc/locks).
    """
    until = time.monotonic() + STOPPED_S
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "T":
        if time.monotonic() > until:
            raise ServiceFailed(f"process {pid} did not stop within {STOPPED_S:.0f} s")
        time.sleep(BETWEEN_S)
    inode = f":{Path(f'{database}-shm').stat().st_ino}"
    held = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any(
        lock[3:5] == ["WRITE", str(pid)] and lock[5].endswith(inode)
        for lock in held
        if len(lock) > 5
    )


def _set_clock(instance: Instance, seconds: int) -> None:
    """Start it anew with a wall clock that is so far off; intervals stay true."""
    skewed = {
        "LD_PRELOAD": faketime(),
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
    if instance.running:
        instance.terminate()
    instance.clock = skewed if seconds else {}
    instance.start()


def _handle_service(what: str, service: Service) -> None:
    if what == "stop":
        service.stop(signal.SIGINT)
    elif what == "start":
        service.start()
    elif what == "pause":
        service.pause()
    else:
        service.resume()


def _handle_link(what: str, link: Link, name: str) -> None:
    known = toxics(name)
    if what == "heal":
        link.heal()
    elif what in known:
        link.poison(known[what])
    else:
        raise ValueError(f"expected one of {', '.join(known)} on the link {name}: {what}")


def _links(topology: Topology, name: str) -> list[Link]:
    """The link of this name, or all of a group ("store": "store-1", "store-2", …)."""
    return [
        link for known, link in topology.links.items() if name in (known, known.rpartition("-")[0])
    ]


def _instances(topology: Topology, number: str) -> list[Instance]:
    return topology.instances if number == ALL else [_instance(topology, number)]


def _instance(topology: Topology, number: str) -> Instance:
    if not number.isdecimal() or not 1 <= int(number) <= len(topology.instances):
        raise ValueError(f"expected an instance from 1 to {len(topology.instances)}: {number}")
    return topology.instances[int(number) - 1]


def _service(topology: Topology, which: str) -> Service:
    service = topology.postgres if which == "store" else topology.redis
    if service is None:
        raise ValueError(f"this deployment has no {which} of its own")
    return service
