"""The experiment of the original project: does it matter how the client works, and how the requests arrive?

    python -m loadgen.study image audio --seconds 1800

Naive sequential, threaded and asynchronous clients, with 1, 2, 4, ... workers, are offered uniform and Poisson arrivals
of the same mean rate; and, the video question, the same rate as 16 cameras of random phase and as 16 synchronised ones.
In rounds: each holds every condition once, in an order drawn anew, and every client gets the same arrivals. Everything
lies in reports/<time>-study/: the blocks, study.json, study.png; `--again DIR` makes the latter two from the blocks.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from loadgen import blocks, bootstrap, table
from loadgen.arms import PLACEMENTS, Arm, Mode
from loadgen.arrivals import Arrivals, Poisson, Uniform, Video, parse
from loadgen.blocks import Block
from loadgen.capacity import CAMERAS
from loadgen.experiment import Experiment, checked, conducted, exactly, flags
from loadgen.measure import measure
from loadgen.plots import plain
from loadgen.progress import Progress
from loadgen.summary import needed
from loadgen.workloads import WORKLOADS, Workload

UTILISATION = 0.7  # as in loadgen.bench: of what the slower sequential placement could do at the very most
SHARE = {"image": 0.4, "audio": 0.6}  # of the time
TAILS = (99, 95, 90)  # the highest is reported for which the requests of a condition suffice
CONFIDENCE = 0.95
SMALL = 0.05  # a ratio closer to 1 counts as no difference: of so many intervals some miss 1 by chance
FRAMES = 2  # of each camera in a block, at least: one frame each of random phase would be Poisson arrivals
OVERHEAD = 1.0  # seconds a block takes beyond its schedule

LAWS: dict[str, Callable[[float], Arrivals]] = {
    "uniform": lambda rate: Uniform(0.5 / rate, 1.5 / rate),
    "Poisson": Poisson,
    "random phase": lambda rate: Video(CAMERAS, rate / CAMERAS, "random"),
    "synchronised": lambda rate: Video(CAMERAS, rate / CAMERAS, "synchronised"),
}
VIDEO = tuple(LAWS)[2:]
COLOURS = dict(zip(LAWS, ("#009e73", "#8e44ad", "#e69f00", "#222222"), strict=True))
MARKS = {"marker": "o"}, {"marker": "^", "markerfacecolor": "white"}  # of p50, of the tail
THINGS = {"image": "photographs", "audio": "speech"}

LEGEND = """\
client       sequential: one request at a time; threads:N: N at a time; async:N: N preprocess, any number is in flight
arrivals     uniform: gaps from 0.5 to 1.5 of the mean; random phase, synchronised: 16 cameras; all of one mean rate
p50, tail    ms from the due time, of all rounds together; in brackets 95 % intervals, by bootstrap over rounds
times        first / second, paired by rounds; no difference found: the 95 % interval holds 1, or it is under 5 % off
err          arrivals without a good answer
!            so many of the condition's blocks are INVALID (they are counted in: a naive client may fall behind)"""


def clients(cores: int) -> list[Mode]:
    """1, 2, 4, ... workers up to the cores, but at least 2. One thread is the sequential client."""
    counts = [2**power for power in range(max(2, cores).bit_length())]
    return [
        Mode("sequential"),
        *(Mode("threads", count) for count in counts[1:]),
        *(Mode("async", count) for count in counts),
    ]


def reference(cores: int) -> Mode:
    """The client that others are compared with, and that is sent video: asynchronous, with a worker per core."""
    return Mode("async", 2 ** (cores.bit_length() - 1))


def law(block: Block) -> str:
    """Under which name its arrivals are shown."""
    process = parse(block.arrivals)
    if isinstance(process, Video):
        return "random phase" if process.phase == "random" else "synchronised"
    return type(process).__name__.replace("Uniform", "uniform")


