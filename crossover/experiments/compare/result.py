"""What a comparison comes to: each arm's figures, the pairs of trials that are compared, and the verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from crossover.analysis import answer, comparison, remarks, wording
from crossover.analysis.costs import Prices
from crossover.analysis.loaded_pairs import ARMS
from crossover.analysis.verdict import Comparison
from crossover.experiments.compare import page, tables
from crossover.experiments.compare.arms import summarise_arm
from crossover.experiments.compare.load import OVERHEAD, UNLOADED
from crossover.experiments.compare.undecided import advise, is_undecided
from crossover.measurement.pairs import Pairs, read_pairs
from crossover.measurement.pooled_rules import list_pooled_rules
from crossover.measurement.run_directory import BENCH
from crossover.measurement.trial import Trial, list_orphans
from crossover.parity.wording import note_loss, warn_of_difference
from crossover.report.format import label_arms
from crossover.report.kind import (
    BROKEN,
    GOOD,
    MEASUREMENT,
    Kind,
    do_not_rely,
    warn_of_arms,
    warn_of_invalid,
    warn_of_noise,
)
from loadgen.samples.verdict import UNANSWERED


def list_excluded(trials: Sequence[Trial]) -> list[dict]:
    """List the rounds that are not compared because arrivals are unanswered, with the rules that say so."""
    rounds: dict[tuple[str, int], dict[str, None]] = {}
    for trial in trials:
        if trial.unanswered:
            rounds.setdefault((trial.mode, trial.round), {}).update(dict.fromkeys(trial.unanswered))
    return [{"mode": mode, "round": number, "rules": list(rules)} for (mode, number), rules in sorted(rounds.items())]


def evaluate(run: dict, measured: Sequence[Trial], unloaded: Mapping[str, Sequence[Pairs]] | None = None) -> dict:
    """Return the content of summary.json, from that of run.json, the trials, and unloaded pairs by workload.

    A workload of which no trial has been measured is not in it.
    """
    result = {**run, "workloads": {}}
    for name in run["workloads"]:
        if trials := [trial for trial in measured if trial.workload == name]:
            result["workloads"][name] = evaluate_workload(run, name, trials, (unloaded or {}).get(name, ()))
    return result


def evaluate_workload(run: dict, name: str, trials: Sequence[Trial], unloaded: Sequence[Pairs]) -> dict:
    """Return a workload of summary.json, from run.json, its trials and its unloaded pairs.

    The comparison that comes first is that of asynchronous clients, if there is one; `other_modes` has the others.
    Rounds with unanswered requests are excluded, and `left_out` names them. docs/summary.md says what each field means.
    Raises ValueError for a trial of a placement that run.json lacks.
    """
    described = run["workloads"][name]
    placements = list(described["placements"])
    if strange := [trial for trial in trials if trial.placement not in placements]:
        what = f"{strange[0].path} is a trial of {strange[0].placement!r}, and run.json has {', '.join(placements)}"
        raise ValueError(f"{what} only: one of the two is damaged; a report leaves out what is removed")
    in_order = sorted(trials, key=lambda trial: (placements.index(trial.placement), trial.mode))
    chosen, paired = pair_modes(trials, placements[0])
    arms = [
        summarise_arm(arm, [trial for trial in trials if trial.arm == arm], described)
        for arm in dict.fromkeys(trial.arm for trial in in_order)
    ]
    rounds = paired.get(chosen, []) if chosen else []
    names = name_pair(rounds[0]) if rounds else (placements[0], placements[-1])
    found, comparisons = compare_pair(run, name, rounds, unloaded)
    words = wording.name_arms(names, described["placements"])
    about = wording.describe_subject(described["subject"], described["arrivals"], arms[0]["offered"])
    use = arms[0]["offered"] * max(described["back_to_back_seconds"].values(), default=0.0) or None
    others = {mode: compare_pair(run, name, other, ())[1] for mode, other in paired.items() if mode != chosen}
    return {
        **described,
        "arms": arms,
        "mode": chosen,
        "answer": found.as_dict(),
        "use": use,
        "more_seconds": extend(run, described, found),
        "comparisons": [each.as_dict() for each in comparisons],
        # A verdict never stands without what it rests on, with --quiet neither.
        "sentence": name_faults(arms, chosen, found, names)
        + wording.write_sentence(found, names, words, about)
        + warn_of_difference(described.get("parity")),
        "remarks": [*note_loss(described.get("parity")), *remarks.write_remarks(found, comparisons, names, words, use)],
        "left_out": list_excluded(trials),
        "other_modes": {mode: [each.as_dict() for each in other] for mode, other in others.items()},
    }


def name_faults(arms: Sequence[dict], mode: str | None, found: answer.Answer, names: tuple[str, str]) -> str:
    """Return the beginning of a sentence that must not be relied on: which arms are INVALID, by which rules.

    Empty where no arm of this mode is. Unanswered arrivals are left out, as their rounds are not compared, and so is an
    arm that does not carry the load, as the sentence says that itself.
    """
    lost = {names[ARMS.index(each)] for each in (found.loaded.overloaded if found.loaded else ())}
    compared = [arm for arm in arms if mode in (None, arm["mode"])]
    labels, faults = label_arms(arm["arm"] for arm in compared), []
    for arm in compared:
        rules = dict.fromkeys(each["rule"] for each in arm["findings"] if each["rule"] not in UNANSWERED)
        if rules and arm["placement"] not in lost:
            faults.append(f"{labels[arm['arm']]}: {', '.join(rules)}")
    return f"INVALID ({'; '.join(faults)}), so do not rely on it. " if faults else ""


def pair_modes(trials: Sequence[Trial], baseline: str) -> tuple[str | None, dict[str, list[answer.TrialPair]]]:
    """Return the mode that is compared, and mode -> its rounds, of modes with a round; None without any.

    Asynchronous clients come first, as they do not wait for answers. `trials` are a workload's.
    """
    modes = {trial.mode: answer.pair_trials(trials, trial.mode, baseline) for trial in trials}
    paired = {mode: rounds for mode, rounds in modes.items() if rounds}
    return next(iter(sorted(paired, key=lambda mode: not mode.startswith("async"))), None), paired


def name_pair(pair: answer.TrialPair) -> tuple[str, str]:
    """Return what the arms of a round are called: their placements, or a control's name."""
    baseline, candidate = pair
    return baseline.placement, candidate.control or candidate.placement


