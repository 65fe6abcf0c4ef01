"""`kavach keys`: API keys, the first one included. A secret is printed once, alone on stdout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from kavach_core.cli.opening import Target
from kavach_core.cli.options import AsJson, Database, KeyId, PgBouncer, Project
from kavach_core.cli.output import moment, note, optional_iso, show, show_json, state, table
from kavach_core.cli.times import ahead
from kavach_core.errors import InvalidInput
from kavach_core.primitives.clock import system_clock, to_datetime

if TYPE_CHECKING:
    from kavach_core.capabilities.keys import ApiKey
    from kavach_core.primitives.permissions import PermissionLike

app = typer.Typer(help="API keys for services and scripts.", no_args_is_help=True)

_Name = Annotated[str, typer.Option("--name", help="What it is for.")]
_Scopes = Annotated[
    list[str], typer.Option("--scope", help="What it may be used for, such as agents:read, or *; repeat for more.")
]
_Grants = Annotated[
    list[str] | None,
    typer.Option("--grant", help="A permission it may give, action:resource or a JSON object; repeat for more."),
]
_Test = Annotated[bool, typer.Option("--test", help="A kv_test_ key, refused where the app is reached over https.")]
_ExpiresIn = Annotated[str | None, typer.Option("--expires-in", metavar="DURATION", help='Such as "90d".')]


@app.command("create")
def create(
    name: _Name,
    scope: _Scopes,
    grant: _Grants = None,
    test: _Test = False,
    expires_in: _ExpiresIn = None,
    database: Database = None,
    project: Project = "default",
    pgbouncer: PgBouncer = False,
) -> None:
    """Make a key and print its secret, this once. Makes the database if there is none yet."""
    grantable = [_permission(text) for text in grant or ()]
    expires_at = ahead(expires_in, field="--expires-in")
    target = Target(database, project, pgbouncer)
    made = target.run(
        lambda kavach: kavach.keys.create(
            name=name, scopes=scope, grantable=grantable, test=test, expires_at=expires_at
        ),
        migrating=True,
    )
    _print_secret(made, "Made")


@app.command("list")
def list_(
    as_json: AsJson = False, database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False
) -> None:
    """List all keys, newest first, without their secrets."""
    found = Target(database, project, pgbouncer).run(lambda kavach: kavach.keys.list())
    if as_json:
        show_json([_to_json(key) for key in found])
        return
    rows = [
        (key.id, key.name, f"...{key.hint}", " ".join(sorted(key.scopes)), state(_status(key)), moment(key.expires_at))
        for key in found
    ]
    show(table("id", "name", "key", "scopes", "status", "expires", rows=rows))


@app.command("rotate")
def rotate(
    key_id: KeyId, database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False
) -> None:
    """Give a key a new secret and print it, this once. The old one is dead at once."""
    _print_secret(Target(database, project, pgbouncer).run(lambda kavach: kavach.keys.rotate(key_id)), "Rotated")


@app.command("revoke")
def revoke(
    key_id: KeyId, database: Database = None, project: Project = "default", pgbouncer: PgBouncer = False
) -> None:
    """End a key for good."""
    Target(database, project, pgbouncer).run(lambda kavach: kavach.keys.revoke(key_id))
    typer.echo(f"Revoked {key_id}.")


def _print_secret(key: ApiKey, verb: str) -> None:
    note(f"{verb} {key.id} ({key.name}). This is the only time the key is shown:")
    typer.echo(key.key)


def _permission(text: str) -> PermissionLike:
    """A permission as typed: `action:resource`, or the JSON object that also carries constraints."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        value: dict[str, object] = json.loads(text)
    except ValueError:
        raise InvalidInput("--grant is action:resource or a JSON object.", field="grantable") from None
    return value


def _status(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    now = to_datetime(system_clock())
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _to_json(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "test": key.test,
        "status": _status(key),
        "scopes": sorted(key.scopes),
        "grantable": [permission.to_wire() for permission in key.grantable],
        "createdAt": optional_iso(key.created_at),
        "rotatedAt": optional_iso(key.rotated_at),
        "expiresAt": optional_iso(key.expires_at),
        "revokedAt": optional_iso(key.revoked_at),
    }
