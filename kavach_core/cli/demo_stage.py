"""How the demo looks: steps, calls with their answers, the delegation chain as a tree, the record as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from kavach_core.cli.demo_story import Ending

#: Longer lines are hard to read, however wide the screen.
_WIDEST: Final = 100
_INDENT: Final = 4
_NAMES: Final = 9
_DEEPER: Final = _INDENT + _NAMES + 1
_PAYMENT: Final = """-H "Content-Type: application/json" -d '{"to": "bob", "amount": 5}'"""
_STATES: Final = {"active": "green", "revoked": "red", "ended": "yellow"}


class Line(NamedTuple):
    """One entry of the record."""

    audit_id: str
    at: str
    chain: tuple[str, ...]
    call: str
    code: str


@dataclass(frozen=True, slots=True)
class Branch:
    """One agent of a chain, and the one it delegated to."""

    name: str
    permissions: tuple[str, ...]
    state: str
    below: Branch | None


class Stage:
    """Prints on stdout: colours where someone looks, plain text in a pipe."""

    def __init__(self) -> None:
        self._console = Console(markup=False, emoji=False, highlight=False)
        self._console.width = min(self._console.width, _WIDEST)
        marks = ("✓", "✗", "→") if self._console.encoding.startswith("utf") else ("+", "x", ">")
        self._yes, self._no, self._down = marks
        self._remarked = ""

    def opening(self, base_url: str, where: str) -> None:
        """Tell what is running."""
        self._console.print()
        self._console.rule(Text("kavach demo", style="bold"), style="dim")
        self._indented(Text(f"FastAPI on {base_url}, {where}.", style="dim"))

    def step(self, number: int, title: str) -> None:
        """Begin a step."""
        self._remarked = ""
        self._console.print()
        self._console.print(Text.assemble((f"{number:>2}  ", "bold cyan"), (title, "bold")))

    def call(self, who: str, method: str, path: str, status: int, code: str) -> None:
        """Show one call over HTTP and how it was answered."""
        mark, style = (self._yes, "green") if status < 400 else (self._no, "red")
        line = Text.assemble((f"{who:<{_NAMES}} ", "magenta"), (f"{mark} {status}  ", style), f"{method} {path}")
        self._indented(line.append(f"  {code}", style) if code else line)

    def remark(self, text: str) -> None:
        """Say what a call meant, once if the next one means the same."""
        if text != self._remarked:
            self._indented(Text(text, style="dim"), by=_DEEPER)
        self._remarked = text

    def secret(self, token: str) -> None:
        """Show a token."""
        self._indented(Text(token, style="yellow"), by=_DEEPER)

    def tree(self, owner: str, root: Branch) -> None:
        """Show who acts for whom, each with what it may do and the state of the delegation it lives by."""
        top = Tree(Text(owner, style="bold"), guide_style="dim")
        node, branch = top.add(_leaf(root)), root.below
        while branch is not None:
            node, branch = node.add(_leaf(branch)), branch.below
        self._console.print()
        self._indented(top, by=_DEEPER)

    def record(self, lines: Sequence[Line]) -> None:
        """Show the audit, oldest first."""
        table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("time", "chain", "call", "decision"):
            table.add_column(column, overflow="fold")
        for line in lines:
            table.add_row(*self._cells(line))
        self._console.print()
        # Not indented: it fits 80 columns just so.
        self._console.print(table)

    def acted(self, line: Line) -> None:
        """Show what an agent did just now."""
        self._console.print(Text("  ").join(self._cells(line)), soft_wrap=True)

    def _cells(self, line: Line) -> tuple[Text, Text, Text, Text]:
        """An entry of the record, column by column."""
        allowed = line.code == "ALLOWED"
        mark, style = (self._yes, "green") if allowed else (self._no, "red")
        chain = Text(f" {self._down} ", style="dim").join(
            Text(name, style="magenta" if place == len(line.chain) else "")
            for place, name in enumerate(line.chain, start=1)
        )
        return Text(line.at[11:19], style="dim"), chain, Text(line.call), Text(f"{mark} {line.code}", style=style)

    def invitation(self, base_url: str, ending: Ending) -> None:
        """Tell how to go on by hand. Nothing is wrapped, so that lines can be copied."""
        agent, cut, session = ending
        self._console.print()
        self._console.rule(Text("your turn", style="bold"), style="dim")
        account = f"{base_url}/api/kavach/account"
        for about, *lines in (
            (
                "In a browser: make a passkey and an agent. Its token goes where TOKEN is below.",
                account,
            ),
            ("In another terminal:", f"URL={base_url}", f"TOKEN={agent.token}", f"AGENT={agent.id}"),
            ("The agent, allowed and denied:", _post("/search", "$TOKEN"), _post("/deployments", "$TOKEN")),
            (
                "A payment, about which the agent's human is asked on that page:",
                f"{_post('/payments', '$TOKEN')} {_PAYMENT}",
            ),
            ("The sub-agent whose chain was cut:", f"CUT={cut.token}", _post("/search", "$CUT")),
            ("What the agent may read of its own record:", f"curl $URL/api/kavach/audit {_bearer('$TOKEN')}"),
            (
                "Its owner ends the agent, and it tries again:",
                f"SESSION={session}",
                f"curl -X DELETE $URL/api/kavach/agents/$AGENT {_bearer('$SESSION')}",
                _post("/search", "$TOKEN"),
            ),
        ):
            self._console.print()
            self._console.print(Text(about, style="dim"))
            for line in lines:
                self._console.print(line, soft_wrap=True)
        self._console.print()
        self._console.print(Text(f"All operations: {base_url}/docs. Ctrl-C ends it.", style="dim"))
        self._console.print(Text("What agents do from here on:", style="dim"))
        self._console.print()

    def broken(self, how: str) -> None:
        """Tell on stderr at which step the story differs."""
        Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True).print(how, style="red")

    def stopped(self) -> None:
        """Tell that the app is gone."""
        self._console.print()
        self._console.print(Text("Stopped.", style="dim"))

    def _indented(self, what: RenderableType, *, by: int = _INDENT) -> None:
        self._console.print(Padding(what, (0, 0, 0, by), expand=False))


def _leaf(branch: Branch) -> Text:
    alive = branch.state == "active"
    return Text.assemble(
        (branch.name, "magenta" if alive else "dim strike"),
        "  ",
        (branch.state, _STATES.get(branch.state, "")),
        "  ",
        (", ".join(branch.permissions), "" if alive else "dim"),
    )


def _bearer(variable: str) -> str:
    return f'-H "Authorization: Bearer {variable}"'


def _post(path: str, variable: str) -> str:
    return f"curl -X POST $URL{path} {_bearer(variable)}"
