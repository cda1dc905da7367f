"""Makes texts of exceptions and of servers fit to be shown: one line, without addresses in memory."""

import re

LONGEST = 200  # characters of a reason: one is kept with every sample


def one_line(error: object) -> str:
    """Return the whole text in one line.

    `<_io.BytesIO object at 0x7f3a...>` becomes `<_io.BytesIO object>`: with the address in memory, the same failure
    would have another reason each time.
    """
    return " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", str(error)).split())


def first_line(text: object) -> str:
    """Return the first line that is not empty, cut to LONGEST: the reason that is kept with a sample."""
    lines = str(text).strip().splitlines()
    return one_line(lines[0])[:LONGEST] if lines else ""
