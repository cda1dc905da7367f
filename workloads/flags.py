"""Flags of a command line that choose workloads, what they send and which of their placements are the arms."""

import argparse
import sys
from collections.abc import Mapping, Sequence

from workloads import catalogue
from workloads.payloads import Payload
from workloads.workload import Workload


def declare(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> None:
    """Add the workloads, `--library`, and for each workload a flag of its name that takes a directory of payloads.

    `arguments` are the command line, in which workload files are looked for: their names become flags, too. A file
    that is no workload, or has the name of a flag declared before, ends the program with exit code 2 and one line; so
    call this last.
    """
    names = "|".join((*catalogue.BUILT_IN, "FILE.py"))
    parser.add_argument("workloads", nargs="*", default=[], metavar=names, help="default: the built-in ones")
    try:
        files = mentioned(sys.argv[1:] if arguments is None else arguments)
        known = {**catalogue.BUILT_IN, **{each.name: each for each in files}}
        libraries = "; ".join(f"{name}: {', '.join(each.libraries)}" for name, each in known.items() if each.libraries)
        parser.add_argument("--library", default="", help=f"that clients prepare with, of {libraries}")
        for name, workload in known.items():
            sent = f"{workload.subject or 'files'} to send instead of its own"
            parser.add_argument(f"--{name}", dest=destination(name), metavar="DIR", default="", help=sent)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    except argparse.ArgumentError as conflict:
        flag = conflict.argument_name
        parser.exit(2, f"no workload may be called {str(flag).lstrip('-')!r}: {flag} is another flag; rename it\n")


def mentioned(arguments: Sequence[str]) -> list[Workload]:
    """Return the workloads of the files on a command line: what ends in .py and is no flag's value."""
    before = ["", *arguments]
    return [
        catalogue.find(each)
        for flag, each in zip(before, arguments, strict=False)
        if each.endswith(".py") and not each.startswith("-") and (not flag.startswith("--") or "=" in flag)
    ]


def destination(name: str) -> str:
    """Return the attribute of parsed options that holds a workload's directory of payloads."""
    return f"{name} payloads"


def load(options: argparse.Namespace, workloads: Mapping[str, Workload]) -> dict[str, list[Payload]]:
    """Read what each workload sends; return name -> payloads. Raises ValueError with one line."""
    return {name: each.load(vars(options).get(destination(name), "")) for name, each in workloads.items()}


def choose_library(library: str, workload: Workload) -> str:
    """Return that library where the workload has it; empty, its default, where only others have."""
    return library if library in workload.libraries else ""


def check_library(library: str, workloads: Mapping[str, Workload]) -> None:
    """Check that a workload has this library. Raises ValueError if none has."""
    if library and not any(library in each.libraries for each in workloads.values()):
        good = "; ".join(f"{name} has {', '.join(each.libraries) or 'none'}" for name, each in workloads.items())
        raise ValueError(f"unknown library {library!r}; {good}")


def choose_arms(text: str | None, workloads: Mapping[str, Workload], count: int = 0) -> dict[str, list[str]]:
    """Return workload -> its placements that are measured, baseline first; the first two where `text` is None.

    `text` is names with commas, `count` how many there must be (0: any). Raises ValueError with one line that names
    what was given and what is good.
    """
    arms: dict[str, list[str]] = {}
    for name, workload in workloads.items():
        good = ", ".join(workload.placements)
        if count == 2 and len(workload.placements) == 1:
            raise ValueError(f"{name} has one placement, {good}; a comparison needs two")
        chosen = list(workload.compared) if text is None else [each.strip() for each in text.split(",")]
        if not any(chosen):
            raise ValueError(f"--arms is empty; name some placements of {name}, of {good}, with commas")
        if unknown := [each for each in chosen if each not in workload.placements]:
            raise ValueError(f"unknown placement {unknown[0]!r} of {name}; try some of {good}, with commas")
        different = len(set(chosen)) == len(chosen)
        if not different or (count and len(chosen) != count):
            number = f"{count} different" if count else "different"
            raise ValueError(f"--arms takes {number} placements of {name}, of {good}; not {', '.join(chosen)!r}")
        arms[name] = chosen
    return arms
