"""Operations on passkeys: signing up and in with one, proving once more who one is, and one's own passkeys."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from pydantic import ConfigDict

from kavach_core.api.cookies import browser_cookie, session_cookie
from kavach_core.api.credentials import bearer_of
from kavach_core.api.mail import offer_proof
from kavach_core.api.models import In, Out, write_time
from kavach_core.api.operation import Call, Caller, Operation, Reply
from kavach_core.api.signed_in import (
    SessionOut,
    SignedInOut,
    UserOut,
    human_of,
    new_token,
    own_session_id,
    reply,
    signed_in,
)
from kavach_core.capabilities.passkeys import Options, Passkey, Passkeys
from kavach_core.capabilities.sessions import Session
from kavach_core.errors import InvalidInput
from kavach_core.primitives.browser import Browser
from kavach_core.primitives.permissions import find_address

_ANYONE = frozenset({Caller.ANYONE})
_HUMAN = frozenset({Caller.HUMAN})
_HUMAN_OR_RECOVERING = frozenset({Caller.HUMAN, Caller.RECOVERING})


class BeginRegistrationIn(In):
    """Who signs up; nobody needs an address."""

    email: str | None = None
    display_name: str | None = None


class BeginIn(In):
    """Nothing: the session, if it needs one, says it all."""


class CredentialIn(In):
    """What the browser made, as its `toJSON` gives it. What is in it is read where it is verified."""

    model_config = ConfigDict(extra="allow")

    id: str
    raw_id: str
    type: str
    response: dict[str, Any]

    @property
    def credential(self) -> dict[str, object]:
        """The parts that are looked at."""
        return {"id": self.id, "rawId": self.raw_id, "type": self.type, "response": self.response}


class RenamePasskeyIn(In):
    """Another name."""

    name: str


class OptionsOut(Out):
    """What to hand to the browser: the argument of its `parseCreationOptionsFromJSON`, or of the one for requests."""

    model_config = ConfigDict(extra="allow")

    challenge: str


class PasskeyOut(Out):
    """A passkey."""

    id: str
    name: str
    credential_id: str
    created_at: str
    last_used_at: str | None
    device_type: str
    backed_up: bool
    transports: list[str]
    disabled_at: str | None

    @classmethod
    def of(cls, passkey: Passkey) -> PasskeyOut:
        """The wire form of a passkey."""
        return cls(
            id=passkey.id,
            name=passkey.name,
            credential_id=passkey.credential_id,
            created_at=write_time(passkey.created_at) or "",
            last_used_at=write_time(passkey.last_used_at),
            device_type=passkey.device_type.value,
            backed_up=passkey.backed_up,
            transports=list(passkey.transports),
            disabled_at=write_time(passkey.disabled_at),
        )


class AddedPasskeyOut(PasskeyOut):
    """A passkey that was added. Who was recovering is signed in by it: here are their user and new session."""

    user: UserOut | None = None
    session: SessionOut | None = None


async def _begin_registration(call: Call) -> Reply:
    body: BeginRegistrationIn = call.body
    browser = _browser(call)
    options = await _passkeys(call).begin_registration(
        email=body.email, display_name=body.display_name, browser=browser, address=_address(call)
    )
    return _ask(call, browser, options)


async def _finish_registration(call: Call) -> Reply:
    body: CredentialIn = call.body
    context = call.edge.context(call.view)
    session = await _passkeys(call).finish_registration(
        body.credential, browser=_browser(call), address=context.ip, user_agent=context.user_agent
    )
    await offer_proof(call, session.user_id)
    return await signed_in(call, session, status=201)


async def _begin_authentication(call: Call) -> Reply:
    browser = _browser(call)
    return _ask(call, browser, await _passkeys(call).begin_authentication(browser=browser, address=_address(call)))


async def _finish_authentication(call: Call) -> Reply:
    body: CredentialIn = call.body
    context = call.edge.context(call.view)
    session = await _passkeys(call).finish_authentication(
        body.credential, browser=_browser(call), address=context.ip, user_agent=context.user_agent
    )
    return await signed_in(call, session)


async def _begin_verification(call: Call) -> Reply:
    browser, session = _browser(call), await _session(call)
    options = await _passkeys(call).begin_verification(session=session, browser=browser, address=_address(call))
    return _ask(call, browser, options)


async def _finish_verification(call: Call) -> SessionOut:
    body: CredentialIn = call.body
    browser, session = _browser(call), await _session(call)
    fresh = await _passkeys(call).finish_verification(body.credential, session=session, browser=browser)
    return SessionOut.of(fresh, bearer_of(call.view) or "", await call.kavach.users.find(fresh.user_id))


async def _begin_addition(call: Call) -> Reply:
    browser, session = _browser(call), await _session(call)
    options = await _passkeys(call).begin_addition(session=session, browser=browser, address=_address(call))
    return _ask(call, browser, options)


async def _finish_addition(call: Call) -> PasskeyOut | Reply:
    body: CredentialIn = call.body
    browser, session, context = _browser(call), await _session(call), call.edge.context(call.view)
    added = await _passkeys(call).finish_addition(
        body.credential, session=session, browser=browser, address=context.ip, user_agent=context.user_agent
    )
    passkey = PasskeyOut.of(added.passkey)
    if added.session is None:
        return passkey
    user = await call.kavach.users.get(added.session.user_id)
    out = AddedPasskeyOut(
        **passkey.model_dump(),
        user=UserOut.of(user),
        session=SessionOut.of(added.session, new_token(call, added.session), user),
    )
    return reply(out, status=201, headers=(session_cookie(call.edge.config, added.session),))


async def _list(call: Call) -> list[PasskeyOut]:
    return [PasskeyOut.of(passkey) for passkey in await _passkeys(call).list(human_of(call).id)]


async def _rename(call: Call) -> PasskeyOut:
    body: RenamePasskeyIn = call.body
    return PasskeyOut.of(await _passkeys(call).rename(call.param("id"), body.name, user_id=human_of(call).id))


async def _delete(call: Call) -> None:
    await _passkeys(call).delete(call.param("id"), session=await _session(call))


def _passkeys(call: Call) -> Passkeys:
    return call.kavach.auth.passkey


def _browser(call: Call) -> Browser:
    return call.edge.browser(call.view)


async def _session(call: Call) -> Session:
    return await call.kavach.sessions.get(own_session_id(call))


def _address(call: Call) -> str | None:
    """Where a ceremony is begun from. Raises `InvalidInput` for a page on an address, which browsers refuse anyway."""
    for origin in call.view.all("origin"):
        if call.edge.config.allows_origin(origin) and find_address(urlsplit(origin).hostname) is not None:
            raise InvalidInput("Browsers make no passkeys for an address: open this page on localhost instead.")
    return call.edge.context(call.view).ip


def _ask(call: Call, browser: Browser, options: Options) -> Reply:
    """The options, and for a new browser the name by which it is known again when it answers."""
    return Reply(status=200, body=json.dumps(options).encode(), headers=browser_cookie(call.edge.config, browser))


OPERATIONS = (
    Operation(
        name="beginPasskeyRegistration",
        method="POST",
        path="/passkey/register/begin",
        callers=_ANYONE,
        summary="Ask for the first passkey of a new account",
        tag="passkeys",
        body=BeginRegistrationIn,
        body_optional=True,
        output=OptionsOut,
        handler=_begin_registration,
    ),
    Operation(
        name="finishPasskeyRegistration",
        method="POST",
        path="/passkey/register/finish",
        callers=_ANYONE,
        summary="Make the account with its passkey, and sign in to it",
        tag="passkeys",
        body=CredentialIn,
        output=SignedInOut,
        status=201,
        handler=_finish_registration,
    ),
    Operation(
        name="beginPasskeySignIn",
        method="POST",
        path="/passkey/sign-in/begin",
        callers=_ANYONE,
        summary="Ask for any passkey of this site",
        tag="passkeys",
        body=BeginIn,
        body_optional=True,
        output=OptionsOut,
        handler=_begin_authentication,
    ),
    Operation(
        name="finishPasskeySignIn",
        method="POST",
        path="/passkey/sign-in/finish",
        callers=_ANYONE,
        summary="Sign in with a passkey",
        tag="passkeys",
        body=CredentialIn,
        output=SignedInOut,
        handler=_finish_authentication,
    ),
    Operation(
        name="beginPasskeyVerification",
        method="POST",
        path="/passkey/verify/begin",
        callers=_HUMAN,
        summary="Ask a signed-in human for one of their passkeys",
        tag="passkeys",
        body=BeginIn,
        body_optional=True,
        output=OptionsOut,
        handler=_begin_verification,
    ),
    Operation(
        name="finishPasskeyVerification",
        method="POST",
        path="/passkey/verify/finish",
        callers=_HUMAN,
        summary="Make the session fresh again",
        tag="passkeys",
        body=CredentialIn,
        output=SessionOut,
        handler=_finish_verification,
    ),
    Operation(
        name="listPasskeys",
        method="GET",
        path="/passkeys",
        callers=_HUMAN_OR_RECOVERING,
        summary="List one's own passkeys",
        tag="passkeys",
        output=PasskeyOut,
        output_is_list=True,
        handler=_list,
    ),
    Operation(
        name="beginPasskeyAddition",
        method="POST",
        path="/passkeys/begin",
        callers=_HUMAN_OR_RECOVERING,
        summary="Ask for another passkey; needs a fresh session",
        tag="passkeys",
        body=BeginIn,
        body_optional=True,
        output=OptionsOut,
        handler=_begin_addition,
    ),
    Operation(
        name="finishPasskeyAddition",
        method="POST",
        path="/passkeys/finish",
        callers=_HUMAN_OR_RECOVERING,
        summary="Add the passkey; it signs in who was recovering",
        tag="passkeys",
        body=CredentialIn,
        output=AddedPasskeyOut,
        status=201,
        handler=_finish_addition,
    ),
    Operation(
        name="renamePasskey",
        method="PATCH",
        path="/passkeys/{id}",
        callers=_HUMAN,
        summary="Give one of one's own passkeys another name",
        tag="passkeys",
        body=RenamePasskeyIn,
        output=PasskeyOut,
        handler=_rename,
    ),
    Operation(
        name="deletePasskey",
        method="DELETE",
        path="/passkeys/{id}",
        callers=_HUMAN,
        summary="Delete one of one's own passkeys; needs a fresh session",
        tag="passkeys",
        status=204,
        handler=_delete,
    ),
)
