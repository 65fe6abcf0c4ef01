"""Which addresses are one, and which hosts: nothing that mail or DNS takes for two."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kavach_core.errors import InvalidInput
from kavach_core.primitives.emails import email_key, mailable, require_email
from kavach_core.primitives.hosts import ascii_host

NFD = unicodedata.normalize("NFD", "josé@x.example")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ADA@Example.ORG", "ada@example.org"),
        (NFD, "josé@x.example"),
        ("a@MÜNCHEN.example", "a@xn--mnchen-3ya.example"),
        ("a@\uff58.example", "a@x.example"),
        ("a@bücher。example", "a@bücher.example"),
    ],
)
def test_one_mailbox_has_one_account_however_it_is_written(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice@straße.example", "alice@strasse.example"),
        ("straße@x.example", "strasse@x.example"),
        ("\u212aim@x.example", "kim@x.example"),
        ("JOSÉ@x.example", "josé@x.example"),
        ("\u0130@x.example", "i\u0307@x.example"),
        ("ﬁ@x.example", "fi@x.example"),
        ("a@faß.example", "a@fass.example"),
        ("\u03c3@x.example", "\u03c2@x.example"),
    ],
)
def test_what_only_looks_or_sounds_alike_is_another_address(one: str, other: str) -> None:
    assert email_key(one) != email_key(other)


def test_a_mailer_gets_the_domain_that_was_compared() -> None:
    assert mailable("Alice@straße.example") == "Alice@xn--strae-oqa.example"
    assert mailable("Ada@Example.ORG") == "Ada@Example.ORG"


@pytest.mark.parametrize("domain", ["é..example", "\u200d.example", "é" * 64 + ".example", "a\u2024é.example", "-é.x"])
def test_what_can_be_no_host_is_no_domain(domain: str) -> None:
    assert ascii_host(domain) is None
    with pytest.raises(InvalidInput, match="domain"):
        require_email(f"a@{domain}")


@given(st.text(st.characters(min_codepoint=0x80), min_size=1, max_size=8))
def test_no_name_turns_into_more_than_a_host(label: str) -> None:
    """A slash, an `@` or a colon that a mapping brought would move what stands behind it."""
    found = ascii_host(f"{label}.example")
    assert found is None or (found.isascii() and set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-."))
