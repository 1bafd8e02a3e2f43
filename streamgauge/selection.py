"""Which checks a run judges: `--only` and `--skip` by id, section, level or tag, and `--list`.

Every name comes from the catalogue, and from the scenarios that a check declares, so that no second
table can disagree with it. The same names are pytest markers: `-m "must and not quota"` works.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .catalogue import Level, Requirement, catalogue

#: Letters of the catalogue's `needs`, as tags. `proxied` is not called proxy: that is a section.
NEED_TAGS: Final[Mapping[str, str]] = {
    "U": "url",
    "J": "jobs",
    "P": "proxied",
    "I": "instances",
    "K": "hooks",
    "B": "browser",
}
LONG, SLOW, OPTIONAL = "long", "slow", "optional"
TAGS: Final = (*NEED_TAGS.values(), LONG, SLOW, OPTIONAL)
_NEAREST = 3


class UnknownName(Exception):
    """A name that selects nothing; the message tells the nearest ones."""


def names_of(requirement: Requirement, *, slow: bool = False, optional: bool = False) -> set[str]:
    """All names, in lower case, by which a check can be chosen.

    Args:
        requirement: its row of the catalogue.
        slow: one of its scenarios mostly waits.
        optional: it belongs to an optional part of the protocol.
    """
    names = {requirement.id.lower(), requirement.section.lower(), requirement.level.lower()}
    names |= {tag for letter, tag in NEED_TAGS.items() if letter in requirement.needs}
    flags = ((LONG, requirement.long), (SLOW, slow), (OPTIONAL, optional))
    return names | {tag for tag, holds in flags if holds}


def markers() -> list[str]:
    """The names that pytest has to know: all but the ids."""
    sections = dict.fromkeys(row.section.lower() for row in catalogue().values())
    return list(dict.fromkeys((*sections, *(level.value.lower() for level in Level), *TAGS)))


def terms(option: str, texts: Sequence[str]) -> list[frozenset[str]]:
    """The names that were given: of each list one has to fit, and of several lists each.

    Raises:
        UnknownName: naming the option and what is nearest.
    """
    known = {*markers(), *(identifier.lower() for identifier in catalogue())}
    lists = []
    for text in texts:
        names = [name.strip().lower() for name in text.split(",") if name.strip()]
        if not names:
            raise UnknownName(f"{option}: expected ids, sections, levels or tags, got {text!r}")
        for name in names:
            if name not in known:
                raise UnknownName(f"{option}: {_unknown(name, known)}")
            row = catalogue().get(name.upper())
            if row is not None and row.pending:
                raise UnknownName(f"{option}: {row.id} has no check yet ({row.pending})")
        lists.append(frozenset(names))
    return lists


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=_NEAREST, cutoff=0.5)
    shown = [each.upper() if each.upper() in catalogue() else each for each in near]
    hint = f"did you mean {' or '.join(shown)}?" if shown else "see --list for the ids"
    tags = ", ".join((*(level.value.lower() for level in Level), *TAGS))
    return f"{name!r} is no id, section, level or tag ({tags}); {hint}"


def unknown_id(identifier: str) -> str:
    """Why an id cannot be used, "" where it can."""
    row = catalogue().get(identifier)
    if row is None:
        near = difflib.get_close_matches(identifier.upper(), catalogue(), n=_NEAREST, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"no check is called {identifier!r}{hint}"
    return f"{row.id} has no check yet ({row.pending})" if row.pending else ""


def chosen(names: set[str], only: Sequence[frozenset[str]], skip: Sequence[frozenset[str]]) -> bool:
    """Whether a check with these names is to be judged."""
    return all(names & each for each in only) and not any(names & each for each in skip)


def listing(rows: Iterable[Requirement]) -> list[str]:
    """What would be judged, one line each."""
    found = list(dict.fromkeys(rows))
    titles = max((len(row.title) for row in found), default=0)
    lines = [
        f"{row.id:<10} {row.level.value:<6} {_needs(row):<8} {row.title:<{titles}}  "
        f"{row.section_title}"
        for row in found
    ]
    return [*lines, f"{len(found)} check{'' if len(found) == 1 else 's'}"]


def _needs(row: Requirement) -> str:
    return f"{row.needs}+long" if row.long else row.needs
