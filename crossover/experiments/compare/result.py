"""What a comparison comes to: each arm's figures, the pairs of trials that are compared, and the verdicts."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from markupsafe import Markup

from common import atomic_write
from crossover.analysis import comparison, wording
from crossover.analysis.latency_breakdown import break_down_latency, pool_steps
from crossover.experiments.compare import page, tables
from crossover.measurement.run_directory import BENCH
from crossover.measurement.trial import Trial, pool_records
from crossover.report.kind import BROKEN, GOOD, MEASUREMENT, Kind, do_not_rely, warn_of_invalid
from loadgen.samples.summary import compute_rates, summarise
from loadgen.samples.validity import check_backlog_of_rounds


def summarise_arm(name: str, trials: Sequence[Trial], described: dict) -> dict:
    """Return an arm's figures over all its trials: an entry of `workloads.*.arms` in summary.json (docs/summary.md).

    `described` is the workload's part of run.json, for the model that the arm asks and the steps.
    """
    records, reasons = pool_records(trials)
    result = summarise(records, sum(trial.seconds for trial in trials), reasons)
    result |= compute_rates([(trial.records, trial.seconds) for trial in trials])
    del result["trend"], result["backlog"]  # of times within trials: each trial has its own
    scheduled, findings = max(1, len(records)), find_faults(trials)
    first = trials[0]
    model = described["placements"][first.placement]["model"]
    server = [trial.server_cpu for trial in trials if trial.server_cpu is not None]
    return {
        "arm": name,
        "placement": first.placement,
        "mode": first.mode,
        **result,
        "client_cpu_ms": sum(trial.client_cpu for trial in trials) / scheduled * 1e3,
        "server_cpu_ms": None if len(server) < len(trials) else sum(server) / scheduled * 1e3,
        **summarise_gpu(trials),
        "steps": pool_steps(trials),
        "stages": break_down_latency(trials, model, described["steps"]),
        "trials": len(trials),
        "valid": not findings,
        "findings": findings,
    }


def find_faults(trials: Sequence[Trial]) -> list[dict]:
    """Collect the findings of an arm's trials, each with its round, and of all rounds together, whose `round` is None.

    Several rounds are judged together for a backlog, which is then not looked for in each: one that paused once is not
    offered too much, and rounds that are too short to tell alone are.
    """
    findings = [{**each, "round": trial.round} for trial in trials for each in trial.findings]
    if len(trials) < 2 or trials[0].facts["closed"] or not trials[0].facts.get("steady", True):
        return findings
    together = check_backlog_of_rounds([trial.run for trial in trials])
    others = [each for each in findings if each["rule"] != "backlog"]
    return others + ([{**asdict(together), "round": None}] if together else [])


def summarise_gpu(trials: Sequence[Trial]) -> dict:
    """Return joules per request and mean utilisation (0 to 1) over the trials that know them; None without any."""
    known = [(trial.gpu, trial.scheduled) for trial in trials if trial.gpu]
    joules = sum(gpu["energy_joules"] for gpu, _ in known)
    return {
        "gpu_joules": joules / max(1, sum(scheduled for _, scheduled in known)) if known else None,
        "gpu_utilisation": sum(gpu["utilisation"] for gpu, _ in known) / len(known) if known else None,
    }


def pair_trials(trials: Sequence[Trial], mode: str, baseline: str) -> list[tuple[Trial, Trial]]:
    """Return (baseline's trial, candidate's trial) of each round in which both are sound, by round.

    With --control it is the arm and its control, in that order. `trials` are of one workload.
    """
    rounds: dict[int, dict[bool, Trial]] = {}
    for trial in trials:
        if trial.mode == mode and trial.sound:
            rounds.setdefault(trial.round, {})[trial.placement != baseline or bool(trial.control)] = trial
    return [(each[False], each[True]) for _, each in sorted(rounds.items()) if len(each) == 2]


def compare_modes(described: dict, trials: Sequence[Trial]) -> dict[str, list[comparison.Comparison]]:
    """Return client mode -> every metric compared, for modes with a pair of trials.

    `described` is the workload's part of run.json, for its SLO and its baseline; `trials` are the workload's.
    """
    baseline = next(iter(described["placements"]))
    pairs = {mode: pair_trials(trials, mode, baseline) for mode in dict.fromkeys(trial.mode for trial in trials)}
    return {mode: comparison.compare(each, described.get("slo_ms")) for mode, each in pairs.items() if each}


def list_excluded(trials: Sequence[Trial]) -> list[dict]:
    """List the rounds that are not compared because arrivals are unanswered, with the rules that say so."""
    rounds: dict[tuple[str, int], dict[str, None]] = {}
    for trial in trials:
        if trial.unanswered:
            rounds.setdefault((trial.mode, trial.round), {}).update(dict.fromkeys(trial.unanswered))
    return [{"mode": mode, "round": number, "rules": list(rules)} for (mode, number), rules in sorted(rounds.items())]


def evaluate(run: dict, measured: Sequence[Trial]) -> dict:
    """Return the content of summary.json, from that of run.json and the trials."""
    result = {**run, "workloads": {}}
    for name, described in run["workloads"].items():
        if trials := [trial for trial in measured if trial.workload == name]:
            result["workloads"][name] = evaluate_workload(described, trials)
    return result


def evaluate_workload(described: dict, trials: Sequence[Trial]) -> dict:
    """Return a workload of summary.json, from its part of run.json and its trials.

    The comparison that comes first is that of asynchronous clients, if there is one; `other_modes` has the others.
    Rounds with unanswered requests are excluded, and `left_out` names them.
    """
    # The first mode with a pair is compared; asynchronous clients come first, as they do not wait for answers.
    placements = list(described["placements"])
    in_order = sorted(trials, key=lambda trial: (placements.index(trial.placement), trial.mode))
    compared, excluded = compare_modes(described, trials), list_excluded(trials)
    preferred = "async" if any(mode.startswith("async") for mode in compared) else ""
    chosen = next((mode for mode in compared if mode.startswith(preferred)), None)
    comparisons = compared[chosen] if chosen is not None else []
    lost = [each for each in excluded if each["mode"] == chosen or not chosen]
    about = described["subject"], described["arrivals"], lost, described["placements"]
    sentence = wording.write_sentence(comparisons, *about) if comparisons or lost else ""
    return {
        **described,
        "arms": [
            summarise_arm(arm, [trial for trial in trials if trial.arm == arm], described)
            for arm in dict.fromkeys(trial.arm for trial in in_order)
        ],
        "mode": chosen,
        "comparisons": [each.as_dict() for each in comparisons],
        "sentence": sentence,
        "left_out": excluded,
        "other_modes": {mode: [each.as_dict() for each in other] for mode, other in compared.items() if mode != chosen},
    }


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> dict:
    """Write summary.json from run.json and the trials, and return its content."""
    result = evaluate(run, measured)
    atomic_write.write_json(directory / KIND.file, result)
    return result


def list_banners(result: dict, measured: Sequence[Trial]) -> list[tuple[str, str]]:
    """List what INVALID trials mean, and which arms are INVALID over all their rounds.

    A trial's backlog may be chance: all rounds of its arm together say whether it was (`find_faults`).
    """
    arms = [arm for workload in result["workloads"].values() for arm in workload["arms"]]
    trusted = {arm["arm"] for arm in arms if arm["valid"]}
    excluded = sum(len(workload["left_out"]) for workload in result["workloads"].values())
    rounds = "1 round whose data are" if excluded == 1 else f"{excluded} rounds whose data are"
    meaning = f" The comparison leaves out {rounds} wrong." if excluded else ""
    banners = warn_of_invalid(measured, lambda invalid: do_not_rely(invalid) + meaning, trusted)
    for arm in arms:
        for fault in (fault for fault in arm["findings"] if fault["round"] is None):
            text = f"{fault['rule']}: {fault['measured']} ({fault['limit']}); {fault['change']}."
            banners.append((f"{arm['arm']} is INVALID.", text[0].upper() + text[1:]))
    return banners


def exit_code(result: dict, measured: Sequence[Trial]) -> int:
    """Return BROKEN if arrivals are unanswered, MEASUREMENT if an arm is INVALID over all its rounds."""
    arms = [arm for workload in result["workloads"].values() for arm in workload["arms"]]
    if any(arm["errors"] for arm in arms):
        return BROKEN
    return GOOD if all(arm["valid"] for arm in arms) else MEASUREMENT


def note(measured: Sequence[Trial]) -> Markup:
    """Return what the table of trials tells: whether all arms of a round were offered the same schedule."""
    text = Markup(
        "An attempt after the first replaces one that was INVALID, which is kept beside it. A backlog in single trials "
        "counts for their arm only if it shows over all its rounds. "
    )
    if different := page.list_uneven_rounds(measured):
        warning = Markup('<strong class="invalid">Not every arm was offered the same schedule: {}.</strong>')
        return text + warning.format(", ".join(different))
    return text + "In every round all arms were offered the same schedule."


KIND = Kind(
    name=BENCH,
    file="summary.json",
    title="",
    question="Which placement is better: should the client or the server decode?",
    leaves="samples, summary.json and report.html",
    fold=fold,
    text=tables.text,
    sections=page.sections,
    exit_code=exit_code,
    banners=list_banners,
    note=note,
    by_folder=False,
)
