"""What a pipeline is: an iterator over steps that can start at any place of its log.

Pipelines know nothing of stores, leases or clocks. They never sleep either: they say how long to
wait, and the runner waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..payloads import Emission


class FieldErrors(ValueError):
    """A start request's fields are wrong: pairs of JSON pointer and what was expected (422)."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{pointer}: {detail}" for pointer, detail in errors))
        self.errors = tuple(errors)


class StartFields(Protocol):
    """The members of a validated start request that a pipeline may derive facts from."""

    @property
    def resume_text(self) -> str: ...

    @property
    def job_text(self) -> str | None: ...

    @property
    def pipeline(self) -> object:
        """The script as JSON, or None for the default pipeline."""


@dataclass(frozen=True, slots=True)
class Step:
    """Wait `delay_s`, then emit; what is emitted together is stored together."""

    delay_s: float
    emissions: tuple[Emission, ...]
    gate: bool = False
    """The wait ends as soon as somebody answers (protocol §12, `resume-agent`)."""


class Pipeline(Protocol):
    """One job's work."""

    def steps(self, head: int) -> Iterator[Step]:
        """The steps whose events come after id `head`. Event n is the same each time."""
