"""Builds what the benchmark runs beside Python, into `.tools/bench`: the client and the peers.

Each is built once for a state of its sources. Versions are pinned in `peers/`, so that a figure
says what it was measured against. A peer whose toolchain is not here is not measured, and said so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .machine import BenchError

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = Path(__file__).parent / "peers"
TOOLS: Final = ROOT / ".tools" / "bench"
NCHAN_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_BUILD_S: Final = 600.0


class Missing(Exception):
    """Something has to be installed first; the text names it."""


def client() -> Path:
    """The client's program. Raises Missing, BenchError."""
    return _c("readers")


def plain_loop() -> Path:
    """The C `send()` loop. Raises Missing, BenchError."""
    return _c("loop")


def axum() -> Path:
    """The axum peer. Raises Missing, BenchError."""
    cargo = _program("cargo", "a Rust toolchain")

    def build(folder: Path) -> None:
        manifest = PEERS / "axum" / "Cargo.toml"
        command = [cargo, "build", "--release", "--locked", "--quiet"]
        _run([*command, "--manifest-path", str(manifest), "--target-dir", str(folder / "target")])
        shutil.copy2(folder / "target" / "release" / "bench-axum", folder / "server")
        shutil.rmtree(folder / "target")

    return _built("axum", PEERS / "axum", build) / "server"


def go_sse() -> Path:
    """The go-sse peer. Raises Missing, BenchError."""
    go = _program("go", "a Go toolchain")

    def build(folder: Path) -> None:
        _run([go, "build", "-mod=readonly", "-o", str(folder / "server"), "."], PEERS / "gosse")

    return _built("gosse", PEERS / "gosse", build) / "server"


def sse_starlette() -> Path:
    """The interpreter of a virtual environment with FastAPI, sse-starlette and uvicorn.

    Raises BenchError.
    """

    def build(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder / "venv")])
        pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "-r", str(PEERS / "sse_starlette" / "requirements.txt")])

    return _built("sse_starlette", PEERS / "sse_starlette", build) / "venv" / "bin" / "python"


def node() -> Path:
    """Raises Missing."""
    return Path(_program("node", "Node 20 or newer"))


def nginx() -> Path:
    """nginx, which can load nchan. Raises Missing."""
    program = Path(_program("nginx", "Debian's nginx (`make deps-bench`)"))
    if not NCHAN_MODULE.exists():
        raise Missing("Debian's libnginx-mod-nchan is not installed (`make deps-bench`)")
    return program


def _c(name: str) -> Path:
    compiler = _program("gcc", "gcc (`make deps-bench`)")

    def build(folder: Path) -> None:
        _run([compiler, "-O2", "-o", str(folder / name), str(PEERS / f"{name}.c")])

    return _built(name, PEERS / f"{name}.c", build) / name


def _program(name: str, what: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{what} is not installed")
    return found


def _built(name: str, source: Path, build: Callable[[Path], None]) -> Path:
    """The folder of a finished build of just this source."""
    digest = hashlib.sha256()
    for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(source.parent)}\0".encode() + file.read_bytes())
    folder = TOOLS / f"{name}-{digest.hexdigest()[:12]}"
    finished = folder / "finished"
    if not finished.exists():
        print(f"building {name}", flush=True)
        for old in TOOLS.glob(f"{name}-????????????"):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        build(folder)
        finished.touch()
    return folder


def _run(command: list[str], folder: Path = ROOT) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{command[0]} did not finish in {_BUILD_S:g} s") from error
    if done.returncode:
        raise BenchError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-600:]}")
