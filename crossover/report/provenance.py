"""Where the figures of a page came from, and what of that must not be overlooked; from run.json and the blocks."""

from collections.abc import Sequence
from pathlib import Path

from crossover.measurement import compatibility
from crossover.measurement.trial import Block

COUNTED_IN = {
    "study": "They are counted in, and their conditions are marked: a naive client may fall behind what it is offered.",
    "crossover": "They are counted in; the table of each sweep says at which points, that of blocks what to change.",
}


def listed(cores: Sequence[int]) -> str:
    return ", ".join(map(str, cores)) or "unknown"


def servers(run: dict) -> dict[str, dict]:
    """What is called how -> version, url, engine, cores of both sides, models; a crossover starts several servers."""
    if "server" in run:
        return {"server": {**run["server"], "engine": run["engine"], "cores": run["cores"]}}
    found: dict[str, dict] = {}
    for path, sweep in run["sweeps"].items():
        facts = sweep["server"]
        name = f"{path.partition('/')[0]} server"
        one = found.setdefault(name, {**facts, "models": {}})
        one["cores"] = {"client": sweep.get("client_cores", []), "server": facts["cores"]}
        one["models"] = {**one["models"], **facts["models"]}
    return found


def offered(run: dict) -> dict[str, str]:
    """What was sent, by workload or sweep."""
    if "sweeps" in run:
        return {
            path: "; ".join(f"{at['label']}: {at['arrivals']} for {at['seconds']:g} s" for at in sweep["points"])
            for path, sweep in run["sweeps"].items()
        }
    result = {}
    for name, sent in run["workloads"].items():
        told = [f"client preprocesses with {sent['library']}", f"payloads {', '.join(sent['payloads'])}"]
        if "arrivals" in sent:
            told = [f"{sent['arrivals']}, {sent['seconds']:g} s a block", *told]
        if "percentile" in sent:
            told = [f"p{sent['percentile']:g} at most {sent['slo_ms']:g} ms", *told]
        elif "slo_ms" in sent:
            told = [*told, f"goodput counts answers within {sent['slo_ms']:g} ms"]
        if "rate" in sent:
            told = [f"{sent['rate']:g} requests/s, {sent['rounds']} rounds of {sent['requests']} requests", *told]
        result[name] = ", ".join(told)
    return result


def source(place: Path, run: dict, other: dict) -> dict:
    """Of an experiment that is shown in another's report: where it lies, and what it was measured on that differs."""
    differs = []
    for key in compatibility.MACHINE:
        if run["machine"][key] != other["machine"][key]:
            differs.append(f"{key} {other['machine'][key]}")
    if "server" in other:  # a crossover starts servers with several weights, and names them at every plot
        models = [each["server"]["models"] for each in (run, other)]
        for model in sorted(set(models[0]) & set(models[1])):
            mine, theirs = (compatibility.identify_weights(each[model]) for each in models)
            differs += [f"weights of {model}: {compatibility.format_setting(theirs)}"] if mine != theirs else []
    made = {"place": str(place), "created": other["created"], "revision": other["machine"]["revision"]}
    return {**made, "complete": other["complete"], "differs": differs}


def banners(run: dict, blocks: Sequence[Block], summary: dict, kind: str) -> list[tuple[str, str]]:
    """(what is wrong, what it means)."""
    found = []
    if not (run.get("complete") and summary.get("complete", True)):
        found.append(("This run is incomplete.", "It was cut short: what follows is what was measured until then."))
    arms = [arm for workload in summary["workloads"].values() for arm in workload["arms"]]
    trusted = {arm["arm"] for arm in arms if arm["valid"]}  # a block's backlog may be chance: its rounds say so
    invalid = [block for block in blocks if not block.valid and block.arm not in trusted]
    if invalid and kind != "capacity":
        rules = ", ".join(dict.fromkeys(finding["rule"] for block in invalid for finding in block.findings))
        named = ", ".join(dict.fromkeys(block.arm for block in invalid))
        count = f"{len(invalid)} of {len(blocks)} blocks {'is' if len(invalid) == 1 else 'are'} INVALID ({rules})."
        unreliable = f"Do not rely on the figures of {named}; the table of blocks says what to change."
        lost = sum(len(each["left_out"]) for each in summary["workloads"].values())
        if lost:
            rounds = "1 round whose data are" if lost == 1 else f"{lost} rounds whose data are"
            unreliable += f" The comparison leaves out {rounds} wrong."
        found.append((count, COUNTED_IN.get(kind, unreliable)))
    for arm in arms:
        for fault in (fault for fault in arm["findings"] if fault["round"] is None):
            told = f"{fault['rule']}: {fault['measured']} ({fault['limit']}); {fault['change']}."
            found.append((f"{arm['arm']} is INVALID.", told[0].upper() + told[1:]))
    for one in servers(run).values():
        if shared := set(one["cores"]["client"]) & set(one["cores"]["server"]):
            what = f"Client and server share cores ({listed(sorted(shared))})."
            found.append((what, "A comparison on shared cores is not of equal budgets."))
    models = [each for one in servers(run).values() for each in one["models"].items()]
    kinds: dict[str, list[str]] = {}
    for model, facts in models:
        if origin := facts.get("provenance"):
            kinds.setdefault(origin["weights"], []).append(model)
    for weights, among in kinds.items():
        where = f"In {', '.join(dict.fromkeys(among))}."
        if weights == "stand-in" and kind != "crossover":  # a crossover has them on purpose, and says so
            found.append(("Neither latency nor predictions are those of the real networks: stand-in weights.", where))
        elif weights not in ("pretrained", "stand-in"):
            found.append((f"Latency is valid, predictions are not: {weights} weights.", where))
    for name, other in summary.get("sources", {}).items():
        if not other["complete"]:
            found.append((f"The {name} shown is incomplete.", f"{other['place']} was cut short."))
        if other["differs"]:
            what = f"The {name} shown was measured on something else."
            found.append((what, f"{other['place']}: {'; '.join(other['differs'])}."))
    return list(dict.fromkeys(found))
