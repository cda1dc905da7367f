"""The tables of the client modes for the terminal: every condition, and every contrast between two of them."""

from collections.abc import Mapping

from common.figures import significant
from crossover.experiments.client_modes.conclusion import times, verdict
from crossover.report.format import ms
from crossover.report.terminal import Column, colour, draw_table

LEGEND = "Times are ms from the due time, [ ]: 95 % interval; --explain says more."
EXPLANATION = """\
client       sequential: one request at a time; threads:N: N at a time; async:N: N preprocess, any number is in flight
arrivals     uniform: gaps from 0.5 to 1.5 of the mean; random phase, synchronised: 16 cameras; all of one mean rate
p50, tail    ms from the due time, of all rounds together; [ ] is a 95 % interval, by bootstrap over rounds
ratio        first / second, paired by rounds, both under Poisson arrivals unless the row names them: more or less,
             if the 95 % interval says so and it is over 5 % off; equivalent, if all of the interval is within 5 %
errors       arrivals without a good answer
INVALID      so many of the condition's trials are (they are counted in: a naive client may fall behind)"""


def text(result: Mapping, explain: bool = False) -> str:
    """Write the tables of each workload and the conclusion, for the terminal.

    `explain` adds what their columns mean; else a line says where that is found.
    """
    tables = [workload_table(name, found) for name, found in result["workloads"].items()]
    legend = EXPLANATION if explain else LEGEND
    return colour("\n\n".join(filter(None, [*tables, "\n".join(result["conclusion"]), legend])))


def workload_table(name: str, found: Mapping) -> str:
    """Write a line per condition and a line per contrast, for the terminal.

    `found` is a workload of study.json; its `rate` is per second and the same in all conditions, `tail` is the
    percentile beside the median.
    """
    tail = f"p{found['tail']}"
    conditions = draw_table(
        (
            Column("placement", left=True),
            Column("client", left=True),
            Column("arrivals", left=True),
            Column("p50"),
            Column("p50 interval", left=True, rank=1),
            Column(tail),
            Column(f"{tail} interval", left=True, rank=2),
            Column("errors"),
            Column("INVALID"),
        ),
        [
            (
                *(row[key] for key in ("placement", "mode", "arrivals")),
                *(cell for key in ("p50", "tail") for cell in (ms(row[key]["value"]), ends(row[key]))),
                str(row["errors"]),
                str(row["invalid"] or "-"),
            )
            for row in found["conditions"]
        ],
    )
    contrasts = draw_table(
        (
            Column("ratio, Poisson unless said", left=True, wraps=True),
            Column("placement", left=True),
            Column("p50", left=True, wraps=True),
            Column(tail, left=True, wraps=True),
        ),
        [
            (each["question"], each["placement"], *(f"{times(each[k])} {verdict(each[k])}" for k in ("p50", "tail")))
            for each in found["contrasts"]
        ],
    )
    return f"{name}: {significant(found['rate'])}/s in all conditions\n{conditions}\n\n{contrasts}"


def ends(figure: Mapping) -> str:
    """Write the interval of a latency in ms: `[80.0, 95.0]`; empty without one."""
    return "" if figure["low"] is None else f"[{ms(figure['low'])}, {ms(figure['high'])}]"
