"""A comparison as it lies on the disk, without a server: samples by a formula, kept by the real journal and trials.

python -m tests.trials_on_disk reports/synthetic      # a report to look at
"""

import json
import sys
from pathlib import Path

import numpy as np

import arrivals
from crossover.analysis.costs import Prices
from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity.estimates import estimate_capacities
from crossover.experiments.catalogue import EXPERIMENTS
from crossover.experiments.client_modes.conditions import LAWS
from crossover.experiments.compare import result as compare
from crossover.experiments.efficiency import result as efficiency_result
from crossover.experiments.sweep.wording import describe_entry
from crossover.measurement.pairs import FOLDER, Pairs, read_pairs
from crossover.measurement.run_directory import FORMAT
from crossover.measurement.trial import Trial, read_trials
from crossover.report.kind import write_page
from loadgen.samples import journal, parquet
from loadgen.samples.sample import COMPLETED, FAILED, Sample
from loadgen.samples.summary import summarise
from loadgen.samples.validity import judge
from loadgen.samples.verdict import Facts
from workloads.catalogue import BUILT_IN

MS = 1_000_000
PLACEMENTS = ("client", "server")
RATES = {"image": 7.5, "audio": 2.4}
NETWORK = {"image": ("resnet50", 76.0), "audio": ("wav2vec2", 281.0)}
PREPARING = {"image": 6.1, "audio": 2.3}  # ms


def records(workload: str, placement: str, schedule, seed: int, broken: str = "") -> list[Sample]:
    """One server, one request after the other; `broken` is the reason why the third arrival fails."""
    rng, free, samples = np.random.default_rng(seed), 0, []
    for i, due in enumerate(schedule.times):
        due = int(due * 1e9)
        fired = due + int(rng.gamma(4, 0.04) * MS)
        began = fired + int(0.3 * MS)
        prepare = PREPARING[workload] * rng.lognormal(0, 0.2)
        prepared = began + int((prepare if placement == "client" else 0.15) * MS)
        sent = prepared + int(0.1 * MS)
        compute = NETWORK[workload][1] * rng.lognormal(0, 0.05) + (1.6 * prepare if placement == "server" else 0)
        free = max(free, sent) + int(compute * MS)
        up, down = {"image": (602_287, 4_149), "audio": (115_973, 11_642)}[workload]
        up = up if placement == "client" else int(0.4 * up)
        status, reason = (FAILED, broken) if broken and i == 2 else (COMPLETED, "")
        done = free + int(0.4 * MS)
        samples.append(Sample(i, i % 2, due, fired, began, prepared, sent, done, status, up, down, reason))
    return samples


def steps(workload: str, placement: str, requests: int, answer: float) -> dict:
    """What the server would say: of `answer`, its mean ms per request, the network's queue takes what is left."""
    network, compute = NETWORK[workload]
    target = BUILT_IN[workload].placements[placement].model
    prepare = PREPARING[workload] * 1.6
    costs = {name: prepare if name.endswith("preprocess") else 0.4 for name in BUILT_IN[workload].steps}
    costs[network] = compute
    costs = costs if placement == "server" else {network: compute}
    waited = max(0.1, answer - sum(costs.values()) - 0.6 * len(costs))
    result = {}
    for name, cost in costs.items():
        queue = waited if name == network else 0.1
        spent = {"queue": queue, "compute_input": 0.08, "compute_infer": cost, "compute_output": 0.2}
        result[name] = {"requests": requests, "mean_batch": 1.0, "ms": spent, "total": sum(spent.values()) + 0.05}
    idle = {"requests": requests, "mean_batch": 1.0, "ms": dict.fromkeys(spent, 0.0)}
    return {**result, target: {**result.get(target, idle), "total": answer}}


