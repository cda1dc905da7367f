"""Makes the page of what a run left: `python -m benchmarks.gpu.results gpu`.

What people wrote under "Surprises" stays.
"""

import sys
from pathlib import Path

from benchmarks.gpu.page import BEGIN, END, NOTHING, write_page
from benchmarks.gpu.reading import Left
from common import atomic_write
from loadgen import command
from serving import ROOT
from serving.__main__ import Parser

PAGE = ROOT / "docs" / "results-gpu.md"


def main(arguments: list[str] | None = None) -> int:
    """Write the page; returns 2 where the folder has no figures."""
    parser = Parser(prog="python -m benchmarks.gpu.results", description="Makes docs/results-gpu.md.")
    parser.add_argument("directory", type=Path, help="what `python -m benchmarks.gpu --output` was given")
    parser.add_argument("--page", type=Path, default=PAGE, help="default: docs/results-gpu.md")
    options = parser.parse_args(arguments)
    try:
        left = Left.read(options.directory)
        if not left.of("run"):
            raise ValueError(f"{options.directory} holds no run of python -m benchmarks.gpu")
        atomic_write.write(options.page, write_page(left, keep_surprises(options.page)))
    except (OSError, ValueError) as error:
        print(f"benchmarks.gpu.results: {error}", file=sys.stderr)
        return 2
    print(f"the page: {options.page}")
    return 0


def keep_surprises(page: Path) -> str:
    """Return what an existing page has between the markers; NOTHING if there is none."""
    text = page.read_text() if page.exists() else ""
    between = text.partition(BEGIN)[2].partition(END)[0].strip()
    return between or NOTHING


if __name__ == "__main__":
    sys.exit(command.run(main))
