"""What the blocks of a directory come to: a fold, so that it can be made again from them at any time.

    python -m loadgen.report reports/20261123-201500                       # summary.json and report.html anew
    python -m loadgen.report reports/before reports/after                  # the same arm before and after a change
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from loadgen import blocks, comparison, page, table
from loadgen.blocks import Block
from loadgen.stages import pooled, stages
from loadgen.summary import summary
from loadgen.workloads import WORKLOADS


def arm(name: str, own: Sequence[Block]) -> dict:
    """One arm's figures over all its blocks."""
    records, reasons = blocks.pooled(own)
    result = summary(records, sum(block.seconds for block in own), reasons)
    del result["trend"]  # of times within blocks: each block has its own
    scheduled = max(1, len(records))
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
        "steps": pooled(own),
        "stages": stages(own, target.model, workload.steps),
        "blocks": len(own),
        "valid": all(block.valid for block in own),
        "findings": [{**found, "round": block.round} for block in own for found in block.findings],
    }


def pairs(of_workload: Sequence[Block], mode: str) -> list[tuple[Block, Block]]:
    """(client's block, server's block) of each round in which both are whole; or an arm's and its control's."""
    rounds: dict[int, dict[bool, Block]] = {}
    for block in of_workload:
        if block.mode == mode and block.facts["complete"]:
            rounds.setdefault(block.round, {})[block.placement == "server" or bool(block.control)] = block
    return [(each[False], each[True]) for _, each in sorted(rounds.items()) if len(each) == 2]


def evaluate(run: dict, measured: Sequence[Block]) -> dict:
    """The content of summary.json, from that of run.json and the blocks."""
    result = {**run, "workloads": {}}
    for name, described in run["workloads"].items():
        own = [block for block in measured if block.workload == name]
        if not own:
            continue
        arms = list(dict.fromkeys(block.arm for block in sorted(own, key=lambda block: (block.placement, block.mode))))
        modes = list(dict.fromkeys(block.mode for block in own))
        compared = {mode: comparison.compare(pairs(own, mode)) for mode in modes if pairs(own, mode)}
        main = "async" if any(mode.startswith("async") for mode in compared) else ""
        chosen = next((mode for mode in compared if mode.startswith(main)), None)
        result["workloads"][name] = {
            **described,
            "arms": [arm(each, [block for block in own if block.arm == each]) for each in arms],
            "mode": chosen,
            "comparisons": [each.as_dict() for each in compared[chosen]] if chosen else [],
            "sentence": comparison.sentence(compared[chosen], name, described["arrivals"]) if chosen else "",
            "other_modes": {
                mode: [each.as_dict() for each in found] for mode, found in compared.items() if mode != chosen
            },
        }
    return result


def write(directory: Path) -> dict:
    """summary.json and report.html from what is there. Raises ValueError if that is no report, OSError."""
    try:
        run = json.loads((directory / "run.json").read_text())
    except FileNotFoundError:
        raise ValueError(f"{directory} is no report: it has no run.json") from None
    measured = blocks.read(directory)
    result = evaluate(run, measured)
    (directory / "summary.json").write_text(json.dumps(result, indent=2) + "\n")
    if measured:
        page.write(directory, run, measured, result)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.report", description="Reports from their samples.")
    parser.add_argument("directories", nargs="+", type=Path, help="one to evaluate again, or two to compare")
    parser.add_argument("--anyway", action="store_true", help="compare reports of different machines, weights, ...")
    options = parser.parse_args()
    if len(options.directories) > 2:
        parser.exit(2, "one directory to evaluate again, or two to compare\n")
    try:
        results = [write(directory) for directory in options.directories]
        if len(results) == 1:
            print(table.whole(results[0]))
            return 0
        before, after = options.directories
        if (differing := comparison.incompatible(*results)) and not options.anyway:
            print(f"not comparable (--anyway compares them nevertheless): {'; '.join(differing)}", file=sys.stderr)
            return 1
        for name, found in comparison.between(blocks.read(before), blocks.read(after)).items():
            print(f"\n{name}: {before} against {after}\n{comparison.text(found)}")
    except (OSError, ValueError) as error:
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        print(where + str(getattr(error, "strerror", None) or error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
