"""Names of hosts in the one form that DNS and browsers know: ASCII, in lower case (UTS 46, as browsers read names)."""

from __future__ import annotations


def ascii_host(name: str) -> str | None:
    """Return a host's name in ASCII, or None for what names none. What DNS takes for two hosts stays two.

    The standard library's own codec takes `straße` for `strasse`, as nobody has since IDNA 2008: by it one host's mail
    would be the other's.
    """
    if name.isascii():
        return name.lower()
    # Its tables cost more than most apps ever need of them.
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except UnicodeError:
        return None
