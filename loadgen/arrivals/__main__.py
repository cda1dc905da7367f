"""Show a schedule before it is offered: its figures, its plot, and a file of its due times.

Usage:

    python -m loadgen.arrivals gamma:rate=20,cv=3 --seconds 60 --seed 1 --save arrivals.csv
"""

import argparse
import re
import sys
from pathlib import Path

from loadgen import arrivals, command
from loadgen.arrivals import traces
from loadgen.arrivals.describe import describe, draw
from loadgen.arrivals.schedule import Schedule


def main() -> None:
    """Print a schedule's figures, and draw and save it as asked; exit with 2 for a specification that is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m loadgen.arrivals", description="Show a schedule before it is offered."
    )
    parser.add_argument("spec", help="e.g. " + ", ".join(arrivals.EXAMPLES.values()))
    parser.add_argument("--seconds", type=float, default=60, help="length of the schedule (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the schedule (default: %(default)s)")
    parser.add_argument(
        "--plot", metavar="PNG", help="file of the plot; '' for none; default: one in reports/arrivals/"
    )
    parser.add_argument("--save", metavar="FILE", help="save the due times, to be replayed by trace:file=FILE")
    options = parser.parse_args()
    try:
        schedule = arrivals.parse(options.spec).schedule(options.seconds, options.seed)
        if schedule.note and not len(schedule):
            raise ValueError(f"arrivals {schedule.spec!r}: none within {schedule.seconds:g} s; {schedule.note}")
        print(describe(schedule))
        if options.save:
            traces.save(schedule, Path(options.save))
            print(f"saved as {options.save}")
        if options.plot != "":
            path = Path(options.plot or f"reports/arrivals/{make_file_name(schedule)}.png")
            draw(schedule, path)
            print(f"drawn in {path}")
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    except OSError as error:
        parser.exit(2, f"cannot write {error.filename or 'the file'}: {error.strerror}\n")


def make_file_name(schedule: Schedule) -> str:
    """Return a file name, without suffix, that names specification, length and seed."""
    name = re.sub(r"[^\w.]+", "-", schedule.spec)[:100]
    return f"{name}-{schedule.seconds:g}s-seed{schedule.seed}"


if __name__ == "__main__":
    sys.exit(command.run(main))
