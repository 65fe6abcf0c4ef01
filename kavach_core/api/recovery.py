"""Operations that lead back into an account, or prove an address. A recovery session only adds a passkey."""

from __future__ import annotations

from kavach_core.api.mail import mail, mail_proof, page_link
from kavach_core.api.models import EmptyIn, In, Out, write_time
from kavach_core.api.operation import Call, Caller, Operation, Reply
from kavach_core.api.passwords import MailedOut
from kavach_core.api.signed_in import SignedInOut, UserOut, human_of, own_session_id, signed_in
from kavach_core.capabilities.keys import Scope
from kavach_core.capabilities.sessions import Session

_ANYONE = frozenset({Caller.ANYONE})
_HUMAN = frozenset({Caller.HUMAN})


class RecoveryOut(Out):
    """Which ways back into the account are set up."""

    codes_left: int
    #: Whether a link can be mailed: the app sends mail and the address is verified.
    email_link: bool


class CodesOut(Out):
    """Ten recovery codes, shown now and never again."""

    codes: list[str]


class CodeIn(In):
    """A recovery code."""

    code: str


class AddressIn(In):
    """Where a link goes."""

    email: str


class TokenIn(In):
    """What a link carried."""

    token: str


class LinkOut(Out):
    """A link for somebody without mail. Whoever opens it first gets in: hand it over in person."""

    link: str
    expires_at: str


async def _status(call: Call) -> RecoveryOut:
    user = await call.kavach.users.get(human_of(call).id)
    left = await call.kavach.auth.recovery.codes_left(user.id)
    return RecoveryOut(codes_left=left, email_link=user.email_verified and call.edge.config.send_email is not None)


async def _issue_codes(call: Call) -> CodesOut:
    return CodesOut(codes=await call.kavach.auth.recovery.issue_codes(await _session(call)))


async def _use_code(call: Call) -> Reply:
    body: CodeIn = call.body
    context = call.edge.context(call.view)
    session = await call.kavach.auth.recovery.use_code(body.code, address=context.ip, user_agent=context.user_agent)
    return await signed_in(call, session)


async def _mail_link(call: Call) -> MailedOut:
    body: AddressIn = call.body
    call.kavach.auth.outbox.require_mailer()
    link = await call.kavach.auth.recovery.ask_for_link(body.email, address=call.edge.context(call.view).ip)
    if link is not None:
        mail(call, link.address, "recovery", "recover", f"token={link.token}")
    return MailedOut()


async def _use_link(call: Call) -> Reply:
    body: TokenIn = call.body
    context = call.edge.context(call.view)
    session = await call.kavach.auth.recovery.use_link(body.token, address=context.ip, user_agent=context.user_agent)
    return await signed_in(call, session)


async def _issue_link(call: Call) -> LinkOut:
    link = await call.kavach.auth.recovery.issue_link(call.param("id"))
    address = page_link(call, "recover", f"token={link.token}")
    return LinkOut(link=address, expires_at=write_time(link.expires_at) or "")


async def _mail_proof(call: Call) -> MailedOut:
    call.kavach.auth.outbox.require_mailer()
    await mail_proof(call, human_of(call).id)
    return MailedOut()


async def _confirm_address(call: Call) -> UserOut:
    body: TokenIn = call.body
    return UserOut.of(await call.kavach.auth.email.confirm(human_of(call).id, body.token))


async def _session(call: Call) -> Session:
    return await call.kavach.sessions.get(own_session_id(call))


OPERATIONS = (
    Operation(
        name="getRecovery",
        method="GET",
        path="/recovery",
        callers=_HUMAN,
        summary="Tell which ways back into one's own account are set up",
        tag="recovery",
        output=RecoveryOut,
        handler=_status,
    ),
    Operation(
        name="issueRecoveryCodes",
        method="POST",
        path="/recovery/codes",
        callers=_HUMAN,
        summary="Get ten recovery codes in place of older ones; needs a fresh session",
        tag="recovery",
        body=EmptyIn,
        body_optional=True,
        output=CodesOut,
        status=201,
        handler=_issue_codes,
    ),
    Operation(
        name="useRecoveryCode",
        method="POST",
        path="/recovery/use",
        callers=_ANYONE,
        summary="Use a recovery code up for a session that can add a passkey",
        tag="recovery",
        body=CodeIn,
        output=SignedInOut,
        handler=_use_code,
    ),
    Operation(
        name="mailRecoveryLink",
        method="POST",
        path="/recovery/link",
        callers=_ANYONE,
        summary="Mail a recovery link to a verified address; the answer never tells whether it was one",
        tag="recovery",
        body=AddressIn,
        output=MailedOut,
        status=202,
        handler=_mail_link,
    ),
    Operation(
        name="useRecoveryLink",
        method="POST",
        path="/recovery/link/use",
        callers=_ANYONE,
        summary="Use a recovery link up for a session that can add a passkey",
        tag="recovery",
        body=TokenIn,
        output=SignedInOut,
        handler=_use_link,
    ),
    Operation(
        name="issueRecoveryLink",
        method="POST",
        path="/users/{id}/recovery",
        callers=frozenset({Caller.SERVICE}),
        scope=Scope.SESSIONS_WRITE,
        summary="Make a recovery link for somebody without mail",
        tag="recovery",
        body=EmptyIn,
        body_optional=True,
        output=LinkOut,
        status=201,
        handler=_issue_link,
    ),
    Operation(
        name="mailEmailProof",
        method="POST",
        path="/verify-email/send",
        callers=_HUMAN,
        summary="Mail a link that proves one's own address",
        tag="recovery",
        output=MailedOut,
        status=202,
        body=EmptyIn,
        body_optional=True,
        handler=_mail_proof,
    ),
    Operation(
        name="verifyEmail",
        method="POST",
        path="/verify-email",
        callers=_HUMAN,
        summary="Prove one's own address with what the link carried",
        tag="recovery",
        body=TokenIn,
        output=UserOut,
        handler=_confirm_address,
    ),
)
