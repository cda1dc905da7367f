"""What the blocks of a directory come to: a fold, so that it can be made again from them at any time.

    python -m loadgen.report reports/20261123-201500                       # its figures and report.html anew
    python -m loadgen.report reports/before reports/after                  # the same arm before and after a change
    python -m loadgen.report reports/20261123-201500 reports/*-capacity    # the experiment shown in bench's report

A directory is bench's, or of an experiment: capacity, crossover, efficiency or study.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import atomic_write
from crossover.analysis import comparison, wording
from crossover.analysis.latency_breakdown import break_down_latency, pool_steps
from crossover.experiments.capacity import result as capacity_result
from crossover.experiments.client_modes import result as client_modes_result
from crossover.experiments.compare import tables
from crossover.experiments.efficiency import result as efficiency_result
from crossover.experiments.sweep import result as sweep_result
from crossover.measurement import compatibility, trial
from crossover.measurement.run_directory import BENCH, read_blocks, read_run
from crossover.measurement.trial import Block
from crossover.report import html, provenance
from loadgen.samples.summary import compute_rates, summarise
from loadgen.samples.validity import check_backlog_of_rounds
from workloads.workload import WORKLOADS

KINDS = {
    "capacity": capacity_result,
    "crossover": sweep_result,
    "efficiency": efficiency_result,
    "study": client_modes_result,
}
"""Experiment -> who knows what it comes to: fold(directory, run, blocks), text(result), sentences(result)."""


def arm(name: str, own: Sequence[Block]) -> dict:
    """One arm's figures over all its blocks."""
    records, reasons = trial.pooled(own)
    result = summarise(records, sum(block.seconds for block in own), reasons)
    result |= compute_rates([(block.records, block.seconds) for block in own])
    del result["trend"], result["backlog"]  # of times within blocks: each block has its own
    scheduled, findings = max(1, len(records)), find_faults(own)
    workload, first = WORKLOADS[own[0].workload], own[0]
    target = workload.client if first.placement == "client" else workload.server
    server = [block.server_cpu for block in own]
    return {
        "arm": name,
        "placement": first.placement,
        "mode": first.mode,
        **result,
        "client_cpu_ms": sum(block.client_cpu for block in own) / scheduled * 1e3,
        "server_cpu_ms": None if None in server else sum(server) / scheduled * 1e3,
        **gpu(own),
        "steps": pool_steps(own),
        "stages": break_down_latency(own, target.model, workload.steps),
        "blocks": len(own),
        "valid": not findings,
        "findings": findings,
    }


def find_faults(own: Sequence[Block]) -> list[dict]:
    """The findings of an arm's blocks, each with its round, and of all rounds together, whose `round` is None.

    Several rounds are judged together for a backlog, which is then not looked for in each: one that paused once is not
    offered too much, and rounds that are too short to tell alone are.
    """
    found = [{**each, "round": block.round} for block in own for each in block.findings]
    if len(own) < 2 or own[0].facts["closed"]:
        return found
    together = check_backlog_of_rounds([block.run for block in own])
    kept = [each for each in found if each["rule"] != "backlog"]
    return kept + ([{**asdict(together), "round": None}] if together else [])


def gpu(own: Sequence[Block]) -> dict:
    """Over the blocks of which Triton told it; None where there are none."""
    told = [block for block in own if block.gpu]
    joules = sum(block.gpu["energy_joules"] for block in told)
    return {
        "gpu_joules": joules / max(1, sum(block.scheduled for block in told)) if told else None,
        "gpu_utilisation": sum(block.gpu["utilisation"] for block in told) / len(told) if told else None,
    }


def pairs(of_workload: Sequence[Block], mode: str) -> list[tuple[Block, Block]]:
    """(client's block, server's block) of each round in which both are sound; or an arm's and its control's."""
    rounds: dict[int, dict[bool, Block]] = {}
    for block in of_workload:
        if block.mode == mode and block.sound:
            rounds.setdefault(block.round, {})[block.placement == "server" or bool(block.control)] = block
    return [(each[False], each[True]) for _, each in sorted(rounds.items()) if len(each) == 2]


def comparisons(described: dict, of_workload: Sequence[Block]) -> dict[str, list[comparison.Comparison]]:
    """Mode -> what is compared, of those of which there is a pair; `described` is the workload's in run.json."""
    found = {mode: pairs(of_workload, mode) for mode in dict.fromkeys(block.mode for block in of_workload)}
    return {mode: comparison.compare(each, described.get("slo_ms")) for mode, each in found.items() if each}


def left_out(of_workload: Sequence[Block]) -> list[dict]:
    """The rounds that are not compared, as an arm's data are wrong, and by which rules."""
    rounds: dict[tuple[str, int], dict[str, None]] = {}
    for block in of_workload:
        if block.wrong:
            rounds.setdefault((block.mode, block.round), {}).update(dict.fromkeys(block.wrong))
    return [{"mode": mode, "round": turn, "rules": list(rules)} for (mode, turn), rules in sorted(rounds.items())]


