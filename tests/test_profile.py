"""Profiles: defaults, inheritance, and errors that name the line and what was expected."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from streamgauge.access import AccessError, access
from streamgauge.profile_file import ProfileError, bundled_profiles, load_profile

LEFT_TO_THE_WAY = {"http2"}
"""What the server has, but a proxy in front of it may not."""


def test_the_default_looks_for_optional_parts() -> None:
    """If the default profile is used, then every optional part is looked for."""
    capabilities = load_profile("resume-optimizer").capabilities
    assert {capabilities.cancel, capabilities.shape, capabilities.validators} == {"auto"}


def test_reference_declares_every_optional_part() -> None:
    """If `reference` is used, then every optional part is declared and tested as such."""
    profile = load_profile("reference")
    assert profile.name == "reference"
    asked = {part.name for part in fields(profile.capabilities)} - LEFT_TO_THE_WAY
    assert all(getattr(profile.capabilities, name) is True for name in asked)


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
        ("[api]\nstream = 'jobs'\n", "mine.toml:2: api.stream: expected a path that begins"),
        ("[api]\njob_id = 'id'\n", "mine.toml:2: api.job_id: expected a list of strings"),
        ("[api]\nstart_streams = 1\n", "mine.toml:2: api.start_streams: expected true or false"),
        ("[events]\ntype_member = 3\n", "mine.toml:2: events.type_member: expected a string"),
        ("[capabilities]\npolling = 'no'\n", "mine.toml:2: capabilities.polling: expected true"),
        ("[declared]\nheartbeat_s = -1\n", "mine.toml:2: declared.heartbeat_s: expected a number"),
        ("[auth]\nheaders = { A = 'b' }\n", "mine.toml:2: auth.headers: expected a table of"),
        ("[auth]\ntoken = 'x'\n", "mine.toml:2: auth.token: unknown; expected one of headers"),
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


def test_a_literal_secret_is_refused_and_never_shown(tmp_path: Path) -> None:
    """If somebody writes a token into a profile, then the error does not repeat it."""
    path = tmp_path / "mine.toml"
    path.write_text("[auth]\nheaders = { Authorization = 'Bearer hunter2-hunter2' }\n")
    with pytest.raises(ProfileError) as caught:
        load_profile(str(path))
    assert "env:NAME" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_come_from_the_environment(tmp_path: Path) -> None:
    """If a profile names variables, then their values are what is sent; a missing one is named."""
    path = tmp_path / "mine.toml"
    path.write_text(
        "[auth]\n"
        "headers = { Authorization = 'Bearer env:TOKEN' }\n"
        "cookies = { sid = 'env:SID' }\n"
        "query = { key = 'env:KEY' }\n"
    )
    profile = load_profile(str(path))
    said = access(profile, {"TOKEN": "t-1", "SID": "s-2", "KEY": "k-3"})
    assert said.headers == (("Authorization", "Bearer t-1"), ("Cookie", "sid=s-2"))
    assert said.query == (("key", "k-3"),)
    with pytest.raises(AccessError, match=r"mine\.toml:3: auth\.cookies\.sid: .*SID.*not set"):
        access(profile, {"TOKEN": "t-1", "KEY": "k-3"})


def test_a_member_tells_where_it_stands(tmp_path: Path) -> None:
    """If a member is quoted as a reason, then with the file and line that say it."""
    path = tmp_path / "mine.toml"
    path.write_text('extends = "quiz"\n[capabilities]\ncancel = true\n')
    profile = load_profile(str(path))
    assert profile.says("capabilities.cancel").endswith(f"= true ({path}:3)")
    assert "quiz.toml:" in profile.says("capabilities.join")
    assert profile.says("declared.skew_s").endswith("declared.skew_s = 1.0")


def test_an_unknown_name_lists_the_known_ones() -> None:
    """If no profile has that name, then the error lists those that exist."""
    with pytest.raises(ProfileError, match=r"resume-optimizer.*\.toml file"):
        load_profile("nonsense")
