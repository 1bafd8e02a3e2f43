"""Servers without a fault: what turns red here would make every kill worthless."""

from __future__ import annotations

from functools import partial

from .bp import narrow_send_buffers
from .cors import other_spelling
from .life import SHORT_LIVED
from .model import Control
from .replay import MEMORY
from .wire import plain_text

CONTROLS: list[Control] = [
    Control(
        name="reference",
        about="The reference server as it is, with scaled waits.",
    ),
    Control(
        name="plain-text",
        passes=("WIRE-12",),
        patch=partial(plain_text, widest=10_000),
        profile="plain.toml",
        about="Texts are sent as plain text, in data lines of at most 40 KB.",
    ),
    Control(
        name="stalled-readers",
        passes=("BP-01", "BP-03", "BP-04", "BP-05"),
        env={"STALLED_READER_SECONDS": "4"},
        patch=narrow_send_buffers,
        profile="stalling.toml",
        about="A reader that takes nothing for four seconds is dropped, a slow one is not.",
    ),
    Control(
        name="cors-other-spelling",
        passes=("CORS-01", "CORS-02", "CORS-03", "CORS-04", "CORS-05"),
        patch=other_spelling,
        about="One fixed origin for everybody, wildcards without credentials, preflights with 200.",
    ),
    Control(
        name="memory-store",
        passes=("REPLAY-13",),
        env=MEMORY,
        about="The memory store keeps 2,000 events of a job and says what it has dropped.",
    ),
    Control(
        name="short-lived",
        passes=("LIFE-14",),
        env=SHORT_LIVED,
        profile="kept.toml",
        about="Finished jobs are kept for twenty seconds.",
    ),
    Control(
        name="three-instances",
        passes=("MI-01", "MI-02", "MI-03", "MI-10"),
        instances=3,
        about="Three processes on one SQLite store, each of which knows every job.",
    ),
    Control(
        name="three-that-fail",
        passes=(
            *("MI-04", "MI-05", "MI-06", "MI-07", "MI-09", "OPS-02", "H2-06", "BP-02"),
            *("TAKE-01", "TAKE-02", "TAKE-03"),
        ),
        instances=3,
        deployment=("sqlite", "local"),
        about="Three processes on one SQLite store, killed, drained, paused and restarted.",
    ),
    Control(
        name="all-away-for-a-while",
        passes=("MI-04", "MI-05", "MI-08", "TAKE-01", "TAKE-03", "TAKE-04", "TAKE-05"),
        instances=2,
        deployment=("postgres", "redis"),
        about="PostgreSQL and Redis are stopped and started again under two instances.",
    ),
]
