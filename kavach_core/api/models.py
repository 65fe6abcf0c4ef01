"""What all bodies share: camelCase on the wire, nothing unknown taken in, permissions in both spellings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from kavach_core.primitives import clock
from kavach_core.primitives.permissions import Permission


class In(BaseModel):
    """A body or query. What it does not name is refused, so that a misspelt restriction is never ignored."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    #: Parts whose null is something else than leaving them out, as they are called on the wire.
    nulls: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, values: Any) -> Any:
        """What has a default takes null for it, whatever it is. What is required stays required."""
        if not isinstance(values, dict):
            return values
        optional = {field.alias for field in cls.model_fields.values() if not field.is_required()} - cls.nulls
        given = cast("dict[str, Any]", values)
        return {name: value for name, value in given.items() if value is not None or name not in optional}

    def given(self, name: str) -> bool:
        """Whether a part was sent with a value; null means not given."""
        return getattr(self, name) is not None


class EmptyIn(In):
    """No members. An operation that has nothing to be told refuses what it is told, rather than leave it out."""


class Query(BaseModel):
    """A query string: values arrive as text and are read as what they stand for."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


def _digits(value: object) -> object:
    """What int() would read and nobody writes, such as `1_0`, `5.0` or a sign, is no number."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("This must be a number, in digits")
    return value


#: A number in a query string: digits alone.
Number = Annotated[int, BeforeValidator(_digits)]


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


_PERMISSION_SCHEMA = {
    "anyOf": [
        {"type": "string", "examples": ["read:repos"], "description": "action:resource"},
        {
            "type": "object",
            "required": ["resource", "actions"],
            "properties": {
                "resource": {"type": "string", "examples": ["app:repos:*"]},
                "actions": {"type": "array", "items": {"type": "string"}},
                "constraints": {
                    "type": "object",
                    "properties": {
                        "maxCallsPerHour": {"type": "integer", "minimum": 0},
                        "allowedArgPatterns": {"type": "array", "items": {"type": "string"}},
                        "requireApproval": {"type": "boolean"},
                        "timeWindow": {
                            "type": "object",
                            "properties": {"start": {"type": "string"}, "end": {"type": "string"}},
                        },
                        "ipAllowlist": {"type": "array", "items": {"type": "string"}},
                    },
                },
            },
        },
    ]
}

#: A permission as it may be written. The grammar itself checks it, so that every way in has the same rules.
PermissionIn = Annotated[str | dict[str, Any], WithJsonSchema(_PERMISSION_SCHEMA)]


class PermissionOut(Out):
    """A permission as it is sent."""

    resource: str
    actions: list[str]
    constraints: dict[str, Any] = {}

    @classmethod
    def of(cls, permissions: Sequence[Permission]) -> list[PermissionOut]:
        """The wire form of some permissions."""
        return [
            cls.model_construct(
                resource=permission.resource,
                actions=list(permission.actions),
                constraints=permission.constraints.to_wire(),
            )
            for permission in permissions
        ]


def read_time(text: str | None, field: str) -> datetime | None:
    """The time in an ISO 8601 text, or None for none. Raises `InvalidInput`."""
    return None if text is None else clock.to_datetime(clock.parse_time(text, field=field))


def write_time(moment: datetime | None) -> str | None:
    """A time as it is sent, or null."""
    return None if moment is None else clock.iso_datetime(moment)
