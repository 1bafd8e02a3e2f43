"""What came of each experiment: nothing lost, nothing twice, everything back."""

from __future__ import annotations

import pytest

from .controls import Control, caught
from .experiments import Experiment
from .outcome import PASS
from .programme import Programme


def test_readers_have_the_whole_log(experiment: Experiment, programme: Programme) -> None:
    """If something fails, then every reader that comes back has every event, once, in order."""
    found = next(
        (each for each in programme.outcomes if each.experiment == experiment),
        None,
    )
    if found is None:
        pytest.fail("inconclusive: it was not played", pytrace=False)
    if found.verdict != PASS:
        pytest.fail(f"{found.verdict}: " + "\n".join(found.reasons[:20]), pytrace=False)


@pytest.mark.delivery
def test_padded_events_pass_buffers(programme: Programme) -> None:
    """If a proxy holds back what is small, then padded events pass in time, and others do not."""
    assert programme.deliveries, programme.troubles
    late = [f"{way.way}: {way.padded.age_p95_s:.2f} s" for way in programme.deliveries]
    assert all(way.passes for way in programme.deliveries), late
    unproven = [way.way for way in programme.deliveries if not way.proven]
    assert not unproven, f"unpadded events passed as well, so nothing is proven: {unproven}"


@pytest.mark.platforms
def test_streams_survive_on_platforms(programme: Programme) -> None:
    """If a platform cuts or holds back streams, then readers still get all of it."""
    assert programme.rows, programme.troubles
    broken = {row.platform.id: row.kept for row in programme.rows if not row.passes}
    assert not broken


def test_a_broken_server_is_caught(control: Control, programme: Programme) -> None:
    """If a server loses, repeats or tears something under a fault, then that is seen."""
    found = programme.outcome_of(control)
    assert caught(found), f"{control.expected}: {found.verdict} {found.reasons[:5]}"
