"""The pages that a reader gets: their text, their fenced blocks and the commands in them."""

import re
import shlex
from typing import NamedTuple

from tests.conftest import ROOT

PATHS = [path for pattern in ("*.md", "docs/**/*.md", "examples/*/*.md") for path in ROOT.glob(pattern)]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in PATHS}
PROGRAMS = "crossover|make|locust|python -m"


class Command(NamedTuple):
    """A command line of a page: the program, and what follows; variables that it sets in front are left out."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def read_blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def remove_blocks(text: str) -> str:
    """Return a page's text without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M)


def split_commands(line: str) -> list[tuple[str, ...]]:
    """Return the commands of a line of shell, whose comment is left out: `a && b` are two."""
    try:
        words = shlex.split(line.replace("$(", "("), comments=True)
    except ValueError as bad:
        raise ValueError(f"{line}: {bad}") from None
    commands: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", "||", ";", "|"):
            commands.append([])
        elif commands[-1] or not re.match(r"[A-Z_]+=", word):
            commands[-1].append(word)
    return [tuple(each) for each in commands if each]


def list_commands() -> list[Command]:
    """List every command of every page: the lines of `sh` blocks, and code in the text that begins with a program."""
    found: dict[Command, None] = {}
    for page in sorted(PAGES.keys() - {"CHANGELOG.md"}):  # which names what commands were called
        text = PAGES[page]
        lines = [line for block in read_blocks(text, "sh") for line in block.splitlines() if line.strip()]
        prose = " ".join(remove_blocks(text).split())
        lines += re.findall(rf"`((?:[A-Z_]+=\S+ )*(?:{PROGRAMS}) [^`]+)`", prose)
        for line in lines:
            found |= dict.fromkeys(Command(page, each) for each in split_commands(line))
    return list(found)
