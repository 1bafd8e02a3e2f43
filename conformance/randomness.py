"""Whether ids look as if they were drawn at random, so that nobody can guess the next one.

Few samples have to be enough, and a random id must never be taken for a made one: every finding
here would happen by chance in less than one of 10^9 runs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

CHANCE_MAX: Final = 1e-9

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_VERSION_SHIFT: Final = 76
_VARIANT_SHIFT: Final = 62
#: Version 4: all bits but those of version and variant.
RANDOM_BITS_V4: Final = tuple(
    bit for bit in range(128) if not 76 <= bit < 80 and not 62 <= bit < 64
)
#: Version 7: time, then (RFC 9562 §6.2) possibly finer time and counters; the rest is random.
RANDOM_BITS_V7: Final = tuple(range(32))


def uuid_fault(text: str) -> str:
    """What is wrong with an id as a random UUID (RFC 9562), "" where nothing is."""
    if _UUID.fullmatch(text) is None:
        return "is no UUID"
    number = as_number(text)
    version, variant = number >> _VERSION_SHIFT & 15, number >> _VARIANT_SHIFT & 3
    if variant != 0b10:
        return "has not the variant bits of RFC 9562"
    if version not in (4, 7):
        return f"says version {version}, and only versions 4 and 7 are random"
    return ""


def as_number(text: str) -> int:
    return int(text.replace("-", ""), 16)


def version_of(text: str) -> int:
    return as_number(text) >> _VERSION_SHIFT & 15


def sequence_fault(ids: Sequence[str]) -> str:
    """What shows that these ids (of one version, all different) were not drawn at random."""
    numbers = sorted({as_number(each) for each in ids})
    bits = RANDOM_BITS_V4
    if ids and version_of(ids[0]) == 7:
        bits = RANDOM_BITS_V7
        # Within a tick of its clock a generator may count on from one random number.
        numbers = list({number >> 80: number for number in numbers}.values())
    numbers = sorted({_only(number, bits) for number in numbers})
    if len(numbers) < 2:
        return ""
    if steps := _repeated_step(numbers, len(bits)):
        return steps
    still = [bit for bit in range(len(bits)) if len({number >> bit & 1 for number in numbers}) == 1]
    if chance_of_still(len(still), len(bits), len(numbers)) < CHANCE_MAX:
        return (
            f"{len(still)} of their {len(bits)} random bits are the same in all of "
            f"{len(numbers)} ids (by chance: about {len(bits) * 2.0 ** (1 - len(numbers)):.1g})"
        )
    return ""


def chance_of_still(still: int, bits: int, samples: int) -> float:
    """How likely it is that at least `still` of so many random bits agree in all samples."""
    same = 2.0 ** (1 - samples)
    return math.fsum(
        math.comb(bits, k) * same**k * (1 - same) ** (bits - k) for k in range(still, bits + 1)
    )


def _repeated_step(numbers: Sequence[int], bits: int) -> str:
    """Neighbours in order that are equally far apart: a counter, whatever its stride."""
    steps = Counter(high - low for low, high in pairwise(numbers))
    step, times = steps.most_common(1)[0]
    # Pairs of steps, times the chance that two random ones agree.
    chance = len(numbers) ** 2 * len(numbers) / 2.0**bits
    if times > 1 and chance < CHANCE_MAX:
        return f"{times + 1} of {len(numbers)} ids follow each other in steps of {step}"
    return ""


def _only(number: int, bits: Sequence[int]) -> int:
    """A number made of the chosen bits alone, without the gaps between them."""
    return sum((number >> bit & 1) << place for place, bit in enumerate(bits))
