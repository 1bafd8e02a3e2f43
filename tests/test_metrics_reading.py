"""A target's metrics are read whatever kind it chose for them, and garbage is told as such."""

from __future__ import annotations

import pytest

from streamgauge.metrics import MetricsError, is_counted, measure, samples

TEXT = b"""# TYPE frames histogram
frames_bucket{le="4096.0",kind="a"} 2
frames_bucket{le="+Inf",kind="a"} 3
frames_count{kind="a"} 3
frames_sum{kind="a"} 9000
frames_count{kind="b"} 4
frames_sum{kind="b"} 1
# TYPE failures_total counter
failures_total 0
# TYPE lag gauge
lag NaN
"""


def test_measures_are_found_whatever_their_kind() -> None:
    """If a measure is a histogram, a counter or a gauge, then it is found by its one name."""
    found = samples(TEXT)
    assert measure(found, "frames") == 7
    assert measure(found, "failures_total") == measure(found, "failures") == 0
    assert measure(found, "lag") is None, "no number is no sample"
    assert measure(found, "frame") is None
    assert is_counted(found, "frames") and is_counted(found, "failures_total")
    assert not is_counted(found, "lag")


@pytest.mark.parametrize(
    "body", [b"<html><body>not here</body></html>", b"frames{le=\n", b"\xff\xfe", b"a b c d e\n"]
)
def test_what_is_no_exposition_is_told(body: bytes) -> None:
    """If the text is not the Prometheus format, then that is said, and nothing else raised."""
    with pytest.raises(MetricsError):
        samples(body)


def test_nothing_is_nothing() -> None:
    """If nothing is exposed, then there is no sample."""
    assert samples(b"") == {}
