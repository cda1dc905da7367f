"""The ports that Locust listens on: its page's must be free, and its master's is one of the run's own.

Locust shows a traceback where the page's port is taken, and takes 5557 for every master: of two runs on one machine the
second one ended, and its workers worked for the first.
"""

import socket
import sys
from argparse import Namespace

from loadgen.metrics.exporter import LOOPBACK

DEFAULT = 5557  # Locust's, of --master-bind-port and --master-port


def check_page(options: Namespace) -> None:
    """Exit with code 2, and one line, if Locust has a page and cannot listen on its port."""
    if not options.worker and (options.headful or not options.headless):
        check_port(options.web_host, options.web_port, "page", "; choose another with --web-port")


def check_metrics(options: Namespace) -> None:
    """Exit with code 2, and one line, if metrics are asked for that cannot be served."""
    if not options.metrics_port:
        return
    if options.worker:
        print("--metrics-port is the master's: it counts what all of its workers do", file=sys.stderr)
        sys.exit(2)
    if options.metrics_port == options.web_port and not (options.headless and not options.headful):
        print(f"--metrics-port and --web-port must differ, not both be {options.web_port}", file=sys.stderr)
        sys.exit(2)
    check_port(options.metrics_host, options.metrics_port, "page of metrics", "; choose another with --metrics-port")


def choose_port(options: Namespace) -> None:
    """Choose a free port for a master that forks its workers, unless the options name a port or let others join.

    Exits with code 2, and one line, if the master cannot listen.
    """
    if options.worker or not (options.master or options.processes):
        return
    host, ports = options.master_bind_host, (options.master_bind_port, options.master_port)
    if options.processes and host == LOOPBACK and ports == (DEFAULT, DEFAULT):
        options.master_bind_port = options.master_port = check_port(host, 0, "master")
    else:
        check_port(host, options.master_bind_port, "master")


def check_port(host: str, port: int, who: str, change: str = "") -> int:
    """Return the port that `who` can listen on, which is a free one for port 0; exit with code 2 if there is none."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host == "*" else host, port))
        except (OSError, OverflowError) as error:
            why = str(getattr(error, "strerror", None) or "a port is a number from 0 to 65535").lower()
            print(f"Locust's {who} cannot listen on {host}:{port}: {why}{change}", file=sys.stderr)
            sys.exit(2)
        return probe.getsockname()[1]
