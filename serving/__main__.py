"""The command line: `python -m serving --help`."""

import argparse
import signal
import socket
import sys
from pathlib import Path

try:
    from serving import Failure, commands, local, thread_plan
    from serving.ports import PORTS
except ModuleNotFoundError as missing:  # another interpreter than that of .venv
    sys.exit(f"serving: {missing.name} is missing from this environment, {sys.prefix}; run `make env`, then use .venv")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a Failure, 130 after a signal; bad flags exit with 2."""
    options = parse(arguments)
    for number in local.SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt_once)
    try:
        return commands.COMMANDS[options.command](options) or 0
    except Failure as failure:
        print(f"serving: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("serving: interrupted", file=sys.stderr)
        return 130


def interrupt_once(number, frame):
    """Raise KeyboardInterrupt; later signals do nothing, because they would cut short the clean-up that follows.

    They are blocked to the end of the process. One that arrived just before meets a handler that does nothing: under
    SIG_IGN Python would complain of it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, local.SIGNALS)
    for each in local.SIGNALS:
        signal.signal(each, lambda *_: None)
    raise KeyboardInterrupt


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def error(self, message: str):
        """Print the message on one line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of a command line (None: this process's); exits with code 2 for what makes no sense."""
    parser = Parser(prog="python -m serving", description="Start and stop the server.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="|".join(commands.COMMANDS))
    subs = {}
    for name, do in commands.COMMANDS.items():
        words = write_help(do.__doc__)
        subs[name] = subparsers.add_parser(name, help=words, description=words, allow_abbrev=False)
        subs[name].add_argument("--state", type=absolute, default=".run", help="state directory (default: %(default)s)")

    subs["up"].add_argument(
        "--engine", choices=("auto", "docker", "local"), default="auto", help="default: %(default)s"
    )
    for name, cores in (("up", None), ("run", "all")):
        add = subs[name].add_argument
        add(
            "--weights",
            choices=("real", "tiny"),
            default="real",
            help="tiny stand-ins are for tests (default: real)",
        )
        add("--host", type=address, default="127.0.0.1", help="address to listen on (default: %(default)s)")
        add("--cores", default=cores, help=f"all, or a list like 0-3,6 (default: {cores or 'the upper half'})")
        add(
            "--slo", type=int, metavar="MS", default=thread_plan.SLO,
            help="refuse (503) what would take longer; 0 lets queues grow without bound (default: %(default)s)",
        )  # fmt: skip
        for number, kind in enumerate(PORTS):
            add(f"--{kind}-port", type=port, default=8000 + number, help="default: %(default)s")
    subs["logs"].add_argument("-f", "--follow", action="store_true", help="go on printing what is added")
    subs["logs"].add_argument("-n", "--lines", type=int, default=40, help="of the end (default: %(default)s)")
    subs["canary"].add_argument("--http-port", type=port, default=8000, help="default: %(default)s")
    subs["canary"].add_argument(
        "--recent", type=float, metavar="S", help="send none if both have answered anyone in the last S seconds"
    )
    subs["compose"].epilog = "Whatever else is given goes to docker compose, e.g. --profile loadgen up -d"

    options, rest = parser.parse_known_args(arguments)
    options.rest = rest
    if options.rest and options.command != "compose":
        subs[options.command].error(f"unrecognized arguments: {' '.join(options.rest)}")
    if options.command in ("up", "run"):
        try:
            options.cores = thread_plan.server_cores(options.cores)
        except ValueError as bad:
            subs[options.command].error(str(bad))
        if len({getattr(options, f"{kind}_port") for kind in PORTS}) < len(PORTS):
            subs[options.command].error("--http-port, --grpc-port and --metrics-port must differ")
    return options


def write_help(docstring: str | None) -> str:
    """Turn a command's docstring of one sentence into the words of a help text: no capital, no full stop."""
    sentence = docstring or ""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def absolute(text: str) -> Path:
    """Return a path that stays the same in whatever folder it is used."""
    return Path(text).resolve()


def port(text: str) -> int:
    """Return the number of a TCP port, from 1 to 65535."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def address(text: str) -> str:
    """Return the IPv4 address of a host name or address; Triton's servers take nothing else."""
    try:
        return socket.gethostbyname(text)
    except OSError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address of this machine; try 127.0.0.1 or 0.0.0.0") from None


if __name__ == "__main__":
    sys.exit(main())
