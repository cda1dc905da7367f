"""The group `crossover`: its commands by name, and how each of them starts and ends."""

import difflib
import re
import sys
from importlib import import_module
from typing import Any, NamedTuple

import click

from common.messages import find_empty

USAGE = 2  # the exit code after wrong usage
NOT_EMPTY = (
    *("--url", "--state", "--cacert", "--payloads", "--like", "--continue", "--reports", "--output", "-o"),
    *("--metrics-host", "--workload", "--requirements", "--host"),
)
"""Options that take a path or an address: an empty one would silently mean the default."""

NUMBERS = {
    "is not a valid float range": "is no number",
    "is not a valid float": "is no number",
    "is not a valid integer range": "is no whole number",
    "is not a valid integer": "is no whole number",
}
"""click's words -> those of who does not program. The longer ones first."""


class Entry(NamedTuple):
    """A command in the table: where it is, and its line in `crossover --help`."""

    place: str
    """`module:attribute`, imported when the command runs or its own help is asked for."""
    help: str


COMMANDS: dict[str, dict[str, Entry]] = {
    "Which placement": {
        "compare": Entry("crossover.cli.compare:compare", "Which placement is better at one load, and by how much?"),
        "placements": Entry("crossover.cli.placements:placements", "All placements in one table, with intervals."),
        "check": Entry("crossover.cli.check:check", "Do the placements compute the same thing?"),
        "capacity": Entry("crossover.cli.capacity:capacity", "How much can each placement carry?"),
        "sweep": Entry("crossover.cli.sweep:sweep", "Where does the answer change: input size, link, workers, cores?"),
    },
    "How fast": {
        "load": Entry("crossover.cli.load:load", "A quick table: load against throughput, latency and CPU."),
        "infer": Entry("crossover.cli.infer:infer", "Send files and print the answers."),
        "efficiency": Entry("crossover.cli.efficiency:efficiency", "Does an ensemble lose against its steps?"),
        "clients": Entry("crossover.cli.clients:clients", "Does it matter how the client works and requests arrive?"),
    },
    "How robust": {
        "overload": Entry("crossover.cli.overload:overload", "What happens above the capacity, and in a spike?"),
        "soak": Entry("crossover.cli.soak:soak", "What grows or drifts over hours of good and damaged files?"),
    },
    "Runs and arrivals": {
        "report": Entry("crossover.cli.report:report", "Make a run's report again, or compare two runs."),
        "ui": Entry("crossover.cli.ui:ui", "A page of past runs: list them, and compare two."),
        "arrivals": Entry("crossover.cli.arrivals:arrivals", "Show a schedule of arrivals before it is sent."),
    },
    "Server": {
        "up": Entry("crossover.cli.server:up", "Start the server and wait until it answers."),
        "down": Entry("crossover.cli.server:down", "Stop the server and leave nothing behind."),
        "status": Entry("crossover.cli.server:status", "What runs where, and does it answer?"),
        "logs": Entry("crossover.cli.server:logs", "Print the server's log."),
        "models": Entry("crossover.cli.models:models", "Export the networks as ONNX."),
        "gpu-check": Entry("crossover.cli.gpu_check:gpu_check", "Does this machine's GPU do what the server needs?"),
    },
}
"""Section -> name -> command, in the order of `crossover --help`."""


class Interrupted(Exception):
    """Ctrl-C in a command, under a name that click does not know: it would print an empty line for it."""


class Group(click.Group):
    """A group that imports a command when it is needed, and lists all of them without importing any."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import the command of that name; None if there is none."""
        for section in COMMANDS.values():
            if name in section:
                module, _, attribute = section[name].place.partition(":")
                return getattr(import_module(module), attribute)
        return None

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return (name, command, what follows). Raises UsageError for an unknown command, with the nearest one."""
        name, known = arguments[0], self.list_commands(context)
        if name not in known and not name.startswith("-"):
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"try one of {', '.join(known)}"
            raise click.UsageError(f"no such command {name!r}; {hint}", context)
        if empty := find_empty(arguments, NOT_EMPTY):
            raise click.UsageError(empty)
        return super().resolve_command(context, arguments)

    def invoke(self, context: click.Context) -> Any:
        """Run the command, and return its exit code. Raises Interrupted after Ctrl-C."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            raise Interrupted from None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands section by section, from the table."""
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in section.items()])


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Completion: eval "$(_CROSSOVER_COMPLETE=bash_source crossover)", or zsh_source, fish_source.',
)
def crossover() -> None:
    """Measure whether the client or the server should preprocess, on a real Triton server.

    Begin with `crossover up`, then `crossover compare`.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run a command line, by default this process's. Returns the exit code.

    A command returns its exit code; what it raises as click's UsageError is one line and USAGE.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        # Commands find the whole command line in the context's `obj`.
        return crossover.main(arguments, "crossover", standalone_mode=False, obj=arguments) or 0
    except Interrupted:
        raise KeyboardInterrupt from None
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return USAGE
    except click.ClickException as error:
        print(f"{name_command(error, arguments)}: {write_message(error)}", file=sys.stderr)
        return USAGE


def name_command(error: click.ClickException, arguments: list[str]) -> str:
    """Return the command whose usage was wrong: `crossover compare`. An error of click's parser does not say it."""
    if context := getattr(error, "ctx", None):
        return context.command_path
    known = [name for section in COMMANDS.values() for name in section]
    return " ".join(["crossover", *[each for each in arguments[:1] if each in known]])


def write_message(error: click.ClickException) -> str:
    """Return an error's message as one line in this program's style: no capital first, no full stop."""
    text = re.sub("|".join(NUMBERS), lambda found: NUMBERS[found[0]], " ".join(error.format_message().split()))
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        # click names all that are near.
        text = f"{error.message.removesuffix('.')}; did you mean {error.possibilities[0]!r}?"
    return text[:1].lower() + text[1:].removesuffix(".") if text[:2].istitle() else text
