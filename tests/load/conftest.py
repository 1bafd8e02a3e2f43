"""What the tests of the load test share: one reference server for all that do not break it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from server_process import ServerProcess, running_server


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A reference server whose jobs can be shaped."""
    folder = tmp_path_factory.mktemp("server")
    with running_server(
        folder, SCRIPTED_PIPELINES="1", LOG_LEVEL="error", DIALECTS="all"
    ) as server:
        yield server