def trial(directory: Path, workload: str, placement: str, round: int, seconds: float = 10, broken: str = ""):
    schedule = arrivals.parse(f"poisson:rate={RATES[workload]}").schedule(seconds, round)
    samples = records(workload, placement, schedule, round + 100 * (placement == "server"), broken)
    path = directory / workload / f"{workload}-{placement}-async1" / f"round-{round:02}.journal"
    kept = journal.Journal(path)
    for sample in samples:
        kept.write(sample)
    kept.close()
    book, reasons = journal.read(path)
    result = summarise(book, seconds, reasons)
    facts = Facts(cpu_share=0.1, hub_stall=0.01, complete=True, due=len(schedule))
    parquet.to_parquet(path, [f"{workload}-a", f"{workload}-b"])
    made = Trial(
        workload=workload,
        arm=f"{workload} {placement} async:1",
        placement=placement,
        mode="async:1",
        round=round,
        seed=round,
        arrivals=schedule.spec,
        schedule=schedule.digest,
        seconds=seconds,
        began=1e9 + 60.0 * round + (30.0 if placement == "server" else 0.0),
        step_cpu={NETWORK[workload][0]: NETWORK[workload][1] / 1e3 * (1 + 0.01 * (round % 3))},
        others=0.02,
        client_cpu=len(schedule) * (0.0092 if placement == "client" else 0.0016),
        server_cpu=len(schedule) * (0.0776 if placement == "client" else 0.0861),
        facts={"cpu_share": 0.1, "hub_stall": 0.01, "complete": True, "closed": False},
        steps=steps(workload, placement, len(schedule), result["wire"]["mean"] - 0.6),
        summary=result,
        path=path,
        **judge(result, facts, 50).as_dict(),
    )
    made.write()
    return made


def pairs(directory: Path, workload: str, count: int = 60, seconds: float = 20.0, number: int = 1) -> Pairs:
    """Unloaded pairs of both placements, one request right after the other, as `measure_pairs` leaves them."""
    kept = journal.Journal(directory / workload / FOLDER / f"pairs-{number:02}.journal")
    rng, now = np.random.default_rng(number), 0
    for pair in range(count):
        for arm in rng.permutation(2):
            prepare = PREPARING[workload] * rng.lognormal(0, 0.2)
            compute = NETWORK[workload][1] * rng.lognormal(0, 0.05) + (1.6 * prepare if arm else 0)
            prepared = now + int((0.15 if arm else prepare) * MS)
            done = prepared + int((compute + 0.5) * MS)
            at = {"due": now, "fired": now, "began": now, "prepared": prepared, "sent": prepared, "done": done}
            kept.write(Sample(2 * pair + int(arm), pair % 2, **at, status=COMPLETED, bytes_up=1000, bytes_down=100))
            now = max(done, int((pair + 1) * seconds / count * 1e9) if arm else 0)
    kept.close()
    path = parquet.to_parquet(kept.path, [f"{workload}-a", f"{workload}-b"]).with_suffix(".json")
    made = Pairs([f"{workload} {each} sequential" for each in PLACEMENTS], 1e9 + 1e4 * number, seconds, path)
    network, compute = NETWORK[workload]
    spent = compute / 1e3 * rng.lognormal(0, 0.02, (count, 2))
    made.step_cpu = {network: [[pair, *map(float, each)] for pair, each in enumerate(spent)]}
    made.write()
    return made


def write(directory: Path, workloads=("image", "audio"), rounds: int = 7, broken: str = "connection reset"):
    """run.json and trials of both placements; one, the server's of round 3 of the first workload, is INVALID."""
    for workload in workloads:
        pairs(directory, workload)
        for round in range(1, rounds + 1):
            for placement in PLACEMENTS:
                wrong = broken if (workload, placement, round) == (workloads[0], "server", 3) else ""
                trial(directory, workload, placement, round, 30 if workload == "audio" else 10, wrong)
    (directory / "run.json").write_text(json.dumps(run(workloads, rounds), indent=1) + "\n")
    return read_trials(directory)


