"""The pages and their assets, and what the account page asks beyond the rooms' own operations.

A page is the same for everyone but for a few settings: whatever belongs to a person is fetched by its script.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, quote

from kavach_core.api.models import PermissionOut
from kavach_core.api.operation import Call, Caller, Handler, Operation, Reply
from kavach_core.config import Config
from kavach_core.errors import CallerNotAllowed, OwnerSuspended, Unauthenticated
from kavach_core.pages.assets import NAMES, assets
from kavach_core.pages.interstitial import interstitial
from kavach_core.pages.policy import HTML, Headers, asset_headers, page_headers
from kavach_core.pages.render import render
from kavach_core.primitives.paths import is_safe_next
from kavach_core.primitives.principal import HumanIdentity

_ANYONE: Final = frozenset({Caller.ANYONE})


async def _sign_in(call: Call) -> Reply:
    human = await _human(call)
    return _page(call, "sign-in.html", next=_next_of(call), is_signed_in=human is not None)


async def _account(call: Call) -> Reply:
    human = await _human(call)
    if human is not None:
        return _page(call, "account.html", human_id=human.id, has_session=human.session_id is not None)
    again = interstitial(call.view, call.edge.config.session_cookie)
    return again or _to_sign_in(call)


async def _recover(call: Call) -> Reply:
    """For whoever is in the middle of it, at the step that follows: a code works once."""
    recovering = await call.edge.recovering(call.view)
    return _page(call, "recover.html", page_headers(url_is_secret=True), is_recovering=recovering is not None)


async def _verify_email(call: Call) -> Reply:
    return _page(call, "verify-email.html", page_headers(url_is_secret=True))


async def _grantable(call: Call) -> list[PermissionOut]:
    """Nothing where the app lets its humans give nothing: to ask is no mistake."""
    return PermissionOut.of(tuple(await call.edge.widening_for(call.identity)))


async def _human(call: Call) -> HumanIdentity | None:
    """Who opens the page; nobody if that cannot be a signed-in human. Raises `CallerNotAllowed` for a program."""
    try:
        identity = await call.edge.identify(call.view)
    except (Unauthenticated, OwnerSuspended):
        return None
    if identity is None or isinstance(identity, HumanIdentity):
        return identity
    raise CallerNotAllowed("This page is for a human.")


def _next_of(call: Call) -> str:
    """Where signing in leads: to `next` if that stays on this origin, else to the account page beside this one."""
    asked = parse_qs(call.view.query, keep_blank_values=True).get("next", [])
    return asked[0] if len(asked) == 1 and is_safe_next(asked[0]) else "account"


def _to_sign_in(call: Call) -> Reply:
    """To the sign-in page beside this one, wherever proxies put the two."""
    back = call.view.way_back
    location = "sign-in" if back is None else f"sign-in?next={quote(back, safe='')}"
    return Reply(status=303, headers=((b"location", location.encode("ascii")),))


def _page(call: Call, template: str, headers: Headers | None = None, **values: object) -> Reply:
    body = render(template, **_settings(call.edge.config), **values)
    return Reply(status=200, body=body, content_type=HTML, headers=page_headers() if headers is None else headers)


def _settings(config: Config) -> dict[str, object]:
    return {
        "app": config.rp_name,
        "theme": config.theme,
        "sign_up": config.sign_up,
        "passwords": config.passwords,
        "verify_email": config.verify_email,
        "mails": config.send_email is not None,
    }


def _serve(name: str) -> Handler:
    async def handler(call: Call) -> Reply:
        asset = assets()[name]
        headers = asset_headers(asset.etag, is_versioned=call.view.query == f"v={asset.version}")
        if _knows(call, asset.etag):
            return Reply(status=304, headers=headers)
        return Reply(status=200, body=asset.body, content_type=asset.content_type, headers=headers)

    return handler


def _knows(call: Call, etag: str) -> bool:
    """Whether the browser has this already (RFC 9110, section 13.1.2)."""
    named = [part.strip().removeprefix("W/") for line in call.view.all("if-none-match") for part in line.split(",")]
    return etag in named or named == ["*"]


def _operation(name: str, path: str, summary: str, handler: Handler) -> Operation:
    return Operation(name=name, method="GET", path=path, callers=_ANYONE, summary=summary, tag="pages", handler=handler)


def _asset_operation(name: str) -> Operation:
    parts = name.replace("-", ".").split(".")
    called = "asset" + "".join(part.capitalize() for part in parts)
    return _operation(called, f"/{name}", f"The file {name}; for ever under its version `?v=`", _serve(name))


OPERATIONS = (
    _operation("signInPage", "/sign-in", "The page to sign in on", _sign_in),
    _operation("accountPage", "/account", "The page of one's passkeys, sessions and agents", _account),
    _operation("recoverPage", "/recover", "The page to get back in on", _recover),
    _operation("verifyEmailPage", "/verify-email", "The page that a mail leads to", _verify_email),
    *(_asset_operation(name) for name in NAMES),
    Operation(
        name="grantable",
        method="GET",
        path="/grantable",
        callers=frozenset({Caller.HUMAN}),
        summary="List what one may give to one's agents",
        tag="agents",
        output=PermissionOut,
        output_is_list=True,
        handler=_grantable,
    ),
)
