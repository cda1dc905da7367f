"""Texts of exceptions and of servers, made fit to be shown: in one line, without addresses in memory."""

import os
import re
from collections.abc import Collection, Sequence

LONGEST = 200  # characters of a reason, of which every sample has one


def one_line(error: object) -> str:
    """Return the whole text of an error, or of anything else, in one line.

    `<_io.BytesIO object at 0x7f3a...>` becomes `<_io.BytesIO object>`: an address helps no reader, and with it the same
    failure would have another reason each time. What cannot be printed becomes a space: a terminal would obey it.
    """
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error))
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def shorten(text: str, longest: int) -> str:
    """Return the text, cut between two words where it is longer than so many characters, with dots for the rest."""
    if len(text) <= longest:
        return text
    head = text[: longest - 3]
    return f"{head.rpartition(' ')[0] or head}..."


def first_line(text: object) -> str:
    """Return a sample's reason: the first line that is not empty, cut to LONGEST characters; "" if there is none."""
    lines = str(text).strip().splitlines()
    return shorten(one_line(lines[0]), LONGEST) if lines else ""


def name_error(error: BaseException) -> str:
    """Return the text of an error, with its type where the text says too little: that of a KeyError is a key.

    A ValueError, and what a library has as errors of its own, explains itself.
    """
    kind, text = type(error), str(error)
    if text and (kind is ValueError or kind.__module__ != "builtins"):
        return text
    return f"{kind.__name__}: {text}" if text else kind.__name__


def end_clause(error: object) -> str:
    """Return the text of an error in one line without a full stop at its end, as a semicolon follows."""
    text = one_line(error)
    return text if text.endswith("...") else text.removesuffix(".")


def is_called_by_make() -> bool:
    """Return whether a target of the Makefile called us; CROSSOVER_TOOL, which says so, is read as late as this."""
    return os.environ.get("CROSSOVER_TOOL") == "make"


def name_command(command: str) -> str:
    """Return a command of the launcher as hints name it, by the tool that was called: `crossover up`, or `make up`."""
    tool = "make" if is_called_by_make() else "crossover"
    return f"`{tool} {command}`"


def name_program() -> str:
    """Return how a command is called in the shell that called us: `make` has put the program on nobody's PATH."""
    return ".venv/bin/crossover" if is_called_by_make() else "crossover"


def find_empty(arguments: Sequence[str], options: Collection[str]) -> str:
    """Return, in one line, which of these options, or which argument, has an empty value; "" if none has."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        given = argument.removesuffix("=") if argument.startswith("-") else before if not argument else None
        if given in options and (not argument or argument.endswith("=")):
            return f"{given} is empty: leave it out, or give a value (is a variable of the shell unset?)"
        if not argument and not before.startswith("-"):
            return "an argument is empty (is a variable of the shell unset?)"
    return ""
