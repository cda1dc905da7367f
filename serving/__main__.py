"""What containers and the launcher start: `python -m serving --help`. People start and stop the server by `crossover`.

It imports no more than the image of a GPU server has, which is why it has a parser of its own.
"""

import argparse
import sys
from pathlib import Path

try:
    from serving import ROOT, Failure, commands, settings, signals, state, thread_plan
    from serving.ports import PORTS
except ModuleNotFoundError as missing:  # another interpreter than that of .venv
    sys.exit(f"serving: {missing.name} is missing from this environment, {sys.prefix}; run `make env`, then use .venv")

COMMANDS = {
    "run": commands.run, "supervise": commands.supervise, "canary": commands.probe, "compose": commands.compose,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a Failure, 130 after a signal; bad flags exit with 2."""
    options = parse(arguments)
    signals.install()
    try:
        return COMMANDS[options.command](options) or 0
    except Failure as failure:
        print(f"serving: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("serving: interrupted", file=sys.stderr)
        return 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def error(self, message: str):
        """Print the message on one line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of a command line (None: this process's); exits with code 2 for what makes no sense."""
    parser = Parser(prog="python -m serving", description="Parts of the server; `crossover up` starts one.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    subs = {}
    for name, do in COMMANDS.items():
        words = write_help(do.__doc__)
        subs[name] = subparsers.add_parser(name, help=words, description=words, allow_abbrev=False)
        words = "state directory (default: %(default)s)"
        subs[name].add_argument("--state", type=absolute, default=ROOT / state.DIRECTORY, help=words)

    add = subs["run"].add_argument
    add("--weights", choices=settings.WEIGHTS, default="real", help="tiny stand-ins are for tests (default: real)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--cores", default="all", help="all, or a list like 0-3,6 (default: all)")
    add(
        "--slo", type=int, metavar="MS", default=thread_plan.SLO,
        help="refuse (503) what would take longer; 0 lets queues grow without bound (default: %(default)s)",
    )  # fmt: skip
    add("--no-gpu", action="store_true", help="keep to the CPU; default: a GPU where one can be used")
    add("--on-cpu", action="append", default=[], metavar="MODEL", help="keep this step off the GPU; may be repeated")
    add("--models", action="append", default=[], metavar="DIR", help="serve this model repository, too")
    add("--only", action="store_true", help="serve no models but those of --models")
    # A container's shared memory is its own; the rest is for a server that the host's files can reach.
    subs["run"].set_defaults(requirements="", workload="", admission=False, shm=False)
    for number, kind in enumerate(PORTS):
        default = settings.HTTP_PORT if not number else None
        add(f"--{kind}-port", default=default, help=f"default: {default or f'the HTTP port + {number}'}")
    subs["canary"].add_argument("--http-port", default=settings.HTTP_PORT, help="default: %(default)s")
    subs["canary"].add_argument(
        "--recent", type=float, metavar="S", help="send none if both have answered anyone in the last S seconds"
    )
    subs["compose"].epilog = "Whatever else is given goes to docker compose, e.g. --profile loadgen up -d"

    options, rest = parser.parse_known_args(arguments)
    options.rest = rest
    if options.rest and options.command != "compose":
        subs[options.command].error(f"unrecognized arguments: {' '.join(options.rest)}")
    try:
        if options.command == "run":
            settings.complete(options)
        if options.command == "canary":
            options.http_port = settings.parse_port("--http-port", options.http_port)
    except ValueError as bad:
        subs[options.command].error(str(bad))
    return options


def write_help(docstring: str | None) -> str:
    """Turn a command's docstring of one sentence into the words of a help text: no capital, no full stop."""
    sentence = docstring or ""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def absolute(text: str) -> Path:
    """Return a path that stays the same in whatever folder it is used."""
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
