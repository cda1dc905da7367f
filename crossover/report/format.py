"""How numbers and arms are written in tables, on the terminal and on the page: few digits, a dash where none is known.

Ratios have one form everywhere, that of common.figures.
"""

import re
from collections.abc import Iterable, Sequence
from math import isfinite

from markupsafe import Markup, escape

from common.figures import NOISE, significant
from loadgen.samples.early_stopping import required_requests

P99_NEEDS = required_requests(99)
P95_NEEDS = required_requests(95)
"""Requests below which a p99, or a p95, is shown in brackets: too few to bound it with 99 % confidence."""
BRACKETS = f"( ): too few answers for it (p95 takes {P95_NEEDS}, p99 {P99_NEEDS})"
"""What the brackets mean, for a legend of tables with both percentiles."""

SHOWN = 0.01
"""ms: the last digit that `ms` writes."""


def ms(value: float | None) -> str:
    """Write milliseconds for a column of the terminal: two decimals below 10, one below 100, none above."""
    if value is None or not isfinite(value):
        return "-"
    value = 0.0 if abs(value) < NOISE else value
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def stage_time(value: float | None) -> float | None:
    """Return a stage's ms as they are shown: None where two clocks counted one time, so that less than 0 is left."""
    if value is None or value < -SHOWN / 2:
        return None
    return max(0.0, value)


def kb(size: float | None) -> str:
    """Write bytes as kilobytes (1000 bytes), with one decimal."""
    return f"{size / 1e3:.1f}" if size is not None and isfinite(size) else "-"


def percent(share: float) -> str:
    """Write a share of a whole, 0 to 1, in whole per cent: `93 %`."""
    return f"{share * 100:.0f} %"


def bracketed(value: float | None, requests: int, valid: bool = True, needs: int = P99_NEEDS) -> str:
    """Write a percentile in ms: in brackets if it is of fewer requests than it needs, with `!` if it is INVALID."""
    text = ms(value) if requests >= needs else f"({ms(value)})"
    return text + ("" if valid else "!")


def listed(cores: Sequence[int]) -> str:
    """Write core numbers, `0,1,3`; `unknown` for none, as of a server on another machine."""
    return ",".join(map(str, cores)) or "unknown"


def number(value: float | None) -> str:
    """Write a number for the page: about three digits, whole numbers in full, thousands apart."""
    if value is None or not isfinite(value):
        return "–"
    size = abs(value)
    if NOISE <= size < 0.01:
        return significant(value, 1)
    value = 0 if size < NOISE else value
    return f"{value:,.{0 if size >= 100 or not value else 1 if size >= 10 else 2}f}"


def tied(text: str) -> Markup:
    """Join units to their numbers, figures to their intervals, and `--` to an option: no line breaks there.

    Returns the text escaped, as options are marked up.
    """
    joined = re.sub(r" (\[[^][ ]+,) ([^][ ]+\])", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}\\2", text)
    joined = re.sub(r"(?<=\d) (?=(%|ms|s|min|KB|MB|GB)(?!\w))", "\N{NO-BREAK SPACE}", joined)
    return Markup(re.sub(r"\(?--[\w-]+\)?", r'<span class="tied">\g<0></span>', str(escape(joined))))


def label_arms(arms: Iterable[str], workload: bool = False) -> dict[str, str]:
    """Return arm -> its label, which says only what tells these arms apart.

    Args:
        arms: Names of arms as `loadgen.arm.Arm` writes them: `image client async:1`, a control's name behind it.
        workload: Whether the workload stays even where all arms have the same.

    The workload and the client's mode are left out where all arms have the same: `client`, not `image client async:1`.
    """
    parts = {arm: arm.split(" ") for arm in arms}
    whole = all(len(each) > 2 for each in parts.values())
    keeps_workload = workload or not whole or len({each[0] for each in parts.values()}) > 1
    keeps_mode = not whole or len({each[2] for each in parts.values()}) > 1
    kept = [keeps_workload, True, keeps_mode]
    return {
        arm: " ".join(part for part, shown in zip(each, kept + [True] * len(each), strict=False) if shown)
        for arm, each in parts.items()
    }
