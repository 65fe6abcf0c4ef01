"""Whether 32 bytes are an Ed25519 key that needs its other half (RFC 8032, section 5.1.3). Nothing here is secret."""

from __future__ import annotations

from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_LENGTH: Final = 32


def is_strong(key: bytes) -> bool:
    """Whether a key is a point of the curve, written in the one way there is, and none under which anybody can sign."""
    y = int.from_bytes(key, "little") % 2**255
    return len(key) == _LENGTH and y < _P and _is_on_curve(y) and not _is_weak(y)


def _is_on_curve(y: int) -> bool:
    """Whether -x² + y² = 1 + d x² y² has an x: whether x² is a square. The divisor is never zero."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P)
    return pow(square, (_P - 1) // 2, _P) in (0, 1)


def _is_weak(y: int) -> bool:
    """Whether eight times the point is nothing: its y is 1, -1 or 0, or that of its double is 0."""
    return y * (y * y - 1) * (_D * y**4 + 2 * y * y - 1) % _P == 0
