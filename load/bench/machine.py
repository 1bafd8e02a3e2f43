"""What the benchmark reads from the machine, which has to run Linux: times, memory, its make."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

_PACKAGES: Final = ("quart", "hypercorn", "h11", "uvloop", "aiosqlite")


class Cpus(NamedTuple):
    """The processor that what is measured has for itself, and the one for everything else."""

    server: int
    client: int


class BenchError(Exception):
    """There is no figure, and this is why."""


def choose_cpus() -> Cpus:
    """Two processors that this process may use. Raises BenchError where there is only one."""
    free = sorted(os.sched_getaffinity(0))
    if len(free) < 2:
        raise BenchError("two processors are needed, one for the server and one for the client")
    return Cpus(free[0], free[1])


def pin(cpu: int) -> None:
    """Stay on one processor from now on; children inherit it."""
    os.sched_setaffinity(0, {cpu})


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for child in (task / "children").read_text().split():
                yield from family(int(child))


def cpu_us(pid: int) -> float:
    """Processor time of a process and its descendants, all threads, in microseconds."""
    total = 0
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that ends between the two
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1000


def memory_kib(pid: int) -> int:
    """Memory of a process and its descendants, shared pages in proportion, in KiB."""
    total = 0
    for member in family(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def stolen_s() -> float:
    """Seconds that the hypervisor gave to somebody else since the start, all processors."""
    ticks = int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])
    return ticks / os.sysconf("SC_CLK_TCK")


def describe(cpus: Cpus) -> dict[str, object]:
    """What a reader of the figures has to know about where they come from."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    versions: dict[str, str] = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "processor": model[0] if model else platform.machine(),
        "processors": os.cpu_count(),
        "pinned": cpus._asdict(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
    }