def run(workloads=("image", "audio"), rounds: int = 7) -> dict:
    random = {"weights": "random", "source": "transformers.ResNetConfig", "seed": 0, "date": "2026-11-23"}
    random["note"] = "random weights: latency is valid, predictions are not"
    steps = [step for name in workloads for step in BUILT_IN[name].steps]
    models = {step: {"instances": 1, "kinds": ["CPU"], "parameters": {}} for step in steps}
    for name in workloads:
        models[NETWORK[name][0]] |= {"parameters": {"intra_op_thread_count": "1"}, "provenance": random}
    versions = {"numpy": "1.26.4", "pillow": "13.0.0", "locust": "2.47.0", "tritonclient": "2.73.0"}
    return {
        "created": "2026-11-24T09:12:44+00:00",
        "complete": True,
        "kind": "bench",
        "format": FORMAT,
        "argv": ["crossover", "compare", "--rounds", str(rounds)],
        "seed": 1,
        "rounds": rounds,
        "modes": ["async"],
        "control": "",
        "prices": Prices().as_dict(),
        "looks": {},
        "unloaded_looks": {},
        "server": {"url": "http://localhost:8000", "version": "2.51.0", "models": models},
        "engine": "local",
        "cores": {"client": [0], "server": [1]},
        "machine": {
            "cpu": "AMD EPYC Processor at 2.6 GHz",
            "cores": 2,
            "system": "Linux-6.1-x86_64-with-glibc2.36",
            "python": "3.11.2",
            "versions": versions,
            "revision": "85e7645-dirty",
        },
        "workloads": {
            name: {
                **BUILT_IN[name].describe(PLACEMENTS),
                "arrivals": f"poisson:rate={RATES[name]}",
                "library": {"image": "dali", "audio": "librosa"}[name],
                "back_to_back_seconds": {"client": 0.0865, "server": 0.0848},
                "payloads": [f"{name}-a", f"{name}-b"],
                "digest": "0123456789ab",
                "slo_ms": 430.0,
                "seconds": 30 if name == "audio" else 10,
                "rounds": rounds,
                "unloaded_seconds": 20.0,
                "share": 0.5,
            }
            for name in workloads
        },
    }


def optional(workload: str = "image") -> dict:
    """What the experiments' files hold, where they were run: of the shape that they have on the disk."""
    found = {"capacity": {workload: capacity(workload)}, "crossover": crossover(), "study": study(workload)}
    return {**found, "efficiency": efficiency(workload)}


def about(workload: str) -> dict:
    """What its figures say of the workload itself."""
    described = BUILT_IN[workload].describe(PLACEMENTS)
    return {key: described[key] for key in ("subject", "placements")}


def capacity(workload: str) -> dict:
    """Of two arms, probed about 12 and 11 requests per second in 20 turns, and of their bursts."""
    probes, rows = [], []
    arms = [f"{workload} client async:1", f"{workload} server async:1"]
    for arm, most in zip(arms, (12.0, 11.0), strict=True):
        for turn in (None, *range(20)):
            rate = most * 1.1 ** ((turn or 0) % 3 - 1)
            ms = 500 * (rate / most) ** 4 * 1.05 ** ((turn or 0) % 2)
            found = {"arm": arm, "turn": turn, "rate": rate, "ms": ms, "over": ms > 500}
            found |= {"slow": "server" if ms > 500 else "", "client_rules": [], "requests": 165, "complete": True}
            probes.append({**found, "valid": ms < 700, "p50": ms / 4, "p99": ms * 1.5})
        for load in (0.5, 0.9):
            for shape, (_, cv) in bursts().items():
                row = {"arm": arm, "load": load, "arrivals": shape, "cv": cv, "p50": 90.0, "p99": 100 * load * (1 + cv)}
                rows.append({**row, "requests": 464 if cv else 176, "valid": cv < 4})
    figures = {"arms": arms, "percentile": 95, "slo_ms": 500.0, "requests": 165, "planned_turns": 20, "probes": probes}
    found = {**about(workload), **figures, "burstiness": rows}
    return {**found, **estimate_capacities(found)}


