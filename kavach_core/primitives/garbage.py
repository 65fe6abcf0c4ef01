"""What is loaded when an app begins to serve stays for as long as it does: it need not be looked through for garbage.

A call that waits for its transaction leaves objects behind while it does, and CPython takes the growth for a reason to
look at all there is, again and again. docs/decisions/0005 has the figures.
"""

from __future__ import annotations

import gc

_is_done = False


def set_loaded_aside() -> None:
    """Take all that is alive now out of later collections, once per process; what is garbage already goes first.

    An app that runs without the collector is left alone.
    """
    global _is_done
    if _is_done or not gc.isenabled():
        return
    _is_done = True
    gc.collect()
    gc.freeze()