def compare_pair(
    run: dict, name: str, rounds: Sequence[answer.TrialPair], unloaded: Sequence[Pairs]
) -> tuple[answer.Answer, list[Comparison]]:
    """Return what two arms' rounds and pairs answer, and the rows of their table.

    `rounds` are pairs of trials, the baseline's first; without any there are no rows.
    """
    described, cores = run["workloads"][name], run["cores"]
    found = answer.find_answer(
        rounds,
        unloaded,
        described["steps"],
        run.get("looks", {}).get(name, ()),
        Prices(**run["prices"]) if "prices" in run else None,
        bool(set(cores["client"] or ()) & set(cores["server"] or ())),
        run.get("unloaded_looks", {}).get(name, ()),
    )
    if not rounds:
        return found, []
    names = name_pair(rounds[0])
    sound = answer.keep_sound(rounds)
    rows = comparison.compare_answers(found, rounds, unloaded, names)
    return found, rows + comparison.compare(sound, described.get("slo_ms"), confidence=found.confidence, names=names)


def extend(run: dict, described: dict, found: answer.Answer) -> float | None:
    """Return the --seconds of --continue after which about half of comparisons like this are decided; None: no advice.

    The advice is in seconds of this workload's trials of one mode; a run also has overhead, unloaded pairs, other modes
    and other workloads.
    """
    if not found.recommendation or not found.recommendation.more_seconds:
        return None
    trials = found.recommendation.more_seconds * (1 + OVERHEAD / described["seconds"])
    shares = [each.get("share", 1.0) for each in run["workloads"].values()]
    modes = 1 if run.get("control") else len(run.get("modes", [""]))
    seconds = trials * modes / (1 - UNLOADED) * sum(shares) / described.get("share", 1.0)
    return float(30 * np.ceil(seconds / 30))


