"""Cookies that `@auth/core` and `next-auth` made (fixtures/authjs.json) name their user; anything else is nobody."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from joserfc import jwe
from joserfc.jwk import OctKey

from kavach_core.api.hooks import ChecksConfig
from kavach_core.resolvers import View, authjs
from kavach_core.resolvers.authjs import derived
from tests.resolvers.support import and_header, config, recorded, view

MADE = recorded("authjs")
SECRET, OLDER = MADE["secret"], MADE["olderSecret"]
SECURE = "__Secure-authjs.session-token"
MONTH = 30 * 86400
KEY = OctKey.import_key(derived(SECRET, SECURE, f"Auth.js Generated Encryption Key ({SECURE})", 64))


def resolver(*, base_url: str | None = None, at: float = MADE["at"], **options: Any) -> ChecksConfig:
    resolve = authjs(**{"secret": SECRET, "now": lambda: at, **options})
    resolve.check_config(config(base_url))
    return resolve


def session(name: str) -> list[tuple[str, str]]:
    """The cookies of a recorded sign-in."""
    return list(MADE["cases"][name].items())


@pytest.mark.parametrize("name", ["http", "https", "chunked"])
async def test_a_session_of_authjs_names_its_user(name: str) -> None:
    assert await resolver()(view(*session(name))) == "user_alice"


async def test_a_session_of_next_auth_4_names_its_user_where_that_is_asked_for() -> None:
    assert await resolver(version=4)(view(*session("nextAuth4"))) == "user_alice"
    assert await resolver()(view(*session("nextAuth4"))) is None
    assert await resolver(version=4)(view(*session("https"))) is None


async def test_several_secrets_open_what_was_made_before_they_changed() -> None:
    assert await resolver(secret=[SECRET, OLDER])(view(*session("older"))) == "user_alice"
    assert await resolver(secret=[SECRET, OLDER])(view(*session("https"))) == "user_alice"
    assert await resolver()(view(*session("older"))) is None


async def test_on_https_only_the_secure_cookie_counts() -> None:
    """The other one can be set by a page without https, from anywhere in between."""
    resolve = resolver(base_url="https://app.example")
    assert await resolve(view(*session("https"))) == "user_alice"
    assert await resolve(view(*session("http"))) is None


async def test_a_session_ends() -> None:
    for at, user in ((MADE["at"] + MONTH, "user_alice"), (MADE["at"] + MONTH + 16, None)):
        assert await resolver(at=at)(view(*session("https"))) == user


async def test_a_cookie_under_another_name_is_another_key() -> None:
    """The name of the cookie is the salt, so a cookie is no good under any other."""
    ((_, value),) = session("https")
    assert await resolver()(view(("authjs.session-token", value))) is None
    assert await resolver(cookie="other")(view(("other", value))) is None


async def test_a_tampered_cookie_is_nobody() -> None:
    ((name, value),) = session("https")
    parts = value.split(".")
    assert len(parts) == 5 and parts[1] == ""
    for place in (0, 2, 3, 4):
        changed = [*parts[:place], ("A" if parts[place][0] != "A" else "B") + parts[place][1:], *parts[place + 1 :]]
        assert await resolver()(view((name, ".".join(changed)))) is None
    for text in ("", "x", "....", value[:-3], f"{value}.x", "x" * 70_000):
        assert await resolver()(view((name, text))) is None


async def test_chunks_are_put_together_by_their_number() -> None:
    chunks = session("chunked")
    assert len(chunks) == 3
    for order in itertools.permutations(chunks):
        assert await resolver()(view(*order)) == "user_alice"
    values = [value for _, value in chunks]
    swapped = [(f"{SECURE}.{number}", value) for number, value in enumerate([values[1], values[0], values[2]])]
    assert await resolver()(view(*swapped)) is None


async def test_a_chunk_that_is_missing_or_there_twice_makes_no_session() -> None:
    chunks = session("chunked")
    for number in range(3):
        assert await resolver()(view(*(chunks[:number] + chunks[number + 1 :]))) is None
        name, _ = chunks[number]
        assert await resolver()(view(*chunks, (name, "tossed"))) is None
        assert await resolver()(view((name, "tossed"), *chunks)) is None
    assert await resolver()(view(*chunks, (f"{SECURE}.3", "tossed"))) is None
    assert await resolver()(view(*[(f"{SECURE}.{number}", "x") for number in range(40)])) is None


async def test_of_two_sessions_nobody_can_tell_whose_is_whose() -> None:
    mine, hers = session("https"), session("another")
    assert await resolver()(view(*hers)) == "user_mallory"
    assert await resolver()(view(*mine, *hers)) is None
    assert await resolver()(view(*mine, (SECURE, "garbage"))) == "user_alice"
    assert await resolver()(view(*session("chunked"), *hers)) is None


async def test_an_authorization_header_decides_alone() -> None:
    for before in (view(*session("https"), bearer="x"), and_header(view(*session("https")), "authorization", "")):
        assert await resolver()(before) is None


async def test_only_the_method_of_the_version_is_accepted() -> None:
    """Whoever writes the header must not choose how it is opened."""
    claims = b'{"sub":"user_alice","exp":99999999999}'
    good = jwe.encrypt_compact({"alg": "dir", "enc": "A256CBC-HS512"}, claims, KEY)
    assert await resolver()(view((SECURE, good))) == "user_alice"
    squeezed = jwe.encrypt_compact(
        {"alg": "dir", "enc": "A256CBC-HS512", "zip": "DEF"}, claims, KEY, ["dir", "A256CBC-HS512", "DEF"]
    )
    assert await resolver()(view((SECURE, squeezed))) is None


async def test_a_session_without_end_or_user_is_nobody() -> None:
    for claims in (b'{"sub":"user_alice"}', b'{"exp":99999999999}', b'{"sub":1,"exp":99999999999}', b"[]", b"x"):
        made = jwe.encrypt_compact({"alg": "dir", "enc": "A256CBC-HS512"}, claims, KEY)
        assert await resolver()(view((SECURE, made))) is None, claims


async def test_cookies_may_come_in_several_headers() -> None:
    """HTTP/2 lets a browser split them (RFC 9113, section 8.2.3)."""
    first, *others = session("chunked")
    request: View = view(first)
    for name, value in others:
        request = and_header(request, "cookie", f"{name}={value}")
    assert await resolver()(request) == "user_alice"
