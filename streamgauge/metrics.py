"""Reads what a target exposes for Prometheus: names and values, summed over labels.

prometheus-client's parser does the reading; here stands how a measure that a profile names is found
among the samples, whichever kind of metric a target chose for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

TEXT_BYTES_MAX = 8 * 1024 * 1024
"""A larger exposition is not read: it would stall the judgement."""
COUNTED = ("_count", "_total", "")
"""Sample names of a measure: a distribution's count, a counter, the name as it is."""


class MetricsError(Exception):
    """The text is no exposition; the message says why."""


def samples(body: bytes) -> dict[str, float]:
    """Sample name -> value, summed over all labels.

    Raises:
        MetricsError: not UTF-8, not the text format, or too large.
    """
    if len(body) > TEXT_BYTES_MAX:
        raise MetricsError(f"larger than {TEXT_BYTES_MAX} octets")
    found: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(body.decode("utf-8")):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + float(sample.value)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise MetricsError(" ".join(str(error).split())[:120] or type(error).__name__) from error
    return found


def measure(found: Mapping[str, float], name: str) -> float | None:
    """How often a measure was taken, or its value where it has no count; None: it is not there."""
    for suffix in COUNTED:
        value = found.get(f"{name}{suffix}")
        if value is not None and not math.isnan(value):
            return value
    return None


def is_counted(found: Mapping[str, float], name: str) -> bool:
    """Whether the measure is a distribution or a counter: one that only grows."""
    return name.endswith("_total") or any(f"{name}{s}" in found for s in ("_count", "_total"))
