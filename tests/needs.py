"""What a test needs of the machine: where it is missing the test is skipped, and says so.

With STREAMGAUGE_REQUIRE=all nothing may be missing: then a skip would hide that a machine which is
meant to have everything has lost something.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

from streamgauge.browser import BrowserMissing, executable
from streamgauge.witness.clients import NODE_CLIENT


def missing(what: str) -> NoReturn:
    """Leave the test out, or fail it where nothing may be missing."""
    if os.environ.get("STREAMGAUGE_REQUIRE") == "all":
        pytest.fail(f"STREAMGAUGE_REQUIRE=all, but {what}", pytrace=False)
    pytest.skip(what)


def browser() -> None:
    """A Chromium and the package that drives it."""
    try:
        executable()
    except BrowserMissing as reason:
        missing(str(reason))


def npm_client() -> None:
    """The npm package `eventsource`, where `make witnesses` puts it."""
    if shutil.which("node") is None:
        missing("node is not installed")
    if not (NODE_CLIENT / "node_modules" / "eventsource").is_dir():
        missing("the npm package eventsource is not installed: make witnesses")
