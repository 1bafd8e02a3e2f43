"""Random ids are never taken for made ones, and made ones are found out by few samples."""

from __future__ import annotations

import uuid

import pytest

from conformance.randomness import CHANCE_MAX, chance_of_still, sequence_fault, uuid_fault


@pytest.mark.parametrize("count", [1, 2, 3, 8, 100, 400])
def test_random_ids_are_random(count: int) -> None:
    """If ids are drawn at random, then however few or many they are, nothing is found."""
    for _ in range(50):
        assert sequence_fault([str(uuid.uuid4()) for _ in range(count)]) == ""


@pytest.mark.parametrize("stride", [1, 7, 0x9E3779B97F4B])
def test_counters_are_found(stride: int) -> None:
    """If ids count, then three of them are enough, whatever the stride."""
    ids = [f"7c9e6679-7425-40de-944b-{n * stride % 2**48:012x}" for n in range(1, 4)]
    assert sequence_fault(ids)


def test_a_common_beginning_is_found() -> None:
    """If only the last 32 bits are random, then a few ids tell."""
    head = str(uuid.uuid4())[:28]
    assert sequence_fault([head + uuid.uuid4().hex[:8] for _ in range(6)])


def test_version_7_may_begin_alike() -> None:
    """If ids are of version 7, then a common time is no fault, and a counted tail is."""
    ids = [f"0190{n:04x}-{n:04x}-7000-8000-0000{uuid.uuid4().hex[:8]}" for n in range(40)]
    assert sequence_fault(ids) == ""
    assert sequence_fault([f"0190{n:04x}-{n:04x}-7000-8000-{n:012x}" for n in range(40)])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (str(uuid.uuid4()), ""),
        (str(uuid.uuid4()).upper(), ""),
        (str(uuid.uuid1()), "version 1"),
        ("7c9e6679-7425-40de-044b-e07fc1f90ae7", "variant"),
        ("17", "no UUID"),
        ("7c9e6679742540de944be07fc1f90ae7", "no UUID"),
    ],
)
def test_uuid_bits(text: str, fault: str) -> None:
    """If an id is no UUID of version 4 or 7, then it is said what is wrong."""
    assert (fault in uuid_fault(text)) if fault else uuid_fault(text) == ""


def test_chance_is_a_probability() -> None:
    """If no bit has to agree, then it is certain; if all have to, it is beyond belief."""
    assert chance_of_still(0, 122, 5) == pytest.approx(1.0)
    assert chance_of_still(122, 122, 2) < CHANCE_MAX
