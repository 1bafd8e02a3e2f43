"""Two runs side by side: what counts as worse, and files that cannot be used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from test_load_page import run_of

from load.compare import rows
from load.tally import Tally

ROOT = Path(__file__).parents[2]


def timed(age_s: float, **ledger: int) -> dict:
    tally = Tally()
    tally.phases["event_age"].add(age_s, 100)
    tally.ledger.update(ledger or {"ok": 9})
    return run_of(tally)


def compared(before: dict, after: dict) -> dict[str, str]:
    return {
        row.name: "worse" if row.worse else "better"
        for row in rows(before, after)
        if row.worse or row.better
    }


def test_equal_runs_differ_in_nothing() -> None:
    assert compared(timed(0.02), timed(0.021)) == {}


def test_older_events_are_worse_and_younger_ones_better() -> None:
    slow, fast = timed(0.2), timed(0.02)
    assert compared(fast, slow) == {"event age p50": "worse", "event age p95": "worse"}
    assert set(compared(slow, fast).values()) == {"better"}


def test_a_broken_stream_is_worse_whatever_else_got_better() -> None:
    found = compared(timed(0.2), timed(0.02, ok=9, lost=1))
    assert found["broken streams"] == found["verdict"] == "worse"


def test_the_command_tells_and_draws(tmp_path: Path) -> None:
    for name, run in (("before", timed(0.02)), ("after", timed(0.2))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(run))

    def compare(*names: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "load.compare", *(str(tmp_path / n) for n in names),
             "--report-dir", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    worse = compare("before", "after")
    assert worse.returncode == 1, worse.stderr
    assert "| event age p95 | 20 ms | 199 ms | **x 9.95 worse** |" in worse.stdout
    assert "Something got worse" in (tmp_path / "compare.html").read_text()
    assert compare("after", "before").returncode == 0
    missing = compare("before", "nowhere")
    assert missing.returncode == 2
    assert "cannot read" in missing.stderr
    assert "Traceback" not in missing.stderr
