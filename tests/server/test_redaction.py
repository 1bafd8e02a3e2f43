"""Redaction: what has to go, what has to stay, and that no text takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.redaction import redact

#: Linear work on a MiB takes a fraction of this; quadratic work takes minutes.
HOSTILE_LIMIT_S = 10.0


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("write to anna.b+jobs@mail.example.co.uk.", "write to [email]."),
        ("'o@example.org', <x@example.org>", "'[email]', <[email]>"),
        ("jürgen@müller.example", "[email]"),
        ("a@b@example.org", "a@[email]"),
        ("call +49 151 23456789 now", "call [phone] now"),
        ("+4915112345678", "[phone]"),
        ("+1 (555) 123-4567 +44 20 7946 0958", "[phone] [phone]"),
        ("(+49) 151 2345678", "[phone]"),
        ("+49 30 2019-2023", "[phone]"),
        ("+491512345678 2024-01-31", "[phone] 2024-01-31"),
        ("(555) 123-4567", "[phone]"),
        ("(555-123-4567)", "([phone])"),
        ("555 (1234567)", "[phone]"),
        ("030/1234567", "[phone]"),
        ("06.12.34.56.78", "[phone]"),
        ("555.123.4567, 555 123 4567", "[phone], [phone]"),
        ("555-123-4567 555-987-6543", "[phone] [phone]"),
        ("555-123-4567 2024-01-31", "[phone] 2024-01-31"),
        ("12:00 555-123-4567", "12:00 [phone]"),
        ("555\u00a0123\u20114567", "[phone]"),
        ("123-4567", "[phone]"),
        ("123 456 789 012 345", "[phone]"),
    ],
)
def test_personal_data_is_taken_out(text: str, redacted: str) -> None:
    """Addresses and numbers become marks, brackets and plus sign included."""
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31",
        "31.12.2024",
        "2026/01/31",
        "12/31/2024",
        "2026-01-31T12:00:00.123456Z",
        "2024-01-31 - 2024-02-28",
        "2019-2023",
        "2019 - 2023",
        "2019–2023",
        "03/2019 - 05/2021",
        "192.168.100.200",
        "10.0.0.1:8080",
        "1234567890",
        "1234567890123456",
        "4111 1111 1111 1111",
        "123-456",
        "+123456",
        "@handle",
        "a@b",
        "3@1.50",
        "50 % of 1200 users",
        "",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    """Dates, years, addresses of machines and plain integers are no phone numbers."""
    assert redact(text) == text


_GROUPS = st.lists(st.text("0123456789", min_size=1, max_size=5), min_size=2, max_size=6)


@given(_GROUPS, st.sampled_from([" ", ".", "-", "/"]))
def test_grouped_digits_go_unless_they_are_dates(groups: list[str], separator: str) -> None:
    """7 to 15 digits in groups leave no trace, unless the text is a date, range or address."""
    text = separator.join(groups)
    digits = sum(map(len, groups))
    if 7 <= digits <= 15 and len(groups) > 4:
        assert redact(f"tel {text}!") == "tel [phone]!"
    elif digits < 7:
        assert redact(text) == text


@given(st.integers(10**6, 10**15 - 1))
def test_international_numbers_always_go(number: int) -> None:
    """A plus and 7 to 15 digits are a phone number."""
    assert redact(f"x +{number} y") == "x [phone] y"


@given(st.text("ab@.+-() 0123456789:/", max_size=60))
@settings(max_examples=300)
def test_redaction_leaves_no_address_and_never_fails(text: str) -> None:
    """On any mixture of the critical characters: no exception, and nothing else is added."""
    result = redact(text)
    rest = result.replace("[email]", "").replace("[phone]", "")
    assert len(rest) <= len(text)


@given(st.text(st.characters(blacklist_characters="@", blacklist_categories=["Nd", "Cs"])))
def test_text_without_digits_and_at_is_untouched(text: str) -> None:
    """What holds neither digits nor "@" comes back as it is."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "unit",
    ["a", "1", "@", "a@", "a.a@a.a", "+1 ", "1 ", "1-1 ", "1(", "1   ", "2024-01-31 ", "a1", "1:2",
     "555-123-4567 ", "x1-", "+1(", "1.1.1.1.", "1/1/", ".@"],
)  # fmt: skip
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """A MiB of anything is done in a moment: no pattern backtracks over the whole text."""
    text = unit * (2**20 // len(unit))
    begun = time.perf_counter()
    redact(text)
    assert time.perf_counter() - begun < HOSTILE_LIMIT_S
