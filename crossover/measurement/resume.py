"""Resume an interrupted run: refuse other options, skip trials already measured."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from arrivals.schedule import Schedule
from crossover.measurement import compatibility
from crossover.measurement.compatibility import format_setting
from crossover.measurement.run_directory import describe_kind, read_run
from crossover.measurement.trial import Trial, read_trial
from loadgen.arm import Arm
from workloads import payloads

COMPARED = ("seed", "rounds", "modes", "control", "engine")  # of run.json, beside what it has under "asked"

PAYLOADS = "payloads of "
"""What the name of a workload's payloads begins with."""
NO_SERVER = {"cores": {"client": None, "server": None}, "server": {"version": None, "models": {}}}
"""What stands for these in the run.json of a run whose servers are described elsewhere: a sweep's."""


def check_option(options: argparse.Namespace) -> None:
    """Check --continue. Raises ValueError if it names a directory without a run."""
    if options.continued and not (Path(options.continued) / "run.json").is_file():
        raise ValueError(f"nothing to continue in {options.continued}: it has no run.json")


def describe_identity(
    options: argparse.Namespace, names: Sequence[str], inputs: dict[str, list[payloads.Payload]]
) -> dict:
    """Return what tells a run from others, for run.json.

    These are the options of these names and a digest of each workload's inputs. COMPARED are not among them, as
    run.json has them anyway.
    """
    values = {"slo_ms" if name == "slo" else name: getattr(options, name) for name in names}
    values["workloads"] = list(options.workloads)
    values["files"] = {name: each.digest for name, each in options.workloads.items()}
    return {**values, "payloads": {name: payloads.digest(each) for name, each in inputs.items()}}


def load_for_resume(directory: Path, kind: str) -> dict:
    """Return the content of run.json. Raises ValueError if it belongs to another experiment, or lacks its options."""
    run = read_run(directory)
    if (other := run["kind"]) != kind:
        raise ValueError(f"{directory} is of {describe_kind(other)}, not of {describe_kind(kind)}")
    if "asked" not in run:
        ours = f"this version's {describe_kind(kind)}"
        raise ValueError(f"{directory} does not say what was asked for: it is not of {ours}")
    return run


def read_options(directory: Path, kind: str) -> dict:
    """Return the options that a run was started with, as the command line gave them.

    Raises ValueError if the directory has no run of that kind, or one of a version that did not keep them.
    """
    check_option(argparse.Namespace(continued=str(directory)))
    run = load_for_resume(directory, kind)
    if "options" not in run:
        raise ValueError(f"{directory} is of an older version, which kept no options: only its report can be made")
    return run["options"]


def resume_run(directory: Path, kind: str, current: dict) -> dict:
    """Return the run.json of the interrupted run, to go on with.

    `current` is what a new run with the present options, server and machine would write. Raises ValueError that names
    what differs.
    """
    run = load_for_resume(directory, kind)
    pairs = [pair for pair in pair_options(run, current) if pair[1] != pair[2]]
    differing = [describe_difference(*pair) for pair in pairs]
    differing += list_changed_models(run, current)
    differing += compatibility.list_differences(*({**NO_SERVER, **each, "workloads": {}} for each in (run, current)))
    refuse_differences(directory, differing)
    return {**run, "complete": False}


def describe_difference(what: str, first: object, second: object) -> str:
    """Write how an option differs, with what to do.

    Of payloads only digests are known. A comparison goes on for the seconds of --seconds, and has no such difference.
    """
    if what == "seconds":
        shown = f"{format_setting(first)} against {format_setting(second)}"
        return f"seconds: {shown}; leave --seconds out, as only `crossover compare` goes on for longer"
    if what.startswith(PAYLOADS):
        return f"{what}: other files; give no workload with --continue, or the run's --payloads as well"
    return f"{what}: {format_setting(first)} against {format_setting(second)}"


def list_changed_models(first: dict, second: dict) -> list[str]:
    """Return what differs between the settings of the models of two run.json: instances, their kinds, parameters."""
    models: list[dict] = [each.get("server", {}).get("models", {}) for each in (first, second)]
    found = []
    for model in models[0].keys() & models[1].keys():
        for key in ("instances", "kinds", "parameters"):
            values = [each[model].get(key) for each in models]
            if values[0] != values[1]:
                found.append(f"{key} of {model}: {format_setting(values[0])} against {format_setting(values[1])}")
    return sorted(found)


def refuse_differences(directory: Path, differing: Sequence[str]) -> None:
    """Raise ValueError with all that differs, if anything does."""
    if differing:
        raise ValueError(f"{directory} cannot be continued: {'; '.join(dict.fromkeys(differing))}")


def pair_options(first: dict, second: dict) -> Iterator[tuple[str, object, object]]:
    """Return (name, the first's value, the second's) of everything that identifies a run, from two run.json."""
    for key in COMPARED:
        yield key, first.get(key), second.get(key)
    mine, other = (run["asked"] for run in (first, second))
    for key in sorted((mine.keys() | other.keys()) - {"payloads"}):
        yield key, mine.get(key), other.get(key)
    for name in sorted(mine["payloads"].keys() & other["payloads"].keys()):
        yield f"{PAYLOADS}{name}", mine["payloads"][name], other["payloads"][name]


def existing_trial(path: Path, arm: Arm, schedule: Schedule) -> Trial | None:
    """Return the trial at `path` if it is of this arm and schedule, complete or not; else None.

    Raises ValueError for a file that is no trial's.
    """
    if not path.with_suffix(".json").exists():
        return None
    trial = read_trial(path.with_suffix(".json"))
    return trial if (trial.arm, trial.schedule) == (str(arm), schedule.digest) else None


def completed_trial(path: Path, arm: Arm, schedule: Schedule) -> Trial | None:
    """Return what `existing_trial` does, but only if it was measured to its end."""
    trial = existing_trial(path, arm, schedule)
    return trial if trial and trial.facts["complete"] else None