class Study(Experiment):
    def __init__(self, options):
        super().__init__(options, "study")
        self.progress = Progress()

    def run(self) -> None:
        self.begin()
        for name in self.options.workloads:
            self.workload(WORKLOADS[name])
        self.described["complete"] = True
        self.write({})

    def conditions(self, workload: Workload) -> list[tuple[Arm, str]]:
        """Every client under uniform and Poisson arrivals, and an asynchronous one that is sent video."""
        n = len(self.cores)
        modes = [(mode, name) for mode in clients(n) for name in ("uniform", "Poisson")]
        modes += [(reference(n), name) for name in VIDEO]
        library = self.library(workload)
        return [(Arm(workload, placement, mode, library), name) for placement in PLACEMENTS for mode, name in modes]

    def workload(self, workload: Workload) -> None:
        options, name = self.options, workload.name
        means = self.back_to_back(workload)
        rate = options.rate or float(f"{UTILISATION / max(means.values()):.2g}")
        conditions = self.conditions(workload)
        share = options.seconds * SHARE[name] / sum(SHARE[each] for each in options.workloads)
        seconds = share / options.rounds / len(conditions) - OVERHEAD
        n = CAMERAS * max(FRAMES, int(seconds * rate / CAMERAS))
        about = options.rounds * len(conditions) * (n / rate + OVERHEAD)
        print(
            f"{name}: {rate:g}/s, {options.rounds} rounds of {len(conditions)} conditions with {n} requests each;"
            f" about {about / 60:.2g} min",
            flush=True,
        )
        self.described["workloads"][name] = {
            "back_to_back_seconds": means,
            "rate": rate,
            "requests": n,
            "rounds": options.rounds,
            "library": conditions[0][0].chosen,
            "payloads": [payload.name for payload in self.sent[name]],
        }
        self.write({})
        self.progress.begin(options.rounds * len(conditions), 0, n / rate + OVERHEAD)
        for turn in range(1, options.rounds + 1):
            seed = options.seed + turn - 1
            for arm, arrivals in random.Random(f"{name} {seed}").sample(conditions, len(conditions)):
                self.progress.now(f"{name} round {turn}/{options.rounds}: {arm}, {arrivals}")
                path = self.directory / name / f"{arm.slug}-{arrivals.replace(' ', '-')}" / f"round-{turn:02}"
                schedule = exactly(LAWS[arrivals], rate, n, seed)
                measure(self.server, arm, schedule, self.sent[name], path, len(self.cores), turn)
        self.progress.end()


# What it comes to ------------------------------------------------------------------------------------------------

Key = tuple[str, str, str]
"""A condition: (placement, client, arrivals)."""


def conditions(measured: Sequence[Block]) -> dict[Key, dict[int, Block]]:
    """The whole blocks of each condition, by round; in the order of the tables."""
    found: dict[Key, dict[int, Block]] = {}
    for block in measured:
        if block.facts["complete"]:
            found.setdefault((block.placement, block.mode, law(block)), {})[block.round] = block
    kinds, laws = ("sequential", "threads", "async"), tuple(LAWS)

    def place(key: Key) -> tuple:
        kind, _, workers = key[1].partition(":")
        return key[0], laws.index(key[2]) // 2, kinds.index(kind), int(workers or 1), laws.index(key[2])

    return {key: dict(sorted(found[key].items())) for key in sorted(found, key=place)}


def interval(first: Sequence[np.ndarray] | None, second: Sequence[np.ndarray], q: float) -> dict:
    """A percentile of `second` over that of `first` (over 1, if it is None), of all rounds together; its interval."""

    def pooled(latencies: Sequence[np.ndarray]) -> float:
        return float(np.percentile(np.concatenate(latencies), q))

    rounds, value = len(second), pooled(second) / (pooled(first) if first else 1)
    low = high = float("nan")
    if rounds >= bootstrap.least(CONFIDENCE):
        other = bootstrap.Pool(first).percentile(q) if first else lambda weights: np.ones(len(weights))
        low, high = bootstrap.interval(other, bootstrap.Pool(second).percentile(q), rounds, CONFIDENCE, seed=1)
    return {"value": value, "low": low if np.isfinite(low) else None, "high": high if np.isfinite(high) else None}


