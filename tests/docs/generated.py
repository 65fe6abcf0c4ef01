"""The parts of docs/http.md that are made from the code. `python -m tests.docs.generated` writes them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from kavach_core.api import problems
from kavach_core.api.operation import Caller, Operation
from kavach_core.api.table import TABLE
from kavach_core.capabilities.sessions.model import SessionEnd
from kavach_core.errors import ConfigurationError, Forbidden, KavachError, PermissionDenied
from kavach_core.primitives.reasons import Reason
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "http.md"

#: Always answered with the code of what they stand for: that of a decision, or of a class below.
_FINER = (Forbidden, PermissionDenied)
_CALLERS = (Caller.ANYONE, Caller.HUMAN, Caller.AGENT, Caller.SERVICE)


def up_to_date(page: str) -> str:
    """The page with every generated part as the code says it is now."""
    for name, lines in (("operations", _operations()), ("errors", _errors()), ("reasons", _reasons())):
        begin, end = f"<!-- {name}: made by tests/docs/generated.py -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, mark, after = rest.partition(end)
        assert mark, f"docs/http.md has no part {name}"
        page = before + begin + "".join(f"{line}\n" for line in lines) + end + after
    return page


def _operations() -> Iterator[str]:
    yield "| | | who | scope of a key | status | |"
    yield "|---|---|---|---|---|---|"
    for operation in TABLE:
        scope = "" if operation.scope is None else f"`{operation.scope}`"
        yield (
            f"| {operation.method} | `{operation.path}` | {_who(operation)} | {scope} | {operation.status} "
            f"| {operation.summary} |"
        )


def _who(operation: Operation) -> str:
    return ", ".join(
        "key" if caller is Caller.SERVICE else caller for caller in _CALLERS if caller in operation.callers
    )


def _errors() -> Iterator[str]:
    yield "| status | code | |"
    yield "|---|---|---|"
    found = [(problems.status_of(_bare(cls)), cls.code, _sentence(cls)) for cls in _answered(KavachError)]
    found.append((500, "INTERNAL_ERROR", "Something unexpected; what it was is in the log and nowhere else."))
    for status, code, meaning in sorted(found):
        yield f"| {status} | `{code}` | {meaning} |"


def _answered(cls: type[KavachError]) -> Iterator[type[KavachError]]:
    """The errors that reach a client: those with a code of their own, and none about the app's configuration."""
    for sub in cls.__subclasses__():
        if not issubclass(sub, ConfigurationError):
            if not sub.code.startswith("_") and sub not in _FINER:
                yield sub
            yield from _answered(sub)


def _bare(cls: type[KavachError]) -> KavachError:
    """An error without its evidence: the status rests on the class alone."""
    return cls.__new__(cls)


def _sentence(cls: type[KavachError]) -> str:
    first, _, _ = (inspect.getdoc(cls) or "").partition("\n\n")
    return first.partition(". ")[0].rstrip(".").replace("\n", " ") + "."


def _reasons() -> Iterator[str]:
    yield "| guarded route | code | |"
    yield "|---|---|---|"
    for reason in Reason:
        if reason not in (Reason.ALLOWED, Reason.SETTLED):
            yield f"| {_guarded_status(reason)} | `{reason}` | {reason.sentence} |"
    yield f"| 401 | `{SessionEnd.REVOKED}` | The session was ended. |"
    yield f"| 401 | `{SessionEnd.EXPIRED}` | The session is past its end, or rested too long. |"


def _guarded_status(reason: Reason) -> int:
    if reason in (Reason.RATE_LIMITED, Reason.BUDGET_EXCEEDED, Reason.TOO_MANY_REFUSALS):
        return 429
    ended = reason.ends_credential or reason in (Reason.KEY_ENDED, Reason.TEST_KEY_REFUSED)
    return 401 if ended else 403


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
