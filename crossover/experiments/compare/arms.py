"""An arm's figures over all its trials, and the rules that it breaks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from crossover.analysis.latency_breakdown import break_down_latency, pool_steps
from crossover.measurement.remedies import REMEDIES
from crossover.measurement.shares import pool_shares
from crossover.measurement.trial import Trial, pool_records
from loadgen.samples.backlog_rules import check_backlog_of_rounds
from loadgen.samples.summary import compute_rates, summarise
from loadgen.samples.validity import judge
from loadgen.samples.verdict import Facts


def summarise_arm(name: str, trials: Sequence[Trial], described: dict) -> dict:
    """Return an arm's figures over all its trials: an entry of `workloads.*.arms` in summary.json (docs/summary.md).

    `described` is the workload's part of run.json, for the model that the arm asks and the steps.
    """
    records, reasons = pool_records(trials)
    result = summarise(records, sum(trial.seconds for trial in trials), reasons)
    result |= compute_rates([(trial.records, trial.seconds) for trial in trials])
    del result["trend"], result["backlog"]  # of times within trials: each trial has its own
    scheduled, findings = max(1, len(records)), find_faults(trials, result)
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
        "shares": pool_shares(trials),
        **summarise_gpu(trials),
        "steps": pool_steps(trials),
        "stages": break_down_latency(trials, model, described["steps"]),
        "trials": len(trials),
        "valid": not findings,
        "findings": findings,
    }


TOGETHER = ("offered rate", "dispatch lag", "client CPU", "too few samples", "backlog")
"""Rules that are kept or broken by all rounds of an arm together: a short trial has too few arrivals to tell."""


def find_faults(trials: Sequence[Trial], pooled: Mapping) -> list[dict]:
    """Collect the findings of an arm's trials, each with its round, and of all rounds together, whose `round` is None.

    `pooled` is the summary of all of them. Rules of TOGETHER are judged by it, and not in each trial: one that paused
    once is not offered too much, and of ten arrivals the latest is the p99.
    """
    findings = [{**each, "round": trial.round} for trial in trials for each in trial.findings]
    if len(trials) < 2 or trials[0].facts["closed"]:
        return findings
    shares = [trial.facts["cpu_share"] for trial in trials if trial.facts["cpu_share"] is not None]
    facts = Facts(sum(shares) / len(shares) if shares else None, hub_stall=0.0, complete=True)
    judged = judge({**pooled, "trend": None, "backlog": None}, facts, 50, REMEDIES).findings
    backlog = check_backlog_of_rounds([trial.run for trial in trials]) if trials[0].facts.get("steady", True) else None
    found = [{**asdict(each), "round": None} for each in [*judged, backlog] if each and each.rule in TOGETHER]
    return [each for each in findings if each["rule"] not in TOGETHER] + found


def summarise_gpu(trials: Sequence[Trial]) -> dict:
    """Return joules per request, mean utilisation (0 to 1) and most memory in use (MB) over the trials that know them.

    None without any.
    """
    memory = [trial.gpu["memory_mb"] for trial in trials if trial.gpu and trial.gpu.get("memory_mb") is not None]
    known = [(trial.gpu, trial.scheduled) for trial in trials if trial.gpu]
    joules = sum(gpu["energy_joules"] for gpu, _ in known)
    return {
        "gpu_joules": joules / max(1, sum(scheduled for _, scheduled in known)) if known else None,
        "gpu_memory_mb": max(memory, default=None),
        "gpu_utilisation": sum(gpu["utilisation"] for gpu, _ in known) / len(known) if known else None,
    }
