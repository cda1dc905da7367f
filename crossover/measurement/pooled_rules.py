"""Which rules an arm broke: in single trials, and over all of its trials together, where a short one cannot tell."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from crossover.measurement.remedies import REMEDIES
from crossover.measurement.trial import Trial
from loadgen.samples.backlog_rules import check_backlog_of_rounds
from loadgen.samples.validity import judge
from loadgen.samples.verdict import Facts

TOGETHER = ("offered rate", "dispatch lag", "client CPU", "too few samples", "backlog")
"""Rules that are kept or broken by all rounds of an arm together: a short trial has too few arrivals to tell."""


def find_faults(trials: Sequence[Trial], pooled: Mapping) -> list[dict]:
    """Collect the findings of an arm's trials, each with its round, and of all rounds together, whose `round` is None.

    `pooled` is the summary of all of them. Rules of TOGETHER are judged by it, and not in each trial: one that paused
    once is not offered too much, and of ten arrivals the latest is the p99.
    """
    findings = [{**each, "round": trial.round} for trial in trials for each in trial.findings]
    if not are_pooled(trials):
        return findings
    shares = [trial.facts["cpu_share"] for trial in trials if trial.facts["cpu_share"] is not None]
    facts = Facts(sum(shares) / len(shares) if shares else None, hub_stall=0.0, complete=True)
    judged = judge({**pooled, "trend": None, "backlog": None}, facts, 50, REMEDIES).findings
    backlog = check_backlog_of_rounds([trial.run for trial in trials]) if trials[0].facts.get("steady", True) else None
    found = [{**asdict(each), "round": None} for each in [*judged, backlog] if each and each.rule in TOGETHER]
    return [each for each in findings if each["rule"] not in TOGETHER] + found


def are_pooled(trials: Sequence[Trial]) -> bool:
    """Return whether an arm's trials are judged together by the rules of TOGETHER: several, and with due times."""
    return len(trials) > 1 and not trials[0].facts["closed"]


def list_pooled_rules(trials: Sequence[Trial]) -> dict[str, Collection[str]]:
    """Return arm -> the rules that its single trials may break, as all of its rounds together are judged by them."""
    arms: dict[str, list[Trial]] = {}
    for trial in trials:
        arms.setdefault(trial.arm, []).append(trial)
    return {arm: TOGETHER if are_pooled(own) else () for arm, own in arms.items()}


def list_own_findings(trial: Trial, pooled: Mapping[str, Collection[str]]) -> list[Mapping]:
    """Return the findings that make a trial INVALID by itself; `pooled` is what `list_pooled_rules` returns."""
    return [found for found in trial.findings if found["rule"] not in pooled.get(trial.arm, ())]
