"""Going on with an interrupted run: it is the same experiment, and what has been measured is not measured again."""

from collections.abc import Iterator
from pathlib import Path

from crossover.measurement import compatibility, trial
from crossover.measurement.compatibility import format_setting
from crossover.measurement.run_directory import read_run
from loadgen.arm import Arm
from loadgen.arrivals.schedule import Schedule
from workloads import payloads

TOLD = ("seed", "rounds", "modes", "control", "engine")  # of run.json, beside what it has under "asked"

NOWHERE = {"cores": {"client": None, "server": None}, "server": {"version": None, "models": {}}}
"""What a crossover's run.json has in place of these: its sweeps have servers of their own."""


def flag(parser) -> None:
    parser.add_argument("--continue", dest="continued", metavar="DIR", default="", help="of an interrupted run")


def check(options) -> None:
    """Raises ValueError."""
    if options.continued and not (Path(options.continued) / "run.json").is_file():
        raise ValueError(f"nothing to continue in {options.continued}: it has no run.json")


def asked(options, names: tuple[str, ...], sent: dict[str, list[payloads.Payload]]) -> dict:
    """What tells this experiment from others, beside TOLD: the flags of these names. Kept in run.json."""
    flags = {"slo_ms" if name == "slo" else name: getattr(options, name) for name in names}
    return {**flags, "payloads": {name: payloads.digest(each) for name, each in sent.items()}}


def kept(directory: Path, kind: str) -> dict:
    """The content of run.json. Raises ValueError if that is none of this kind's."""
    run = read_run(directory)
    if (other := run["kind"]) != kind:
        raise ValueError(f"{directory} is of {other}, not of {kind}")
    if "asked" not in run:
        raise ValueError(f"{directory} does not say what was asked for: it is not of this version's {kind}")
    return run


def again(directory: Path, kind: str, found: dict) -> dict:
    """The run.json to go on with. Raises ValueError if it would now, by `found`, be another experiment."""
    run = kept(directory, kind)
    differing = [
        f"{what}: {format_setting(a)} against {format_setting(b)}" for what, a, b in flags(run, found) if a != b
    ]
    differing += compatibility.list_differences(*({**NOWHERE, **each, "workloads": {}} for each in (run, found)))
    refuse(directory, differing)
    return {**run, "complete": False}


def refuse(directory: Path, differing: list[str]) -> None:
    if differing:
        raise ValueError(f"{directory} cannot be continued: {'; '.join(dict.fromkeys(differing))}")


def flags(first: dict, second: dict) -> Iterator[tuple[str, object, object]]:
    for key in TOLD:
        yield key, first.get(key), second.get(key)
    mine, other = (run["asked"] for run in (first, second))
    for key in sorted((mine.keys() | other.keys()) - {"payloads"}):
        yield key, mine.get(key), other.get(key)
    for name in sorted(mine["payloads"].keys() & other["payloads"].keys()):
        yield f"payloads of {name}", mine["payloads"][name], other["payloads"][name]


def found(path: Path, arm: Arm, schedule: Schedule) -> trial.Block | None:
    """What was measured there of just that, if not to its end. Raises ValueError for a file that is no block's."""
    if not path.with_suffix(".json").exists():
        return None
    block = trial.at(path.with_suffix(".json"))
    return block if (block.arm, block.schedule) == (str(arm), schedule.digest) else None


def whole(path: Path, arm: Arm, schedule: Schedule) -> trial.Block | None:
    """The same, to its end."""
    block = found(path, arm, schedule)
    return block if block and block.facts["complete"] else None
