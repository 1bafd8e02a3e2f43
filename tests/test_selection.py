"""Checks are chosen by id, section, level and tag, and a name that is none is never ignored."""

from __future__ import annotations

import pytest

from streamgauge import selection
from streamgauge.catalogue import catalogue


def chosen_ids(only: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> set[str]:
    wanted, unwanted = selection.terms("--only", only), selection.terms("--skip", skip)
    return {
        row.id
        for row in catalogue().values()
        if selection.chosen(selection.names_of(row), wanted, unwanted)
    }


def test_one_of_a_list_has_to_fit() -> None:
    """If several names are given in one list, then a check that has any of them is judged."""
    ids = chosen_ids(only=("PAD,rt-01",))
    assert ids == {i for i in catalogue() if i.startswith("PAD-")} | {"RT-01"}


def test_each_list_has_to_fit() -> None:
    """If the option is repeated, then a check has to fit each of its lists."""
    musts = {row.id for row in catalogue().values() if row.section == "PAD" and row.is_must}
    assert chosen_ids(only=("PAD", "must")) == musts
    assert musts < chosen_ids(only=("PAD",))


def test_what_is_left_out_is_out() -> None:
    """If a check is both chosen and left out, then it is left out."""
    assert not {i for i in chosen_ids(skip=("quota",)) if i.startswith("QUOTA-")}
    assert chosen_ids(only=("PAD",), skip=("should", "must", "info")) == set()


def test_tags_follow_the_catalogue() -> None:
    """If a row needs a proxy or minutes, then the tags say so, and no other table does."""
    assert chosen_ids(only=("long",)) == {row.id for row in catalogue().values() if row.long}
    assert chosen_ids(only=("proxied",)) == {
        row.id for row in catalogue().values() if "P" in row.needs
    }
    slow = selection.names_of(catalogue()["HB-01"], slow=True, optional=True)
    assert {"slow", "optional"} <= slow


def test_no_tag_is_also_a_section() -> None:
    """If a tag had a section's name, then nobody could choose the section alone."""
    sections = {row.section.lower() for row in catalogue().values()}
    assert sections.isdisjoint(selection.TAGS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PAD-99", "PAD-0"),
        ("PADD", "pad"),
        ("musst", "must"),
        ("xyzzyx", "see --list"),
        (" , ", "expected ids, sections, levels or tags"),
    ],
)
def test_a_name_that_is_none_gets_the_nearest(name: str, said: str) -> None:
    """If nothing has the name, then the message names what is nearest."""
    with pytest.raises(selection.UnknownName, match=r"^--only: ") as caught:
        selection.terms("--only", [name])
    assert said in str(caught.value)


def test_an_id_without_a_check_is_said_to_have_none() -> None:
    """If an id has no check yet, then choosing it is a mistake, and the reason is told."""
    pending = next((row.id for row in catalogue().values() if row.pending), None)
    if pending is None:
        return
    with pytest.raises(selection.UnknownName, match="has no check yet"):
        selection.terms("--only", [pending])
    assert "no check yet" in selection.unknown_id(pending)


def test_a_listing_has_one_line_for_each_check() -> None:
    """If checks are listed, then each has one line, and the last line counts them."""
    row = catalogue()["PAD-01"]
    lines = selection.listing([row, row, catalogue()["RT-01"]])
    assert lines[0].split()[:3] == ["PAD-01", "MUST", "U"]
    assert lines[-1] == "2 checks"
