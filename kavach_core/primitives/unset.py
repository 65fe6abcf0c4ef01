"""The value of an argument that was not given, where None means something."""

from __future__ import annotations

from typing import Final


class Unset:
    """The type of `UNSET`."""


UNSET: Final = Unset()
