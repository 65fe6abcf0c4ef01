"""The mails that operations ask the app to send. What a link carries stands behind its `#`, which no server logs."""

from __future__ import annotations

from typing import Literal

from kavach_core.api.operation import Call
from kavach_core.config import Email


def mail(
    call: Call, to: str, purpose: Literal["recovery", "verify_email", "account_exists"], page: str, secret: str = ""
) -> None:
    """Have a mail with a link to one of the pages below the mount sent, after the answer."""
    link = f"{call.edge.config.base_url}{call.edge.mount}/{page}{f'#{secret}' if secret else ''}"
    call.kavach.auth.outbox.post(Email(to=to, purpose=purpose, link=link))


async def mail_proof(call: Call, user_id: str) -> None:
    """Mail a link that proves a user's address, if there is one left to prove."""
    asked = await call.kavach.auth.email.ask(user_id)
    if asked is not None:
        address, token = asked
        mail(call, address, "verify_email", "verify-email", f"token={token}")


async def offer_proof(call: Call, user_id: str) -> None:
    """After a sign-up: mail that link at once where the app sends mail, so that the address can lead back in."""
    if call.edge.config.send_email is not None:
        await mail_proof(call, user_id)
