"""Tables and colours of what is printed, by rich: numbers at the right, never wider than the terminal.

A column that does not fit is left to the report, and a line below the table names it. Where the output is no terminal
there are no colours, and the width is $COLUMNS or 80; NO_COLOR turns colours off everywhere.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from rich.console import Console, JustifyMethod
from rich.highlighter import RegexHighlighter
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

UNBOUNDED = 10_000
"""Characters: wider than any table."""
LEGIBLE = 21
"""Characters that a column whose cells go on in a second line has at least, if it needs as many."""
THEME = Theme({"word.invalid": "bold red", "word.better": "green"})


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    left: bool = False
    """Whether it holds text, and so is aligned left."""
    wraps: bool = False
    """Whether its cells may go on in a second line, within the column."""
    rank: int = 0
    """The columns of the highest rank go first where the terminal is too narrow; 0: it always stays."""


class Verdicts(RegexHighlighter):
    """Colours what must not be overlooked, INVALID and `!` at a figure, and which arm is better."""

    base_style = "word."
    highlights = (r"(?P<invalid>\bINVALID\b|(?<=[\d)])!)", r"(?P<better>\S+ better\b)")


def draw_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return the table as plain text, a line per row, and below it a line that names the columns left out."""
    width, left_out = shutil.get_terminal_size().columns, set[Column]()
    console = Console(file=StringIO(), width=UNBOUNDED, color_system=None)
    while True:
        shown = [i for i, column in enumerate(columns) if column not in left_out]
        table = make_table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows])
        narrowest = Measurement.get(console, console.options, table).minimum
        optional = [columns[i] for i in shown if columns[i].rank]
        if narrowest <= width or not optional:
            break
        left_out |= {column for column in optional if column.rank == max(each.rank for each in optional)}
    console = Console(file=(drawn := StringIO()), width=max(width, narrowest), color_system=None)
    console.print(table)
    lines = [line.rstrip() for line in drawn.getvalue().splitlines()]
    if left_out:
        titles = ", ".join(column.title for column in columns if column in left_out)
        lines.append(f"(The report also has: {titles}.)")
    return "\n".join(lines)


def make_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    """Make rich's table: no lines, two spaces between columns."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="")
    for i, column in enumerate(columns):
        widest = max(map(len, (column.title, *(row[i] for row in rows))))
        least = min(LEGIBLE, widest) if column.wraps else widest
        justify: JustifyMethod = "left" if column.left else "right"
        table.add_column(
            Text(column.title), justify=justify, no_wrap=not column.wraps, min_width=least, overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def colour(text: str) -> str:
    """Return the text with its verdicts coloured, if it goes to a terminal that shows colours; else as it is."""
    console = Console(file=(drawn := StringIO()), force_terminal=sys.stdout.isatty() or None, theme=THEME)
    if not console.is_terminal or console.no_color or not console.color_system:
        return text
    console.print(Verdicts()(Text(text)), soft_wrap=True, end="")
    return drawn.getvalue()
