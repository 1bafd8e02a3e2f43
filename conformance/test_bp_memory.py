"""BP: what an instance keeps for readers that do not read."""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import End
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, Unable

from .breaking import broken_part

BESIDE_BYTES = 32 * 1024 * 1024
"""What any server may take in the meantime for the job itself."""
MEGABYTE = 1024 * 1024


@check("BP-02", "swollen")
def test_stalled_readers_cost_little_memory(run: Run) -> Found:
    """If many readers stall on a large log, then memory grows by no more than is declared."""
    bundle = broken_part(run, "swollen")
    stalled = [r for r in bundle.all("stalled") if r.status == 200 and r.end is End.LEFT]
    if not stalled or not bundle.facts.get("over"):
        raise Unable("no reader was still stalled when the job had ended")
    grown = int(bundle.facts["after"]) - int(bundle.facts["before"])
    each = run.profile.declared.reader_bytes
    told = (
        f"memory grew by {grown / MEGABYTE:.0f} MiB while {len(stalled)} readers were stalled on a "
        f"log of 8 MiB"
    )
    if grown > len(stalled) * each + BESIDE_BYTES:
        raise Broken(
            f"{told}; declared are {each / MEGABYTE:g} MiB for each of them",
            Exhibit(stalled[0], "one of them"),
            count=len(stalled),
            what="stalled readers",
        )
    return Found(len(stalled), "stalled readers", told)
