"""The permission a route requires: `"action:resource"`, in which `{name}` stands for a part of the path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from kavach_core.errors import InvalidInput
from kavach_core.primitives.permissions import AccessRequest


@lru_cache(maxsize=1024)
def split_permission(permission: str) -> tuple[str, str]:
    """The action and resource of `"action:resource"`. Raises `InvalidInput`."""
    action, _, resource = permission.partition(":")
    request = AccessRequest.of(action=action, resource=resource)
    return request.action, request.resource


def fill(resource: str, params: Mapping[str, str]) -> str:
    """The resource with each segment `{name}` replaced by that part of the path, which must be one exact segment.

    Raises `InvalidInput` for a part that is more than one segment or a wildcard, and KeyError for a name that the path
    does not have.
    """
    if "{" not in resource:
        return resource
    return ":".join(_filled(segment, params) for segment in resource.split(":"))


def _filled(segment: str, params: Mapping[str, str]) -> str:
    if not (segment.startswith("{") and segment.endswith("}")):
        return segment
    name = segment[1:-1]
    value = params[name]
    if ":" in value or "*" in value:
        raise InvalidInput("This part of the path cannot name a resource.", field=name)
    return value
