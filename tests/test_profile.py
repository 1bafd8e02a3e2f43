"""Profiles: defaults, inheritance, and errors that name the line and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamgauge.profile import ProfileError, bundled_profiles, load_profile


def test_the_default_looks_for_optional_parts() -> None:
    """If the default profile is used, then every optional part is looked for."""
    capabilities = load_profile("resume-optimizer").capabilities
    assert {capabilities.cancel, capabilities.shape, capabilities.validators} == {"auto"}


def test_reference_declares_every_optional_part() -> None:
    """If `reference` is used, then every optional part is declared and tested as such."""
    profile = load_profile("reference")
    assert profile.name == "reference"
    assert all(
        getattr(profile.capabilities, name) is True for name in profile.capabilities.__slots__
    )


@pytest.mark.parametrize("name", bundled_profiles())
def test_every_bundled_profile_loads(name: str) -> None:
    """If a profile is bundled, then it can be used by its name."""
    assert load_profile(name).name == name


def test_a_file_extends_a_profile(tmp_path: Path) -> None:
    """If a file names what differs, then all else comes from the profile that it extends."""
    path = tmp_path / "mine.toml"
    path.write_text('extends = "reference"\n[declared]\nheartbeat_s = 30\n')
    profile = load_profile(str(path))
    assert profile.declared.heartbeat_s == 30
    assert profile.capabilities.cancel is True
    assert profile.declared.quota_runs == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[declared]\nheartbeat_s = 'soon'\n", "mine.toml:2: declared.heartbeat_s: expected a num"),
        ("\n[declared]\nheart = 1\n", "mine.toml:3: declared.heart: unknown; expected one of"),
        ("[ids]\norder = 'random'\n", "mine.toml:2: ids.order: expected one of 'contiguous'"),
        ("[capabilities]\ncancel = 'maybe'\n", 'expected true, false or "auto"'),
        ("[events]\nnames = [1]\n", "expected a list of strings, got [1]"),
        ("[nothing]\nx = 1\n", "mine.toml:1: nothing: unknown; expected one of api, ids"),
        ("ids = 3\n", "ids: expected a table, got 3"),
        ("[ids\n", "is not valid TOML"),
        ("extends = 'nobody'\n", "no profile is called 'nobody'"),
    ],
)
def test_mistakes_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    """If a profile is wrong, then the error names file, line, member, expected and given."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profile(str(path))
    assert said in str(caught.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    """If no profile has that name, then the error lists those that exist."""
    with pytest.raises(ProfileError, match=r"resume-optimizer.*\.toml file"):
        load_profile("nonsense")
