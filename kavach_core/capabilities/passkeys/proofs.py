"""Signatures of passkeys on record: verified first, then judged, and noted in the transaction of what they allow."""

from __future__ import annotations

from dataclasses import dataclass

from kavach_core.capabilities.passkeys import records
from kavach_core.capabilities.passkeys.ceremony import Answer, rejected
from kavach_core.capabilities.passkeys.model import Assertion, DeviceType
from kavach_core.capabilities.passkeys.policy import Verdict, judge
from kavach_core.capabilities.passkeys.queries import Found, PasskeyRow
from kavach_core.capabilities.passkeys.verify import reject, verify_authentication
from kavach_core.capabilities.users.queries import UserRow
from kavach_core.errors import PasskeyUnknown
from kavach_core.runtime import Runtime
from kavach_core.store import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A signature that holds and is the passkey's own. It has not been noted yet."""

    row: PasskeyRow
    assertion: Assertion
    count_regressed: bool


class Proofs:
    """Tells whether an answer proves that its human holds a passkey."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._project = runtime.project
        self._config = runtime.config

    async def check(self, answer: Answer, found: Found | None, *, of_user: bytes | None = None) -> Proof:
        """Verify the answer by the passkey it names, as found on record: anybody's, or one of the user who was asked.

        Raises `PasskeyUnknown` for one that is not on record and `PasskeyRejected` for all else that does not hold.
        """
        if found is None:
            raise PasskeyUnknown(rejected().message)
        row, user = found
        if of_user not in (None, user.id):
            raise reject("it is another user's")
        assertion = verify_authentication(answer, row.public_key, self._config)
        verdict = _judge(answer, assertion, row, user, handle_required=of_user is None)
        if verdict is Verdict.CLONED:
            await self._store.transact(records.disable, self._project, row, user, assertion.sign_count)
        if not verdict.accepts:
            raise reject(verdict.value)
        return Proof(row=row, assertion=assertion, count_regressed=verdict is Verdict.COUNT_REGRESSED)

    async def note_in(self, tx: Transaction, proof: Proof) -> UserRow:
        """Store the new count and return whose passkey it is.

        Raises `PasskeyRejected` if the passkey was used, disabled or deleted since it was read: the count that was
        judged is no longer the one on record.
        """
        user = await records.use(tx, self._project, proof.row, proof.assertion, regressed=proof.count_regressed)
        if user is None:
            raise reject("it was used, disabled or deleted meanwhile")
        return user


def _judge(answer: Answer, assertion: Assertion, row: PasskeyRow, user: UserRow, *, handle_required: bool) -> Verdict:
    return judge(
        assertion,
        presented_handle=answer.user_handle,
        expected_handle=user.handle,
        handle_required=handle_required,
        device_type=DeviceType(row.device_type),
        is_disabled=row.disabled_at is not None,
        stored_count=row.sign_count,
    )