def contrasts(cores: int) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """Question -> what is compared with what: (client, arrivals) each, within a placement."""
    best, modes = str(reference(cores)), [str(mode) for mode in clients(cores)]
    threads, most, one = [mode for mode in modes if mode.startswith("threads")][-1], modes[-1], "async:1"
    return {
        f"sequential / {best}": (("sequential", "Poisson"), (best, "Poisson")),
        f"{threads} / {best}": ((threads, "Poisson"), (best, "Poisson")),
        f"{most} / {one}": ((most, "Poisson"), (one, "Poisson")),
        f"Poisson / uniform, {best}": ((best, "Poisson"), (best, "uniform")),
        "Poisson / uniform, sequential": (("sequential", "Poisson"), ("sequential", "uniform")),
        f"random phase / Poisson, {best}": ((best, "random phase"), (best, "Poisson")),
        f"synchronised / Poisson, {best}": ((best, "synchronised"), (best, "Poisson")),
    }


def evaluate(run: dict, measured: Sequence[Block]) -> dict:
    """The content of study.json."""
    result = {"workloads": {}}
    for name, described in run["workloads"].items():
        found = conditions([block for block in measured if block.workload == name])
        found = {key: each for key, each in found.items() if any(block.completed for block in each.values())}
        if not found:
            continue
        fewest = min(sum(block.completed for block in each.values()) for each in found.values())
        tail = next((q for q in TAILS if fewest >= needed(q)), TAILS[-1])
        rows = []
        for (placement, client, arrivals), each in found.items():
            latencies = [block.latency for block in each.values()]
            rows.append(
                {
                    "placement": placement,
                    "client": client,
                    "arrivals": arrivals,
                    "p50": interval(None, latencies, 50),
                    "tail": interval(None, latencies, tail),
                    "requests": sum(map(len, latencies)),
                    "rounds": len(each),
                    "errors": sum(block.scheduled - block.completed for block in each.values()),
                    "invalid": sum(not block.valid for block in each.values()),
                }
            )
        compared = []
        for question, (first, second) in contrasts(len(run["cores"]["client"])).items():
            for placement in PLACEMENTS:
                one, other = found.get((placement, *first), {}), found.get((placement, *second), {})
                if both := sorted(set(one) & set(other)):
                    pair = [other[turn].latency for turn in both], [one[turn].latency for turn in both]
                    ratios = {"p50": interval(*pair, 50), "tail": interval(*pair, tail)}
                    compared.append({"question": question, "placement": placement, **ratios})
        result["workloads"][name] = {"rate": described["rate"], "tail": tail, "conditions": rows, "contrasts": compared}
    result["conclusion"] = conclusion(result["workloads"])
    return result


def verdict(ratio: dict) -> str:
    """`more` or `less`, if the interval says so and it is worth speaking of."""
    if ratio["low"] is None:
        return "too few rounds"
    if abs(ratio["value"] - 1) < SMALL or ratio["low"] <= 1 <= ratio["high"]:
        return "no difference found"
    return "more" if ratio["value"] > 1 else "less"


def conclusion(workloads: dict) -> list[str]:
    """At most five sentences, of the placement of the original project: the client's."""
    subjects = (
        ("sequential /", "Sending one request at a time, instead of asynchronously,"),
        ("threads:", "Threads that wait for their answers ({}), instead of asynchronous sending,"),
        ("async:", "More workers that preprocess ({} instead of {})"),
        ("Poisson / uniform, async", "Poisson arrivals, instead of uniform ones of the same mean rate,"),
    )
    sentences = []
    for begins, subject in subjects:
        if told := within(workloads, begins):
            question = next(iter(told.values()))[1]["question"]
            sentences.append(f"{subject.format(*question.split(' / '))} {effect(told)}.")
    cameras, together = within(workloads, "random phase"), within(workloads, "synchronised")
    if cameras and together:
        sentences.append(
            f"Video of {CAMERAS} cameras of random phase, instead of Poisson arrivals, {effect(cameras)}, and "
            f"of synchronised ones {effect(together)}."
        )
    return sentences


