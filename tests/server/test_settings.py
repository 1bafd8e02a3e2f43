"""Settings: read from the environment only, checked as a whole, documented in `.env.example`."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from reference_server.settings import DEFAULT_ORIGINS, Settings, SettingsError

ENV_EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_defaults_are_the_protocols() -> None:
    """An empty environment gives the numbers that the protocol names."""
    settings = Settings.from_env({})
    assert settings.quota_runs_per_client == 5
    assert settings.frame_min_bytes == 4096
    assert settings.heartbeat_seconds == 15
    assert settings.stream_store_backend == "sqlite"
    assert settings.cors_allow_origins == DEFAULT_ORIGINS
    assert len(DEFAULT_ORIGINS) == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "http"),
        ("STREAM_STORE_BACKEND", "mysql"),
        ("POSTGRES_DSN", "host=db user=x"),
        ("POSTGRES_DSN", "http://db/x"),
        ("POSTGRES_POOL_SIZE", "1"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://localhost:port"),
        ("SQLITE_SYNCHRONOUS", "off"),
        ("QUOTA_RUNS_PER_CLIENT", "-1"),
        ("HISTORY_LIMIT", "0"),
        ("HEARTBEAT_SECONDS", "nan"),
        ("HEARTBEAT_SECONDS", "1e3"),
        ("FRAME_MIN_BYTES", "1.5"),
        ("GRACE_SECONDS", "0"),
        ("SCRIPTED_PIPELINES", "maybe"),
        ("CORS_ALLOW_ORIGINS", "*"),
        ("CORS_ALLOW_ORIGINS", "https://a.example/"),
        ("CORS_ALLOW_ORIGINS", "a.example"),
        ("CORS_ALLOW_ORIGINS", "https://a.example:port"),
        ("ROOT_PATH", "/stream/"),
        ("ROOT_PATH", "stream"),
        ("TLS_CERT_FILE", "/nonexistent.pem"),
        ("LOG_LEVEL", "loud"),
        ("INSTANCE_ID", "two words"),
    ],
)
def test_wrong_value_is_named(name: str, value: str) -> None:
    """A value out of bounds is refused in a sentence that names its variable."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    assert any(problem.startswith(name) for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("STREAM_STORE_BACKEND", "postgres", "POSTGRES_DSN"),
        ("FF_REDIS_SSE_BROADCAST", "1", "REDIS_URL"),
    ],
)
def test_what_a_choice_needs_must_be_given(name: str, value: str, needed: str) -> None:
    """A store or a broadcaster without its address is told at start."""
    with pytest.raises(SettingsError, match=f"{needed} must be given for {name}={value}"):
        Settings.from_env({name: value})


def test_secrets_are_never_shown() -> None:
    """Neither the settings nor a complaint quote an address that may hold a password."""
    env = {
        "POSTGRES_DSN": "postgresql://me:HIDDEN@db/x",
        "REDIS_URL": "redis://:HIDDEN@cache/0",
    }
    assert "HIDDEN" not in repr(Settings.from_env(env))
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: f"x{value}" for name, value in env.items()})
    assert len(caught.value.problems) == 2
    assert "HIDDEN" not in str(caught.value)


def test_all_wrong_values_are_told_at_once() -> None:
    """Several faults give several sentences, not one restart each."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"PORT": "x", "LOG_LEVEL": "x", "TLS_CERT_FILE": str(ENV_EXAMPLE)})
    assert len(caught.value.problems) == 3


def test_fractions_and_lists() -> None:
    """Seconds may have fractions, and origins are a comma list."""
    settings = Settings.from_env(
        {
            "HEARTBEAT_SECONDS": "0.25",
            "CORS_ALLOW_ORIGINS": "https://a.example, http://b.example:81",
        }
    )
    assert settings.heartbeat_seconds == 0.25
    assert settings.cors_allow_origins == ("https://a.example", "http://b.example:81")


def test_every_setting_is_documented_with_its_default() -> None:
    """`.env.example` has a line for each variable, and following it changes nothing."""
    documented = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", ENV_EXAMPLE.read_text(), re.MULTILINE))
    assert {field.name.upper() for field in fields(Settings)} == set(documented)
    assert Settings.from_env(documented) == Settings.from_env({})