def crossover() -> list[dict]:
    """Of two networks: a crossing, one by mean, an arm that fails at a point of a sweep without intervals, nothing."""
    regimes = "the real network", "an accelerator that is never the bottleneck (tiny stand-in)"
    turns, certain = ((0.07, 0.9), (0.3, 0.95), (1, 1.02), (4, 1.21), (12, 1.62)), 1.03
    cross = {"by": "p50", "x": 0.76, "low": 0.41, "high": 1.2, "law": "a + b x"}
    closed = sweep("image size", "megapixels", regimes[0], turns, certain, cross)
    by_mean = {"by": "mean", "x": 90.0, "low": 10.0, "high": 1000.0, "law": "a + b / x"}
    unknown = sweep("client workers", "threads", regimes[1], ((1, 0.8), (2, 1.3)), None, None)
    nothing = dict.fromkeys(("ratio", "low", "high"))
    unknown["points"][1] |= {**nothing, "mean": nothing, "client CPU": nothing, "fails": {"client": 0.25}}
    unknown["points"][1] |= {"baseline_p50": None, "candidate_p50": None}
    return [
        closed,
        sweep("link rate, FP32 tensor", "Mbit/s", regimes[1], ((10, 0.4), (100, 1.02), (1000, 1.3)), 1.1, by_mean),
        {**unknown, "says": describe_entry(unknown)},
        sweep("client cores", "cores", regimes[1], (), None, None),
    ]


def sweep(title: str, unit: str, regime: str, ratios, wide: float | None, crossing: dict | None) -> dict:
    """An entry of crossover.json; `wide`: how far the limits of every interval are off, None: no intervals."""
    points = []
    for x, ratio in ratios:
        interval = {"ratio": ratio, "low": wide and ratio / wide, "high": wide and ratio * wide}
        times = {"baseline_p50": 20.0, "candidate_p50": 20.0 * ratio, "rounds": 6, "requests": 300, "kilobytes": 118.4}
        times |= {"excluded": 0, "fails": {}}
        spent = {"mean": interval, "client CPU": {"ratio": 0.2, "low": None, "high": None}}
        points.append({"x": x, "label": f"{x}", **interval, **times, **spent, "invalid": 1, "findings": {"errors": 1}})
    about = {"workload": "image", "sweep": title, "unit": unit, "network": "tiny (random weights)", "regime": regime}
    about["placements"] = BUILT_IN["image"].describe(PLACEMENTS)["placements"]
    entry = {**about, "planned": len(points), "points": points, "crossing": crossing}
    return {**entry, "says": describe_entry(entry)}


def study(workload: str) -> dict:
    conditions, contrasts = [], []
    for placement in PLACEMENTS:
        for client, scale in (("sequential", 2), ("threads:2", 1.2), ("async:1", 1)):
            for law in LAWS if client == "async:1" else tuple(LAWS)[:2]:
                row = {"placement": placement, "mode": client, "arrivals": law, "requests": 480, "rounds": 6}
                row |= {"errors": 0, "invalid": int(client == "sequential")}
                p50, tail = ({"value": v * scale, "low": v * 0.9 * scale, "high": v * 1.2 * scale} for v in (80, 300))
                conditions.append({**row, "p50": p50, "tail": tail})
        apart, open_ = {"value": 2.0, "low": 1.7, "high": 2.4}, {"value": 1.3, "low": None, "high": None}
        contrasts.append({"question": "sequential / async:1", "placement": placement, "p50": apart, "tail": open_})
    figures = {**about(workload), "rate": 7.5, "tail": 99, "conditions": conditions, "contrasts": contrasts}
    return {"workloads": {workload: figures}, "conclusion": ["Sending one at a time took twice as long.", "So it is."]}


def efficiency(workload: str) -> dict:
    """Of an ensemble of two steps, in two repetitions."""

    def turns(rate: float, cpu: float, **batches: float) -> list[efficiency_result.StageFigures]:
        return [efficiency_result.StageFigures(rate * odd, cpu, 0.93, 0.04, batches, 4.0) for odd in (1, 0.98)]

    first, *_, network = BUILT_IN[workload].steps[:2]
    alone = {first: turns(96.0, 0.0102, **{first: 4.0}), network: turns(12.9, 0.0771, **{network: 1.0})}
    ensemble = turns(11.2, 0.086, **{first: 1.6, network: 1.2})
    found = efficiency_result.summarise({workload: ensemble, **alone}, cores=1)
    return {workload: {"subject": "photographs", **found}}


if __name__ == "__main__":
    at = Path(sys.argv[1])
    kept = write(at)
    shown = {name: EXPERIMENTS[name].sections(run(), result, ()) for name, result in optional().items()}
    unloaded = {name: read_pairs(at, name) for name in run()["workloads"]}
    write_page(compare.KIND, at, run(), compare.evaluate(run(), kept, unloaded), kept, shown)
