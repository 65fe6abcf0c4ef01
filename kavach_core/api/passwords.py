"""Operations on e-mail and password. They are not there (404) unless the app set `passwords=True`."""

from __future__ import annotations

from kavach_core.api.mail import mail, offer_proof
from kavach_core.api.models import In, Out
from kavach_core.api.operation import Call, Caller, Operation, Reply
from kavach_core.api.signed_in import SignedInOut, own_session_id, reply, signed_in

_ANYONE = frozenset({Caller.ANYONE})
_HUMAN = frozenset({Caller.HUMAN})


class SignUpIn(In):
    """A wish for an account."""

    email: str
    password: str
    name: str | None = None


class SignInIn(In):
    """Who signs in."""

    email: str
    password: str


class ConfirmSignUpIn(In):
    """What the link of the mail carried, and the password once more."""

    token: str
    password: str


class PasswordIn(In):
    """A new password."""

    password: str


class MailedOut(Out):
    """A mail is under way, if there was one to send."""

    mailed: bool = True


async def _sign_up(call: Call) -> Reply:
    body: SignUpIn = call.body
    passwords, context = call.kavach.auth.password, call.edge.context(call.view)
    if not call.edge.config.verify_email:
        browser = call.edge.browser(call.view)
        session = await passwords.sign_up(
            body.email,
            body.password,
            name=body.name,
            browser=browser,
            address=context.ip,
            user_agent=context.user_agent,
        )
        await offer_proof(call, session.user_id)
        return await signed_in(call, session, browser, status=201)
    address, token = await passwords.ask_to_sign_up(body.email, body.password, name=body.name, address=context.ip)
    if token is None:
        mail(call, address, "account_exists", "sign-in")
    else:
        mail(call, address, "verify_email", "verify-email", f"sign-up={token}")
    return reply(MailedOut(), status=202, headers=())


async def _confirm_sign_up(call: Call) -> Reply:
    body: ConfirmSignUpIn = call.body
    browser, context = call.edge.browser(call.view), call.edge.context(call.view)
    session = await call.kavach.auth.password.finish_sign_up(
        body.token, body.password, browser=browser, address=context.ip, user_agent=context.user_agent
    )
    return await signed_in(call, session, browser, status=201)


async def _sign_in(call: Call) -> Reply:
    body: SignInIn = call.body
    browser, context = call.edge.browser(call.view), call.edge.context(call.view)
    session = await call.kavach.auth.password.sign_in(
        body.email, body.password, browser=browser, address=context.ip, user_agent=context.user_agent
    )
    return await signed_in(call, session, browser)


async def _set(call: Call) -> None:
    body: PasswordIn = call.body
    session = await call.kavach.sessions.get(own_session_id(call))
    await call.kavach.auth.password.set(session, body.password)


OPERATIONS = (
    Operation(
        name="signUpByEmail",
        method="POST",
        path="/sign-up/email",
        callers=_ANYONE,
        summary="Make an account with a password and sign in; where the app verifies addresses, 202 and a mail",
        tag="passwords",
        body=SignUpIn,
        output=SignedInOut,
        status=201,
        accepted=MailedOut,
        handler=_sign_up,
    ),
    Operation(
        name="confirmSignUp",
        method="POST",
        path="/sign-up/confirm",
        callers=_ANYONE,
        summary="Make the account whose mail was answered, and sign in to it",
        tag="passwords",
        body=ConfirmSignUpIn,
        output=SignedInOut,
        status=201,
        handler=_confirm_sign_up,
    ),
    Operation(
        name="signInByEmail",
        method="POST",
        path="/sign-in/email",
        callers=_ANYONE,
        summary="Sign in with e-mail and password",
        tag="passwords",
        body=SignInIn,
        output=SignedInOut,
        handler=_sign_in,
    ),
    Operation(
        name="setPassword",
        method="POST",
        path="/password",
        callers=_HUMAN,
        summary="Set or change one's own password and end all other sessions; needs a fresh session",
        tag="passwords",
        body=PasswordIn,
        status=204,
        handler=_set,
    ),
)