def within(workloads: dict, begins: str) -> dict[str, tuple[int, dict]]:
    """Workload -> (its tail, the client's contrast whose question begins so)."""
    return {
        name: (found["tail"], contrast)
        for name, found in workloads.items()
        for contrast in found["contrasts"]
        if contrast["question"].startswith(begins) and contrast["placement"] == "client"
    }


def effect(told: dict[str, tuple[int, dict]]) -> str:
    found, none = [], []
    for name, (tail, contrast) in told.items():
        verdicts = {metric: verdict(contrast[metric]) for metric in ("p50", "tail")}
        if "too few rounds" in verdicts.values():
            return "cannot be judged from so few rounds"
        apart = [metric for metric, said in verdicts.items() if said != "no difference found"]
        found += [
            f"the {metric.replace('tail', f'p{tail}')} of {THINGS[name]} {times(contrast[metric])}" for metric in apart
        ]
        none += [] if apart else [THINGS[name]]
    if not found:
        return f"made no difference that was found for {' or '.join(none)}"
    return f"made {', '.join(found)}" + (f", and no difference that was found for {' or '.join(none)}" if none else "")


def times(ratio: dict) -> str:
    """1.32 x (1.1 to 1.5)"""
    if ratio["low"] is None:
        return f"{ratio['value']:.2f} ×"
    return f"{ratio['value']:.2f} × ({ratio['low']:.2f} to {ratio['high']:.2f})"


# How it is shown -------------------------------------------------------------------------------------------------


def text(name: str, found: dict) -> str:
    """The tables of a workload."""
    tail = f"p{found['tail']}"
    lines = [
        f"{name}: {found['rate']:g}/s in all conditions",
        f"{'placement':<10} {'client':<12} {'arrivals':<14} {'p50':>7} {'':<17} {tail:>7} {'':<17} {'err':>4}",
    ]
    for row in found["conditions"]:
        cells = " ".join(f"{table.ms(row[key]['value']):>7} {ends(row[key]):<17}" for key in ("p50", "tail"))
        bad = f" {row['invalid']}!" if row["invalid"] else ""
        lines.append(
            f"{row['placement']:<10} {row['client']:<12} {row['arrivals']:<14} {cells} {row['errors']:>4}{bad}"
        )
    lines += ["", f"{'times':<34} {'placement':<10} {'p50':<23} {tail:<23}"]
    for each in found["contrasts"]:
        cells = "  ".join(f"{times(each[key]):<21}" for key in ("p50", "tail"))
        said = " and ".join(dict.fromkeys(verdict(each[key]) for key in ("p50", "tail")))
        lines.append(f"{each['question']:<34} {each['placement']:<10} {cells}  {said}")
    return "\n".join(lines)


def ends(figure: dict) -> str:
    return "" if figure["low"] is None else f"({table.ms(figure['low'])} to {table.ms(figure['high'])})"


