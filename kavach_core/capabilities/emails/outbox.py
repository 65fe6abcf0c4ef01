"""Hands mail to the app's mailer behind the answer, so that how long an answer takes says nothing about an address."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from kavach_core.config import Email, SendEmail
from kavach_core.errors import NotFound
from kavach_core.primitives.tasks import start_task

#: Seconds a mailer may take, and that closing waits for those under way.
_PATIENCE: Final = 30.0

_log = logging.getLogger("kavach")


class Outbox:
    """The mails under way."""

    def __init__(self, send: SendEmail | None) -> None:
        self._send = send
        self._under_way: set[asyncio.Task[None]] = set()

    def require_mailer(self) -> None:
        """Raise `NotFound` where the app set no `send_email`: there is no way by mail then."""
        if self._send is None:
            raise NotFound("This app sends no mail.")

    def post(self, mail: Email) -> None:
        """Have a mail sent soon. One that fails is logged, without its link; whoever asked for it may ask again."""
        if self._send is None:
            raise NotFound("This app sends no mail.")
        task = start_task(self._deliver(self._send, mail))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Wait for the mails under way; those that take too long are given up."""
        await asyncio.gather(*self._under_way)

    async def _deliver(self, send: SendEmail, mail: Email) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await send(mail)
        except Exception as error:
            _log.error("a mail (%s) was not sent: %s", mail.purpose, type(error).__name__)
