"""The pages that people read, cut into what can be run: fenced blocks, tables, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/integrations").glob("*.md"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    #: The heading it stands under.
    heading: str
    #: The line of its first content, so that a traceback points into the page.
    line: int


def blocks(page: Path, heading: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those under one heading, in order."""
    found: list[Block] = []
    current, language, start, text = "", None, 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            if language is None:
                language, start, text = line[3:], number + 1, []
            else:
                found.append(Block(language=language, text="\n".join(text) + "\n", heading=current, line=start))
                language = None
        elif language is not None:
            text.append(line)
        elif line.startswith("## "):
            current = line[3:]
    assert language is None, f"{page}: a block is not closed"
    return [block for block in found if heading in (None, block.heading)]


def table(page: Path, heading: str, first: str) -> list[list[str]]:
    """The cells of the table under a heading whose header line contains `first`, without the header."""
    lines = page.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("|") and first in line)
    rows: list[list[str]] = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def links(page: Path) -> list[str]:
    """The targets of all links of a page."""
    return re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