def read_all_pairs(directory: Path, run: dict) -> dict[str, list[Pairs]]:
    """Return workload -> its unloaded pairs, of every workload in run.json. Raises ValueError for a damaged file."""
    return {name: read_pairs(directory, name) for name in run["workloads"]}


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> dict:
    """Return the content of summary.json, from run.json, trials and unloaded pairs.

    Samples whose JSON file is gone belong to no trial: a remark of their workload names each.
    """
    result = evaluate(run, measured, read_all_pairs(directory, run))
    for path in list_orphans(directory):
        where = path.relative_to(directory)
        remark = f"{where} is left out, as {path.stem}.json is not beside it; --continue measures that trial again."
        if where.parts[0] in result["workloads"]:
            result["workloads"][where.parts[0]]["remarks"].append(remark)
    return result


def list_banners(result: dict, measured: Sequence[Trial]) -> list[tuple[str, str]]:
    """List what INVALID trials mean, which arms are INVALID over all their rounds, and that the machine was not quiet.

    A trial's backlog may be chance: all rounds of its arm together say whether it was (`find_faults`). Each matter has
    one banner, whatever the number of arms and workloads.
    """
    arms = [arm for workload in result["workloads"].values() for arm in workload["arms"]]
    excluded = sum(len(workload["left_out"]) for workload in result["workloads"].values())
    rounds = "1 round whose data are" if excluded == 1 else f"{excluded} rounds whose data are"
    meaning = f" The comparison leaves out {rounds} wrong." if excluded else ""
    banners = warn_of_invalid(measured, lambda invalid: do_not_rely(invalid) + meaning, list_pooled_rules(measured))
    for name, workload in result["workloads"].items():
        if warning := warn_of_difference(workload.get("parity")):
            banners.insert(0, (f"Different computations are compared ({name}).", warning.strip()))
    banners += warn_of_arms([(arm["arm"], arm["findings"]) for arm in arms])
    loaded = {name: each["answer"]["loaded"] for name, each in result["workloads"].items()}
    loud = [name for name, each in loaded.items() if each and not each["quiet"]]
    return banners + warn_of_noise(loud)


def ask(result: dict) -> str:
    """Return the heading of the page: its placements by name, where all workloads have the same ones."""
    placements = {tuple(workload["placements"]) for workload in result["workloads"].values()}
    names = next(iter(placements)) if len(placements) == 1 else ()
    return f"Which placement is better: {', '.join(names[:-1])} or {names[-1]}?" if names[1:] else KIND.question


def exit_code(result: dict, measured: Sequence[Trial]) -> int:
    """Return BROKEN if arrivals are unanswered, MEASUREMENT if an arm is INVALID or nothing is decided."""
    arms = [arm for workload in result["workloads"].values() for arm in workload["arms"]]
    if any(arm["errors"] for arm in arms):
        return BROKEN
    undecided = any(is_undecided(workload) for workload in result["workloads"].values())
    return GOOD if all(arm["valid"] for arm in arms) and not undecided else MEASUREMENT


def note(measured: Sequence[Trial]) -> Markup:
    """Return what the table of trials tells: whether all arms of a round were offered the same schedule."""
    text = Markup(
        "An attempt after the first replaces one with unanswered arrivals, which is kept beside it. Rates, lag, CPU, "
        "samples and backlog of single trials count for their arm only if they break a rule over all its rounds: what "
        "one breaks by itself stands in grey. "
    )
    if different := page.list_uneven_rounds(measured):
        warning = Markup('<strong class="invalid">Not every arm was offered the same schedule: {}.</strong>')
        return text + warning.format(", ".join(different))
    return text + "In every round all arms were offered the same schedule."


KIND = Kind(
    name=BENCH,
    file="summary.json",
    title="",
    question="Which placement is better?",
    ask=ask,
    leaves="samples, summary.json and report.html",
    shows_gpu=True,
    fold=fold,
    text=tables.text,
    verdicts=lambda result: [workload["sentence"] for workload in result["workloads"].values()],
    sections=page.sections,
    exit_code=exit_code,
    banners=list_banners,
    note=note,
    advise=advise,
    by_folder=False,
    judges_arms=True,
)
