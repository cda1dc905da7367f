"""Give every run a port of its own between Locust's master and the workers that it forks.

Locust takes 5557 for all: of two runs on one machine the second one ended, and its workers worked for the first.
"""

import socket
import sys
from argparse import ArgumentParser, Namespace

DEFAULT = 5557  # Locust's, of --master-bind-port and --master-port
LOOPBACK = "127.0.0.1"
_chosen = False  # Locust parses its command line again for the web form, when the master listens already


def listen_on_loopback(parser: ArgumentParser) -> None:
    """Make loopback the default on which a master waits for its workers, and let it listen where nobody else does."""
    parser.set_defaults(master_bind_host=LOOPBACK)
    parse = parser.parse_args

    def parse_and_choose(*arguments, **options) -> Namespace:
        parsed = parse(*arguments, **options)
        if (parsed.master or parsed.processes) and not parsed.worker and not _chosen:
            choose_port(parsed)
        return parsed

    setattr(parser, "parse_args", parse_and_choose)  # noqa: B010  # a method, for mypy


def choose_port(options: Namespace) -> None:
    """Choose a free port for a master that forks its workers, unless the options name a port or let others join.

    Exits with code 2, and one line, if the master cannot listen.
    """
    global _chosen
    _chosen = True
    host, ports = options.master_bind_host, (options.master_bind_port, options.master_port)
    takes_any = options.processes and host == LOOPBACK and ports == (DEFAULT, DEFAULT)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host == "*" else host, 0 if takes_any else options.master_bind_port))
        except (OSError, OverflowError) as error:
            why = str(getattr(error, "strerror", None) or error).lower()
            print(f"Locust's master cannot listen on {host}:{options.master_bind_port}: {why}", file=sys.stderr)
            sys.exit(2)
        if takes_any:
            options.master_bind_port = options.master_port = probe.getsockname()[1]
