"""Run one operation: authenticate -> authorise -> size limit -> parse -> handle -> reply. Adapters only convert."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from kavach_core.api import problems
from kavach_core.api.edge import Edge
from kavach_core.api.models import EmptyIn, Query
from kavach_core.api.operation import Call, Caller, Operation, Reply
from kavach_core.api.origin import is_browser
from kavach_core.api.view import View
from kavach_core.errors import (
    CallerNotAllowed,
    InvalidInput,
    KavachError,
    MethodNotAllowed,
    NotFound,
    ScopeMissing,
    UnsupportedMediaType,
)
from kavach_core.primitives.page import Page
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity, Identity, ServiceIdentity

_MOST_QUERY_PARTS: Final = 50
#: The alternatives of a union, as pydantic puts them into the place of an error.
_BRANCHES: Final = frozenset({"str", "int", "dict[str,any]"})
#: How it begins to say what a value should have been.
_INPUT: Final = "Input should be "


async def run(edge: Edge, operation: Operation, view: View) -> Reply:
    """Answer one call of an operation. Never raises: every failure is an answer with the error body."""
    try:
        return await _run(edge, operation, view)
    except Exception as error:
        return problems.to_reply(error)


def run_unknown(table: Sequence[Operation], path: str) -> Reply:
    """Answer what no row of the table is for: 405 where the path below the mount has other methods, else 404."""
    allowed = {operation.method for operation in table if matches(operation.path, path)}
    if "GET" in allowed:
        allowed.add("HEAD")
    error: KavachError = MethodNotAllowed(tuple(sorted(allowed))) if allowed else NotFound("There is nothing here.")
    return problems.to_reply(error)


def matches(template: str, path: str) -> bool:
    """Whether a path below the mount is one of a template such as `/agents/{id}`."""
    wanted, given = template.split("/"), path.split("/")
    return len(wanted) == len(given) and all(
        part == piece or (part.startswith("{") and piece != "") for part, piece in zip(wanted, given, strict=True)
    )


async def _run(edge: Edge, operation: Operation, view: View) -> Reply:
    identity = await _authenticate(edge, operation, view)
    query_model, body_model = _models(operation, view, identity)
    raw = b"" if body_model is None or view.read is None else await view.read(operation.limit)
    if raw or _declares_body(view):
        _check_media_type(view, identity)
    call = Call(
        kavach=await edge.get_kavach(),
        edge=edge,
        view=view,
        identity=identity,
        query=None if query_model is None else _parse_query(query_model, view.query),
        body=None if body_model is None else _parse_body(operation, body_model, raw),
    )
    return _to_reply(operation, await operation.handler(call))


def _models(
    operation: Operation, view: View, identity: Identity | None
) -> tuple[type[BaseModel] | None, type[BaseModel] | None]:
    """What query and body have to be. Where an operation takes none, what is said there is refused and not ignored.

    Pages for anyone have readers and caches that add to an address, and a body that comes with a GET means nothing.
    """
    query, body = operation.query, operation.body
    if identity is not None or view.is_unsafe:
        query = query or Query
    if view.is_unsafe:
        body = body or EmptyIn
    return query, body


async def _authenticate(edge: Edge, operation: Operation, view: View) -> Identity | None:
    if Caller.ANYONE in operation.callers:
        edge.check_anonymous(view)
        return None
    if Caller.RECOVERING in operation.callers:
        recovering = await edge.recovering(view)
        if recovering is not None:
            edge.check_origin(view, recovering)
            return recovering
    identity = await edge.require_identity(view)
    if _kind(identity) not in operation.callers:
        raise CallerNotAllowed("This operation is not for this kind of caller.")
    if isinstance(identity, ServiceIdentity):
        _check_scope(operation, identity)
    return identity


def _check_scope(operation: Operation, identity: ServiceIdentity) -> None:
    scope, in_part = operation.scope, operation.scope_in_part
    if scope is None or identity.has_scope(scope) or (in_part is not None and identity.has_scope(in_part)):
        return
    raise ScopeMissing(scope)


def _kind(identity: Identity) -> Caller:
    match identity:
        case HumanIdentity():
            return Caller.HUMAN
        case AgentIdentity():
            return Caller.AGENT
        case ServiceIdentity():
            return Caller.SERVICE


def _check_media_type(view: View, identity: Identity | None) -> None:
    """A human without `Authorization`, and any browser, sends JSON: a form or text/plain may cross sites unasked.

    Raises `UnsupportedMediaType`.
    """
    if not view.is_unsafe or not (is_browser(view) if identity is None else _is_led(identity)):
        return
    media_type = (view.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("A body is sent as application/json.")


def _is_led(identity: Identity) -> bool:
    return isinstance(identity, HumanIdentity) and not identity.by_header


def _declares_body(view: View) -> bool:
    return view.header("content-length") not in (None, "0") or view.header("transfer-encoding") is not None


def _parse_body(operation: Operation, model: type[BaseModel], raw: bytes) -> BaseModel:
    if not raw and (operation.body_optional or operation.body is None):
        return _validate(model, {})
    return _validate(model, _parse_json(raw))


def _parse_json(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise InvalidInput("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise InvalidInput("The body is a JSON object.")
    return cast("dict[str, Any]", value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ: of two with one name, who checks and who acts might each take another."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is given twice")
    return fields


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _parse_query(model: type[BaseModel], query: str) -> BaseModel:
    try:
        parts = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_QUERY_PARTS)
    except ValueError:
        raise InvalidInput("The query cannot be read.") from None
    values = dict(parts)
    if len(values) != len(parts):
        raise InvalidInput("A query parameter is given twice.")
    return _validate(model, values)


def _validate(model: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        place = _place(found[0]["loc"])
        messages = [_in_words(each["msg"]) for each in found if _place(each["loc"]) == place]
        text = " or ".join([messages[0], *(message.removeprefix(_INPUT) for message in messages[1:])])
        raise InvalidInput(text if text.endswith(".") else f"{text}.", field=place or None) from None


def _place(loc: tuple[int | str, ...]) -> str:
    """Where something is wrong, as `permissions[0].actions`, without the alternative that was tried."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc if part not in _BRANCHES]
    return "".join(parts).removeprefix(".")


def _in_words(message: str) -> str:
    """What pydantic found, without its own names for things."""
    return re.sub(r" or instance of \w+", "", message.removeprefix("Value error, ").replace("dictionary", "object"))


def _to_reply(operation: Operation, result: object) -> Reply:
    if isinstance(result, Reply):
        return result
    if result is None:
        return Reply(status=204)
    if isinstance(result, list):
        items = cast("list[object]", result)
        result = Page(items, len(items))
    if isinstance(result, Page):
        page = cast("Page[object]", result)
        body = b"[" + b",".join(map(_to_json, page)) + b"]"
        return Reply(status=operation.status, body=body, headers=((b"x-total-count", page.total_text.encode()),))
    return Reply(status=operation.status, body=_to_json(result))


def _to_json(result: object) -> bytes:
    if isinstance(result, BaseModel):
        # Not pydantic's own JSON: metadata may hold a lone surrogate, which only an escape can carry.
        result = result.model_dump(by_alias=True)
    return json.dumps(result, separators=(",", ":")).encode()
