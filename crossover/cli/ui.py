"""`crossover ui`: a page on this machine that lists past runs and compares two of them."""

from pathlib import Path

import click

from crossover.cli import options


@click.command()
@options.reports
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Where; 0: a free port.")
def ui(reports: str, port: int) -> int:
    """Show past runs on a page of this machine: their verdicts, their reports, and two beside each other.

    It lists what lies in --reports: machine, revision, arms, validity and verdict of each run, Locust's included. Two
    comparisons, or two runs of Locust's, are compared as `crossover report A B` does. The page changes nothing and
    answers to this machine only; Ctrl-C ends it.
    """
    from crossover.ui.app import LOOPBACK, open_server  # takes Flask along, and what reads every kind of run

    with options.usage_errors():
        if not Path(reports).is_dir():
            raise ValueError(f"{reports} is no directory; --reports names the one that has the runs")
        server = open_server(Path(reports), port)
    print(f"http://{LOOPBACK}:{server.port} shows the runs in {reports}; Ctrl-C ends it", flush=True)
    server.serve_forever()
    return 0