def evaluate(run: dict, measured: Sequence[Block]) -> dict:
    """The content of summary.json, from that of run.json and the blocks."""
    result = {**run, "workloads": {}}
    for name, described in run["workloads"].items():
        own = [block for block in measured if block.workload == name]
        if not own:
            continue
        arms = list(dict.fromkeys(block.arm for block in sorted(own, key=lambda block: (block.placement, block.mode))))
        compared = comparisons(described, own)
        main = "async" if any(mode.startswith("async") for mode in compared) else ""
        chosen = next((mode for mode in compared if mode.startswith(main)), None)
        told, without = compared.get(chosen, []), left_out(own)
        lost = [each for each in without if each["mode"] == chosen or not chosen]
        result["workloads"][name] = {
            **described,
            "arms": [arm(each, [block for block in own if block.arm == each]) for each in arms],
            "mode": chosen,
            "comparisons": [each.as_dict() for each in told],
            "sentence": wording.write_sentence(told, name, described["arrivals"], lost) if told or lost else "",
            "left_out": without,
            "other_modes": {
                mode: [each.as_dict() for each in found] for mode, found in compared.items() if mode != chosen
            },
        }
    return result


def write(directory: Path, experiments: Sequence[Path] = ()) -> Any:
    """Its figures, as JSON and as returned, and report.html if anything was measured: all anew from what is there.

    The page of bench's shows those of `experiments`, too, which have been written before.
    Raises ValueError if that is no report, OSError.
    """
    run = read_run(directory)
    kind, measured = run["kind"], read_blocks(directory, run)
    if kind == BENCH:
        result = shown = evaluate(run, measured)
        atomic_write.write_json(directory / "summary.json", result)
    else:
        result = KINDS[kind].fold(directory, run, measured)
        shown = {"workloads": {}, kind: result}
    for place in experiments:
        other = read_run(place)
        name = other["kind"]
        shown = {**shown, name: json.loads((place / f"{name}.json").read_text())}
        shown["sources"] = {**shown.get("sources", {}), name: provenance.source(place, run, other)}
    if measured or (kind == "efficiency" and result):
        html.write(directory, run, measured, shown)
    return result


def text(directory: Path, result: Any) -> str:
    """What is printed of it."""
    kind = read_run(directory)["kind"]
    return tables.whole(result) if kind == BENCH else KINDS[kind].text(result)


def compared(before: Path, after: Path, anyway: bool) -> int:
    """Two of bench's: prints each arm against itself. 1 if they are not comparable, or there is nothing to compare."""
    results = write(before), write(after)
    if (differing := compatibility.list_differences(*results)) and not anyway:
        print(f"not comparable (--anyway compares them nevertheless): {'; '.join(differing)}", file=sys.stderr)
        return 1
    if differing:
        print(f"compared nevertheless, but not of one setting: {'; '.join(differing)}", file=sys.stderr)
    slos = {name: found.get("slo_ms") for name, found in results[0]["workloads"].items()}
    measured = [trial.read(directory) for directory in (before, after)]
    if not (arms := comparison.compare_reports(*measured, slos)):
        have = "; ".join(f"{place} has {arms_of(own)}" for place, own in zip((before, after), measured, strict=True))
        print(f"nothing to compare: no arm has a sound round in both: {have}", file=sys.stderr)
        return 1
    for name, found in arms.items():
        print(f"\n{name}: {before} against {after}\n{comparison.format_table(found)}")
    return 0


def arms_of(measured: Sequence[Block]) -> str:
    return ", ".join(sorted({block.arm for block in measured})) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.report", description="Reports from their samples.")
    given = "one to evaluate again, two to compare, or one with the experiments that its report is to show"
    parser.add_argument("directories", nargs="+", type=Path, help=given)
    parser.add_argument("--anyway", action="store_true", help="compare reports of different machines, weights, ...")
    options = parser.parse_args()
    try:
        kinds = {each: read_run(each)["kind"] for each in options.directories}
        own = [each for each, kind in kinds.items() if kind == BENCH]
        others = {each: kind for each, kind in kinds.items() if kind != BENCH}
        if len(own) > 2 or (len(own) == 2 and others) or len(set(others.values())) < len(others):
            raise ValueError(f"give {given}, one of each kind; not {', '.join(sorted(kinds.values()))}")
        if len(own) == 2:
            return compared(*own, options.anyway)
        found = {each: write(each) for each in others}
        found = {each: write(each, list(others)) for each in own} or found
        print("\n\n".join(text(each, result) for each, result in found.items()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        print(where + str(getattr(error, "strerror", None) or error), file=sys.stderr)
        return 1
    return 0