def plot(result: dict, path: Path) -> None:
    """A row per workload, a column per placement; p50 and tail of every client under every law."""
    workloads = result["workloads"]
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid.axis": "y"}
    with rc_context({**style, "axes.grid": True, "grid.color": "#dddddd", "axes.axisbelow": True}):
        figure = Figure((11, 0.9 + 3.3 * len(workloads)), layout="constrained")
        grid = figure.subplots(len(workloads), 2, sharey="row", squeeze=False)
        for (name, found), row in zip(workloads.items(), grid, strict=True):
            for placement, axes in zip(PLACEMENTS, row, strict=True):
                own = [each for each in found["conditions"] if each["placement"] == placement]
                panel(axes, own)
                axes.set_title(
                    f"{THINGS[name]}, {found['rate']:g}/s, preprocessed by the {placement}", loc="left", fontsize=11
                )
            values = [each[key]["value"] for each in found["conditions"] for key in ("p50", "tail")]
            row[0].set(yscale="log", ylabel=f"p50 and p{found['tail']}, ms from the due time")
            plain(row[0].yaxis, min(values), max(values))
        marks = [axes.plot([], [], "o", color=colour, label=law)[0] for law, colour in COLOURS.items()]
        for mark, label in zip(MARKS, ("p50", "p90, p95 or p99"), strict=True):
            marks += axes.plot([], [], color="#777777", linestyle="", label=label, **mark)
        figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), frameon=False, columnspacing=1.2)
        figure.supxlabel("every condition at the same mean rate; bars: 95 % intervals, over rounds", fontsize=9)
        figure.savefig(path, dpi=130)


def panel(axes, own: Sequence[dict]) -> None:
    """One workload and placement: a place on the axis per client, and one for the cameras."""
    groups = list(dict.fromkeys((row["client"], row["arrivals"] in VIDEO) for row in own))
    for place, group in enumerate(groups):
        rows = [row for row in own if (row["client"], row["arrivals"] in VIDEO) == group]
        for row, aside in zip(rows, np.linspace(-0.18, 0.18, len(rows)) if len(rows) > 1 else (0,), strict=True):
            colour, x = COLOURS[row["arrivals"]], place + aside
            for key, beside, mark in (("p50", -0.04, MARKS[0]), ("tail", 0.04, MARKS[1])):
                value, low, high = row[key]["value"], row[key]["low"], row[key]["high"]
                error = None if low is None else np.maximum([[value - low], [high - value]], 0)
                axes.errorbar(x + beside, value, error, color=colour, markersize=6, linewidth=1.2, **mark)
    if any(video for _, video in groups):
        axes.axvline(len(groups) - 1.5, color="#999999", linewidth=0.8, linestyle=(0, (3, 3)))
    names = [f"video,\n{client}" if video else client for client, video in groups]
    axes.set_xticks(range(len(groups)), names)
    axes.set_xlim(-0.5, max(0.5, len(groups) - 0.5))


def show(directory: Path) -> None:
    """Tables, conclusion, study.json and study.png from what is there. Raises OSError, ValueError."""
    run = json.loads((directory / "run.json").read_text())
    result = evaluate(run, blocks.read(directory))
    (directory / "study.json").write_text(json.dumps(result, indent=1) + "\n")
    if not result["workloads"]:
        return
    plot(result, directory / "study.png")
    for name, found in result["workloads"].items():
        print(f"\n{text(name, found)}")
    print(f"\n{LEGEND}\n")
    print("\n".join(result["conclusion"]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.study", description=__doc__.partition("\n")[0])
    flags(parser, 1800, "of measurement, altogether (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="at least 6 for intervals (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0, help="requests per second; default: found by measurement")
    parser.add_argument("--again", metavar="DIR", type=Path, help="measure nothing: evaluate what is there")
    options = parser.parse_args()
    try:
        checked(options)
        if options.rounds < 1:
            raise ValueError(f"--rounds must be at least 1, not {options.rounds}")
        if options.rate < 0 or not np.isfinite(options.rate):
            raise ValueError(f"--rate must be a positive number, not {options.rate:g}")
        if options.again and not (options.again / "run.json").is_file():
            raise ValueError(f"nothing to evaluate in {options.again}: it has no run.json")
        experiment = None if options.again else Study(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    if options.again:
        try:
            show(options.again)
        except (OSError, ValueError, KeyError) as error:
            parser.exit(2, f"{options.again} is no study: {error}\n")
        return 0
    return conducted(experiment, lambda: show(experiment.directory))


if __name__ == "__main__":
    sys.exit(main())
