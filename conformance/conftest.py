"""Loads the instrument into pytest and hands it this suite's scenarios."""

from collections.abc import Sequence

from conformance.scenarios import SCENARIOS
from streamgauge.scenario import Scenario

pytest_plugins = ["streamgauge.plugin"]


def pytest_streamgauge_scenarios() -> Sequence[Scenario]:
    return SCENARIOS
