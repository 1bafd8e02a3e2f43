"""What became of every stream: one word for each, and the anomaly that proves it.

A stream is one reader's way through one job, over as many connections as it took. The history
checker lays all of them beside the job's final log; here its anomalies become the ledger's words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streamgauge.history import WORD_OF, Anomaly, Rules, check

from .readers import Connection, Reader

OK: Final = "ok"
WORDS: Final = (
    OK,
    "lost",
    "duplicate",
    "reordered",
    "unsignalled_gap",
    "stuck",
    "never_terminated",
)
"""From the best to the worst that can be said of a stream; each gets the worst that is true."""
_WORD_HERE: Final = {"diverged": "duplicate"}
"""An id with two contents was shown twice; this ledger has no word of its own for it."""


@dataclass(slots=True)
class Ledger:
    """The words of all streams, and what stands behind those that are not "ok"."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """A sentence for each anomaly."""

    def as_json(self) -> dict[str, int]:
        return {word: self.counts[word] for word in WORDS}

    @property
    def clean(self) -> bool:
        return not self.faults and self.counts.total() == self.counts[OK] > 0


def judge(
    readers: Sequence[Reader],
    logs: Mapping[str, Sequence[Connection]],
    events: Mapping[str, int],
) -> Ledger:
    """Hold all that was read against each job's final logs.

    Args:
        readers: all of them, ended or not.
        logs: job -> its whole log as each instance shows it afterwards.
        events: job -> how many it was asked to emit.
    """
    ledger = Ledger()
    for job in dict.fromkeys(reader.job for reader in readers):
        own = [reader for reader in readers if reader.job == job]
        found = _anomalies(job, own, logs.get(job, ()), events[job], ledger)
        for reader in own:
            words = [_word(a) for a in found.get(reader.name, ())]
            words.append(OK if reader.ended else "stuck")
            ledger.counts[max(words, key=WORDS.index)] += 1
            if not reader.ended:
                ledger.faults.append(
                    f"{reader.name}: stuck after event {reader.newest} of job {job}"
                )
    return ledger


def _word(anomaly: Anomaly) -> str:
    word = WORD_OF[anomaly.kind]
    return _WORD_HERE.get(word, word)


def _anomalies(
    job: str, readers: Sequence[Reader], logs: Sequence[Connection], events: int, ledger: Ledger
) -> dict[str, list[Anomaly]]:
    """By reader; what is wrong with the logs themselves is blamed on the first of them."""
    if not logs:
        ledger.faults.append(f"job {job}: its log could not be read afterwards")
        return {}
    views = {
        f"{reader.name}/{n}": connection.view(f"{reader.name}/{n}")
        for reader in readers
        for n, connection in enumerate(reader.connections)
    }
    others = [log.view(f"log on {log.url}") for log in logs]
    rules = Rules(order="contiguous", first=1, finished=True)
    found: dict[str, list[Anomaly]] = {}
    for anomaly in check([*views.values(), *others[1:]], others[0], rules):
        name = anomaly.view.partition("/")[0] if anomaly.view in views else readers[0].name
        found.setdefault(name, []).append(anomaly)
        ledger.faults.append(f"job {job}: {anomaly.view}: {anomaly.kind}: {anomaly.message}")
    if len(others[0].entries) != events:
        ledger.faults.append(
            f"job {job}: its log has {len(others[0].entries)} events; its script asked for {events}"
        )
    return found
