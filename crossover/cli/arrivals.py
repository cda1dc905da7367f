"""`crossover arrivals`: a schedule before it is offered: its figures, its plot, and a file of its due times."""

import json
import re
from pathlib import Path

import click

import arrivals as processes
from arrivals import traces
from arrivals.schedule import Schedule
from crossover.cli import options
from crossover.report.schedule import compute_figures, describe, draw


@click.command()
@click.argument("spec")
@click.option("--seconds", type=float, default=60, show_default=True, help="Length of the schedule.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same schedule.")
@click.option("--plot", metavar="PNG", help="File of the plot; default: one in reports/arrivals/.")
@click.option("--no-plot", is_flag=True, help="Draw nothing.")
@click.option("--save", metavar="FILE", help="Save the due times, to be replayed by trace:file=FILE.")
@options.as_json
def arrivals(
    spec: str, seconds: float, seed: int, plot: str | None, no_plot: bool, save: str | None, as_json: bool
) -> int:
    """Show a schedule of arrivals before it is sent: its figures and its plot.

    SPEC is written as for every command's --arrivals: poisson:rate=20, gamma:rate=20,cv=3, trace:file=requests.csv. A
    wrong one is answered with all kinds that there are.
    """
    with options.usage_errors():
        if plot and no_plot:
            raise ValueError("--plot and --no-plot contradict each other; leave one out")
        schedule = processes.parse(spec).schedule(seconds, seed)
        if schedule.note and not len(schedule):
            raise ValueError(f"arrivals {schedule.spec!r}: none within {schedule.seconds:g} s; {schedule.note}")
        done = []
        try:
            if save:
                traces.save(schedule, Path(save))
                done.append(f"saved as {save}")
            if not no_plot and (plot or not as_json):
                path = Path(plot or f"reports/arrivals/{make_file_name(schedule)}.png")
                draw(schedule, path)
                done.append(f"drawn in {path}")
        except OSError as error:
            raise ValueError(f"cannot write {error.filename or 'the file'}: {error.strerror}") from None
    print(json.dumps(compute_figures(schedule), indent=1) if as_json else "\n".join([describe(schedule), *done]))
    return 0


def make_file_name(schedule: Schedule) -> str:
    """Return a file name, without suffix, that names specification, length and seed."""
    name = re.sub(r"[^\w.]+", "-", schedule.spec)[:100]
    return f"{name}-{schedule.seconds:g}s-seed{schedule.seed}"
