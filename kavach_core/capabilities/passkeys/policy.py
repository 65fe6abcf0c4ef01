"""Whether a signature that holds is the passkey's own: the rules that come after the cryptography."""

from __future__ import annotations

import hmac
from enum import StrEnum

from kavach_core.capabilities.passkeys.model import Assertion, DeviceType


class Verdict(StrEnum):
    """What to do with an assertion whose signature holds."""

    ACCEPTED = "accepted"
    #: A synced passkey whose counter did not grow: its providers count as they like, so this is noted and no more.
    COUNT_REGRESSED = "count_regressed"
    #: The user handle is missing or another user's.
    WRONG_USER = "wrong_user"
    #: Backup eligibility never changes (WebAuthn, section 7.2, step 17).
    DEVICE_TYPE_CHANGED = "device_type_changed"
    DISABLED = "disabled"
    #: A counter that did not grow on a passkey that cannot be copied: somebody did.
    CLONED = "cloned"

    @property
    def accepts(self) -> bool:
        """Whether the human is who they say."""
        return self in (Verdict.ACCEPTED, Verdict.COUNT_REGRESSED)


def judge(
    assertion: Assertion,
    *,
    presented_handle: bytes | None,
    expected_handle: bytes,
    handle_required: bool,
    device_type: DeviceType,
    is_disabled: bool,
    stored_count: int,
) -> Verdict:
    """Compare a verified assertion with what is on record of the passkey.

    `handle_required` is False where the browser was told which passkeys to use; it may leave the handle out then.
    """
    if presented_handle is None:
        if handle_required:
            return Verdict.WRONG_USER
    elif not hmac.compare_digest(presented_handle, expected_handle):
        return Verdict.WRONG_USER
    if assertion.device_type is not device_type:
        return Verdict.DEVICE_TYPE_CHANGED
    if is_disabled:
        return Verdict.DISABLED
    if max(assertion.sign_count, stored_count) == 0 or assertion.sign_count > stored_count:
        return Verdict.ACCEPTED
    return Verdict.CLONED if device_type is DeviceType.SINGLE_DEVICE else Verdict.COUNT_REGRESSED
