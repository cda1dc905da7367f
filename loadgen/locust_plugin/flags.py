"""Crossover's flags on Locust's command line, and what becomes of Locust's own.

Locust prints its `--help` before it reads the locustfile, so that help cannot hold them: `--flags` lists them, as does
docs/load-generator.md.
"""

import argparse
import os
import sys
from collections.abc import Callable

from locust.argument_parser import LocustArgumentParser

import arrivals
from common.messages import find_empty, one_line
from loadgen.arm import MODES
from loadgen.locust_plugin import ports
from loadgen.metrics.exporter import LOOPBACK
from workloads import optional
from workloads.transport_choice import WORDS
from workloads.workload import Workload

PAGE = "docs/load-generator.md"
LOCUSTS_OWN = {
    "run_time": "-t: a run lasts as long as its schedule: say --seconds {}",
    "num_users": "-u: arrivals make the load, not users: say --arrivals poisson:rate=5, or --arrivals closed:users={}",
    "spawn_rate": "-r: arrivals make the load, not users: say --arrivals ramp:from=1,to={:g},over=30",
}
"""Locust's options that would have no effect, and what to say instead."""


NOT_EMPTY = ("-H", "--host", "--payloads", "--workload", "--cacert", "--reports", "--replicas", "--metrics-host")
"""Flags that take a path or an address: an empty one would silently mean the default."""


def declare(parser: argparse.ArgumentParser, workload: Workload) -> None:
    """Add the flags of a run to a parser of Locust's and, but for --reports and --metrics-port, to its web form."""
    add, libraries = parser.add_argument, list(workload.libraries)
    placements = optional.list_at_hand(workload.bases)
    add("--placement", choices=placements, default=workload.encoded, help="where the input is decoded and preprocessed")
    transports = ", ".join(f"{name} ({words})" for name, words in WORDS.items())
    add("--transport", choices=list(WORDS), default="http", help=f"how requests cross to the server: {transports}")
    add("--grpc-port", default="", help="of the server, for gRPC; empty: as it was started, else its HTTP port + 1")
    add("--mode", choices=MODES, default="async", help="how the client handles its arrivals")
    add("--workers", type=int, default=1, help="client threads; in mode async they only preprocess")
    add("--arrivals", default=f"poisson:rate={workload.rate:g}", help=f"one of {', '.join(arrivals.EXAMPLES.values())}")
    add("--seconds", type=float, default=30.0, help="length of the schedule")
    add("--seed", type=int, default=1, help="seed of the schedule and of the order of the payloads")
    add("--payloads", default="", help="a directory of files to send; empty: the built-in ones")
    if libraries:
        add("--library", choices=libraries, default=libraries[0], help="library that preprocesses when the client does")
    add("--cacert", default="", include_in_web_ui=False, help="https: believe the authorities in this PEM file only")
    insecure = "https: take any certificate; whoever is between can read along"
    add("--insecure", action="store_true", include_in_web_ui=False, help=insecure)
    add("--in-flight-cap", type=int, default=512, help="mode async: arrivals above it are dropped and counted")
    add("--timeout", type=float, default=30.0, help="deadline of one request, in seconds")
    vouches = "latency percentile that the verdict vouches for; empty: the highest that so many arrivals allow"
    add("--percentile", default="", help=vouches)
    exports = "serve the run's metrics for Prometheus on this port; 0: do not"
    add("--metrics-port", type=int, default=0, include_in_web_ui=False, help=exports)
    add("--metrics-host", default=LOOPBACK, include_in_web_ui=False, help="the address that --metrics-port listens on")
    counts = "count the requests of each replica behind a proxy: HOST:PORT of each, or of a name that stands for all"
    add("--replicas", default="", include_in_web_ui=False, help=counts)
    add("--reports", default="reports", include_in_web_ui=False, help="where samples are written")


def list_flags(workload: Workload) -> str:
    """Return the text of `--flags`: every flag of a run, what it takes and its default."""
    listing = LocustArgumentParser(
        prog="locust", usage="locust -f LOCUSTFILE [--headless] [FLAG ...]", add_help=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter, add_config_file_help=False, add_env_var_help=False,
        epilog=f"More in {PAGE}. Locust's own flags, as --headless, --host and --processes: locust --help",
    )  # fmt: skip
    declare(listing, workload)
    return listing.format_help()


def extend(parser: argparse.ArgumentParser, workload: Workload) -> None:
    """Add the flags to Locust's parser; check Locust's own, which it parses first, before anything is started."""
    parser.set_defaults(web_host=LOOPBACK, master_bind_host=LOOPBACK)
    declare(parser, workload)
    shown: dict = {"help": "list Crossover's flags, and exit", "include_in_web_ui": False}
    parser.add_argument("--flags", action="store_true", **shown)
    # Methods, for mypy.
    setattr(parser, "parse_args", check_first(parser.parse_args, workload))  # noqa: B010
    setattr(parser, "exit", explain_exit(parser.exit))  # noqa: B010


def _print_for_a_pipe(text: str) -> None:
    """Print `text`; what a reader such as `head` does not take is lost without words."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python says it again at its end


last_form: dict[str, str] = {}
"""What the last run was started with on the page: its form shows that the next time."""
_checked = False  # Locust parses its command line again for the web form, when its page and its master listen already


def check_first(parse: Callable[..., argparse.Namespace], workload: Workload) -> Callable[..., argparse.Namespace]:
    """Return `parse`, which checks what it returns the first time, and later returns the values of the last form.

    It exits with code 2, and one line, if Locust would ignore an option or cannot listen on a port, and with code 0
    after `--flags`.
    """

    def parse_and_check(*arguments, **options) -> argparse.Namespace:
        global _checked
        parsed = parse(*arguments, **options)
        if not _checked:
            _checked = True
            if parsed.flags:
                _print_for_a_pipe(list_flags(workload))
                sys.exit()
            if empty := find_empty(sys.argv[1:], NOT_EMPTY):
                print(empty, file=sys.stderr)
                sys.exit(2)
            for name, instead in LOCUSTS_OWN.items():
                if (value := getattr(parsed, name)) is not None:
                    print(instead.format(value), file=sys.stderr)
                    sys.exit(2)
            ports.check_metrics(parsed)
            ports.check_page(parsed)
            ports.choose_port(parsed)
        vars(parsed).update(last_form)
        return parsed

    return parse_and_check


def explain_exit(leave: Callable[..., None]) -> Callable[..., None]:
    """Return `leave`, argparse's exit, which prints an error as one line that says where the flags are listed."""

    def leave_in_one_line(status: int = 0, message: str | None = None) -> None:
        hint = f"(all flags: --flags, or {PAGE})"
        leave(status, f"{one_line(message)} {hint}\n" if status and message else message)

    return leave_in_one_line
