"""The work that jobs do: a log as a pure function of stored parameters and a position.

Because event n depends on nothing else, any process can go on after the last stored event.
"""

from __future__ import annotations

from .base import FieldErrors, StartFields, Step
from .registry import Pipelines

__all__ = ["FieldErrors", "Pipelines", "StartFields", "Step"]
