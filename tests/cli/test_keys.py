"""`kavach keys`: secrets are shown once, alone, and what was ended stays so."""

from __future__ import annotations

import json

import pytest

from kavach_core import ServiceIdentity
from tests.cli.support import Command


def test_a_new_key_is_alone_on_stdout_and_holds(everywhere: Command) -> None:
    """Also the first thing ever done with a database: there is none before."""
    secret = everywhere.out("keys", "create", "--name", "ci", "--scope", "agents:read", "--scope", "authorize").strip()
    identity = everywhere.inside(lambda kavach: kavach.keys.verify(secret))
    assert isinstance(identity, ServiceIdentity)
    assert identity.scopes == {"agents:read", "authorize"}


def test_a_secret_is_never_shown_again(kavach: Command) -> None:
    secret = kavach.out("keys", "create", "--name", "ci", "--scope", "*").strip()
    assert secret not in kavach.out("keys", "list")
    assert secret not in kavach.out("keys", "list", "--json")


def test_a_key_carries_what_it_was_made_with(kavach: Command) -> None:
    limited = {"resource": "mcp:*", "actions": ["call"], "constraints": {"maxCallsPerHour": 5}}
    options = ["--name", "ci", "--scope", "*", "--grant", "read:repos", "--grant", json.dumps(limited)]
    secret = kavach.out("keys", "create", *options, "--test", "--expires-in", "30d")
    assert secret.startswith("kv_test_")
    (key,) = kavach.json("keys", "list")
    assert key["test"] is True
    assert key["status"] == "active"
    assert key["expiresAt"] > key["createdAt"]
    assert key["grantable"] == [limited, {"resource": "repos", "actions": ["read"]}]


def test_rotating_ends_the_old_secret_and_revoking_both(kavach: Command) -> None:
    old = kavach.out("keys", "create", "--name", "ci", "--scope", "*").strip()
    (key,) = kavach.json("keys", "list")
    new = kavach.out("keys", "rotate", key["id"]).strip()
    assert not kavach.inside(lambda inner: inner.keys.verify(old))
    assert kavach.inside(lambda inner: inner.keys.verify(new))
    kavach.out("keys", "revoke", key["id"])
    assert not kavach.inside(lambda inner: inner.keys.verify(new))
    assert kavach.json("keys", "list")[0]["status"] == "revoked"
    assert kavach.refusal("keys", "rotate", key["id"]).startswith("FINAL_STATE: ")


@pytest.mark.parametrize(
    "options",
    [
        ("--scope", "everything"),
        ("--scope", "*", "--grant", "repos"),
        ("--scope", "*", "--grant", "{not json"),
        ("--scope", "*", "--expires-in", "soon"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(kavach: Command, options: tuple[str, ...]) -> None:
    assert kavach.refusal("keys", "create", "--name", "ci", *options).startswith("INVALID_INPUT: ")
