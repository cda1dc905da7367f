"""An arm's figures over all its trials, and the rules that it breaks."""

from collections.abc import Sequence

from crossover.analysis.latency_breakdown import break_down_latency, pool_steps
from crossover.measurement.gpu_use import summarise_gpu
from crossover.measurement.pooled_rules import find_faults
from crossover.measurement.shares import pool_shares
from crossover.measurement.trial import Trial, pool_records
from loadgen.samples.summary import compute_rates, summarise


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
