"""Where a target keeps an event's type and id: on lines of their own, or inside the JSON.

Some APIs send `data:` lines alone and put everything else into the JSON text. Every judgement asks
blocks for type and id, so the one translation stands here, between the parser (which knows the
standard only) and all that reads recordings. Lines, bytes and offsets stay as they came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from .sse import Block

DEPTH_MAX = 8


@dataclass(frozen=True, slots=True)
class Members:
    """Dotted paths into an event's JSON; "" where the SSE line of that name is what counts."""

    type: str = ""
    id: str = ""

    def __bool__(self) -> bool:
        return bool(self.type or self.id)

    def translated(self, blocks: Iterable[Block], last_id: str = "") -> list[Block]:
        """The same blocks with type and id taken from where this target keeps them.

        Args:
            blocks: as the parser made them, in order.
            last_id: the newest id before the first of them.
        """
        if not self:
            return list(blocks)
        found = []
        for block in blocks:
            named = self._one(block, last_id)
            if named.event is not None:
                last_id = named.event.last_event_id
            found.append(named)
        return found

    def _one(self, block: Block, last_id: str) -> Block:
        if block.event is None:
            return block
        body = parsed(block.event.data)
        event, own_id = block.event, block.own_id
        if self.type and isinstance(told := at_path(body, self.type), str) and told:
            event = replace(event, type=told)
        if self.id:
            told = at_path(body, self.id)
            usable = isinstance(told, str | int) and not isinstance(told, bool)
            own_id = str(told) if usable else None
            event = replace(event, last_event_id=own_id if own_id is not None else last_id)
        return replace(block, event=event, own_id=own_id)


PLAIN = Members()


def at_path(value: Any, path: str) -> Any:
    """What stands at a dotted path of a JSON value; None where nothing does. "" is the whole."""
    for step in path.split(".")[:DEPTH_MAX] if path else ():
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def first_at(value: Any, paths: Iterable[str]) -> Any:
    """What stands at the first of these paths where anything does."""
    return next((found for path in paths if (found := at_path(value, path)) is not None), None)


def parsed(text: str) -> Any:
    """A JSON text's value, None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
