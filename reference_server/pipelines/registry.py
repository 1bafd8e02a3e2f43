"""Chooses a job's pipeline and turns a start request into the parameters that are stored.

Parameters are facts derived from the request, never the résumé itself, so that the store holds no
personal text. A script's own text is redacted before it is stored, like the events made from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from ..events import to_json
from .base import Pipeline, StartFields, Step
from .dialects import DialectPipeline
from .resume import ResumePipeline
from .script import Script
from .scripted import ScriptedPipeline

SCRIPTED: Final = "scripted"
RESUME: Final = "resume"
DIALECT: Final = "dialect"


class Pipelines:
    """All pipelines that this server has. `time_scale` multiplies the default pipeline's waits."""

    def __init__(self, time_scale: float = 1.0) -> None:
        self._time_scale = time_scale

    def validate_script(self, script: object) -> None:
        """Check a start request's `pipeline` member (protocol §10). Raises FieldErrors."""
        Script.parse(script)

    def parameters(self, request: StartFields) -> str:
        """What is stored of a start request, as JSON text. Raises FieldErrors."""
        if request.pipeline is not None:
            return to_json({"kind": SCRIPTED, "script": Script.parse(request.pipeline).as_json()})
        return to_json(
            {
                "kind": RESUME,
                "resume_words": len(request.resume_text.split()),
                "job_words": len((request.job_text or "").split()),
            }
        )

    def dialect_parameters(self, name: str, quiet_s: float) -> str:
        """What is stored of a job of another system (protocol §12)."""
        return to_json({"kind": DIALECT, "name": name, "quiet_s": quiet_s})

    def steps(self, parameters: str, head: int) -> Iterator[Step]:
        """The steps after event `head`. Raises ValueError for parameters of an unknown kind."""
        return self._pipeline(parameters).steps(head)

    def _pipeline(self, parameters: str) -> Pipeline:
        stored = json.loads(parameters)
        if stored["kind"] == SCRIPTED:
            return ScriptedPipeline(Script.stored(stored["script"]))
        if stored["kind"] == DIALECT:
            return DialectPipeline(stored["name"], stored["quiet_s"], self._time_scale)
        if stored["kind"] == RESUME:
            return ResumePipeline(stored["resume_words"], stored["job_words"], self._time_scale)
        raise ValueError("expected a known kind of pipeline in the stored parameters")
