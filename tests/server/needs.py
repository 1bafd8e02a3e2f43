"""Tests that need something of the system: skipped where it is missing, unless all must run.

With `STREAMGAUGE_REQUIRE=all` (as in continuous integration) what is missing is a failure, so that
a green run there means that everything was tried.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it; the reason says what to install."""
    if os.environ.get("STREAMGAUGE_REQUIRE") == "all":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
