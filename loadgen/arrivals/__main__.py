"""Look at a schedule before it is offered: its figures, its plot, a file of its due times."""

import argparse
import re
from pathlib import Path

from loadgen import arrivals
from loadgen.arrivals import traces
from loadgen.arrivals.describe import describe, draw
from loadgen.arrivals.schedule import Schedule


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadgen.arrivals", description="Look at a schedule.")
    parser.add_argument("spec", help="e.g. " + ", ".join(arrivals.EXAMPLES.values()))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", metavar="PNG", help="where to draw it; '' for nowhere; default in reports/arrivals/")
    parser.add_argument("--save", metavar="FILE", help="write it down, to be replayed by trace:file=FILE")
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
            path = Path(options.plot or f"reports/arrivals/{slug(schedule)}.png")
            draw(schedule, path)
            print(f"drawn in {path}")
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    except OSError as error:
        parser.exit(2, f"cannot write {error.filename or 'it'}: {error.strerror}\n")


def slug(schedule: Schedule) -> str:
    name = re.sub(r"[^\w.]+", "-", schedule.spec)[:100]
    return f"{name}-{schedule.seconds:g}s-seed{schedule.seed}"


if __name__ == "__main__":
    main()
