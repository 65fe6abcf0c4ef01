"""The mails that operations ask the app to send. What a link carries stands behind its `#`, which no server logs."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from kavach_core.api.operation import Call
from kavach_core.config import Email
from kavach_core.errors import RateLimited
from kavach_core.primitives.emails import mailable
from kavach_core.primitives.paths import under_root


def mail(
    call: Call, to: str, purpose: Literal["recovery", "verify_email", "account_exists"], page: str, secret: str = ""
) -> None:
    """Have a mail with a link to one of the pages below the mount sent, after the answer."""
    link = page_link(call, page, secret)
    call.kavach.auth.outbox.post(Email(to=mailable(to), purpose=purpose, link=link))


def page_link(call: Call, page: str, secret: str = "") -> str:
    """The address of a page below the mount, from `base_url` and where the server says the app is, never a header."""
    where = under_root(f"{call.edge.mount}/{page}", call.view.root_path)
    return f"{call.edge.config.base_url or ''}{where}{f'#{secret}' if secret else ''}"


async def mail_proof(call: Call, user_id: str) -> None:
    """Mail a link that proves a user's address, if there is one left to prove.

    An address that is another account's is told so: whoever asked learns nothing.
    """
    proof = await call.kavach.auth.email.ask(user_id)
    if proof is None:
        return
    if proof.token is None:
        mail(call, proof.address, "account_exists", "sign-in")
    else:
        mail(call, proof.address, "verify_email", "verify-email", f"token={proof.token}")


async def offer_proof(call: Call, user_id: str) -> None:
    """After a sign-up: mail that link at once where the app sends mail, so that the address can lead back in.

    The account is made by then: where too many mails went to the address, it can be asked for later.
    """
    if call.edge.config.send_email is not None:
        with suppress(RateLimited):
            await mail_proof(call, user_id)
