"""Two runs of Locust's beside each other: each is one trial, so their twins are compared without an interval.

What differs between two trials some seconds apart is mostly the machine's speed, which only further rounds show
(crossover.analysis.loaded_pairs): one run each has a ratio, and `crossover compare` has an interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from crossover.analysis.before_after import NAMES, Change, compare_arm
from crossover.measurement.compatibility import MACHINE, format_setting
from crossover.measurement.trial import Trial
from crossover.report import locust_run
from crossover.report.format import label_arms
from crossover.report.html import TEMPLATES, render

SETTINGS = {
    "arrivals": "arrivals",
    "seconds": "seconds",
    "seed": "seed of the schedule",
    "payloads": "payloads",
    "timeout": "timeout, s",
    "trace": "trace",
}
"""Key of run.json that must be equal -> its name in a message."""


def read_trial(directory: Path) -> Trial:
    """Read a run of Locust's as a trial, whose `summary` is the whole of summary.json.

    Raises ValueError if it is none or has no samples, OSError.
    """
    run = locust_run.load(directory)
    if run is None:
        raise ValueError(f"{directory} is no run of Locust's")
    summary = run.summary
    parts: list[str] = [*summary["arm"].split(" "), "", ""]
    settings = {key: summary[key] for key in ("arm", "seed", "arrivals", "seconds", "valid", "findings")}
    trial = Trial(
        **settings,
        workload=parts[0],
        placement=parts[1],
        mode=parts[2],
        round=1,
        schedule=summary["schedule"] or "",
        client_cpu=float("nan"),  # Locust's run does not tell it
        server_cpu=None,
        facts={"complete": run.is_complete},
        steps={},
        summary=summary,
        path=directory / locust_run.SAMPLES,
    )
    trial.samples = (run.records, [], summary["payloads"])
    return trial


def list_differences(first: Mapping, second: Mapping) -> list[str]:
    """Return what differs between two runs beside their arms, one message each; `first` and `second` are run.json."""
    machines = [(key, run.get("machine", {}), other) for key in MACHINE for run, other in [(first, second)]]
    pairs = [(f"machine's {key}", mine.get(key), other.get("machine", {}).get(key)) for key, mine, other in machines]
    pairs += [(words, first.get(key), second.get(key)) for key, words in SETTINGS.items()]
    return [f"{what}: {write_setting(a)} against {write_setting(b)}" for what, a, b in pairs if a != b]


def write_setting(value: object) -> str:
    """Return a setting in words; numbers without zeros behind."""
    return f"{value:g}" if isinstance(value, float) else format_setting(value or None)


def list_faults(trials: Sequence[Trial]) -> list[str]:
    """Return a message for each run that is INVALID, with the rules that it breaks."""
    return [
        f"{trial.path.parent} is INVALID: {', '.join(found['rule'] for found in trial.findings)}"
        for trial in trials
        if not trial.valid
    ]


def compare(first: Trial, second: Trial) -> list[Change]:
    """Compare two runs arrival by arrival, also of two arms of a workload; empty if `explain_nothing` says why."""
    if explain_nothing(first, second):
        return []
    arms = () if first.arm == second.arm else (first.arm, second.arm)
    names = tuple(label_arms(arms).values()) if arms else NAMES
    parts = zip(first.arm.split(" "), second.arm.split(" "), strict=False)
    shared = " ".join(mine if mine == other else f"{mine}/{other}" for mine, other in parts)
    change = compare_arm(shared, [(first, second)], {}, names=(names[0], names[1]), arms=arms)
    return [replace(change, comparisons=tuple(row for row in change.comparisons if row.verdict != "not measured"))]


def explain_nothing(first: Trial, second: Trial) -> str:
    """Return why no arrival of one run has a twin in the other; empty if all have."""
    for trial in (first, second):
        if not trial.facts["complete"]:
            return f"{trial.path.parent} was cut short, so that arrivals lack their twins"
        if not trial.schedule:
            return f"{trial.path.parent} is a closed loop, which has no schedule: its arrivals have no twins"
    if first.workload != second.workload:
        return f"they are of different workloads, {first.workload} and {second.workload}"
    if (first.schedule, first.scheduled) != (second.schedule, second.scheduled):
        return "no arrival has a twin, as their schedules differ: give both the same --arrivals, --seconds and --seed"
    return ""


def make_page(
    question: str, banners: Sequence[tuple[str, str]], body: Markup, trials: tuple[Trial, Trial], home: str
) -> Markup:
    """Return the page of two runs: banners, the comparison `body`, and the settings of both.

    `home` is the address of the list of runs, for a link to it at the top, or empty.
    """
    rows = [("run", *(trial.path.parent.name for trial in trials)), ("arm", *(trial.arm for trial in trials))]
    rows += [("verdict", *("VALID" if trial.valid else "INVALID" for trial in trials))]
    for key, words in SETTINGS.items():
        if any(trial.summary.get(key) for trial in trials):
            rows.append((words, *(write_setting(trial.summary.get(key)) for trial in trials)))
    template = TEMPLATES / "locust_pair.html.j2"
    return render(template, question=question, banners=banners, body=body, rows=rows, home=home)
