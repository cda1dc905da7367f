"""Where the figures of a page came from, and what of that must not be overlooked.

Everything here is read from run.json.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossover.analysis.wording import join
from crossover.measurement import compatibility
from crossover.report.format import listed


def list_servers(run: Mapping) -> dict[str, dict]:
    """Return name -> version, url, engine, cores of both sides and models of the servers of a run.

    Most runs have one, called `server`; sweeps start several, whose facts stand with each sweep in run.json.
    """
    if "server" in run:
        return {"server": {**run["server"], "engine": run["engine"], "cores": run["cores"]}}
    found: dict[str, dict] = {}
    for path, sweep in run["sweeps"].items():
        facts = sweep["server"]
        # The first folder of a sweep is named for its weights; servers of the same weights share a row.
        name = f"{path.partition('/')[0]} server"
        one = found.setdefault(name, {**facts, "models": {}})
        one["cores"] = {"client": sweep.get("client_cores", []), "server": facts["cores"]}
        one["models"] = {**one["models"], **facts["models"]}
    return found


def describe_load(run: Mapping) -> dict[str, str]:
    """Return in words what was offered and sent, by workload, or by the folder of each sweep.

    `run` is the content of run.json.
    """
    if "sweeps" in run:
        return {
            path: "; ".join(f"{at['label']}: {at['arrivals']} for {at['seconds']:g} s" for at in sweep["points"])
            for path, sweep in run["sweeps"].items()
        }
    result = {}
    for name, sent in run["workloads"].items():
        parts = [f"payloads {', '.join(sent['payloads'])}"]
        if libraries := describe_libraries(sent):
            parts = [f"client preprocesses with {libraries}", *parts]
        if "arrivals" in sent:
            parts = [f"{sent['arrivals']}, {sent['seconds']:g} s a trial", *parts]
        # With a percentile the SLO is a limit to be kept; without one it only says which answers are good.
        if "percentile" in sent:
            parts = [f"p{sent['percentile']:g} at most {sent['slo_ms']:g} ms", *parts]
        elif "slo_ms" in sent:
            parts = [*parts, f"goodput counts answers within {sent['slo_ms']:g} ms"]
        if "rate" in sent:
            parts = [f"{sent['rate']:g} requests/s, {sent['rounds']} rounds of {sent['requests']} requests", *parts]
        result[name] = ", ".join(parts)
    return result


def describe_libraries(sent: Mapping) -> str:
    """Write what the client of a workload prepares with, by arm where that differs; empty where it is not known.

    Runs of earlier versions do not say it by arm.
    """
    arms: dict[str, list[str]] = {}
    for name, placed in sent.get("placements", {}).items():
        if library := placed.get("library"):
            arms.setdefault(library, []).append(name)
    if len(arms) > 1:
        return join([f"{library} ({', '.join(names)})" for library, names in arms.items()])
    return next(iter(arms), sent["library"])


def source(place: Path, run: dict, other: dict) -> dict:
    """Return where a run lies that is shown on another's page, and what it was measured on that differs.

    `run` is the run.json of the page's run, `other` that of the one at `place`. The result has `place`, `created`,
    `revision`, `complete`, and `differs`, a list of texts.
    """
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


def list_banners(
    run: Mapping,
    own: Sequence[tuple[str, str]],
    wants_stand_ins: bool,
    sources: Mapping[str, Mapping],
) -> list[tuple[str, str]]:
    """Return (what is wrong, what it means) for each thing that a reader should know, most general first.

    `own` are the experiment's; stand-in weights are named unless it wants them. `sources`, by experiment, are those of
    sections that another run measured.
    """
    banners = []
    if not run.get("complete"):
        banners.append(("This run is incomplete.", "It was cut short: what follows is what was measured until then."))
    banners += own
    for server in list_servers(run).values():
        banners += [("The way to the server is not protected.", f"{line}.") for line in server.get("unprotected", ())]
    for server in list_servers(run).values():
        if shared := set(server["cores"]["client"]) & set(server["cores"]["server"]):
            what = f"Client and server share cores ({listed(sorted(shared))})."
            banners.append((what, "A comparison on shared cores is not of equal budgets."))
    for weights, models in models_by_weights(run).items():
        where = f"In {', '.join(models)}."
        if weights == "stand-in" and not wants_stand_ins:
            what = "Neither latency nor predictions are those of the real networks: stand-in weights."
            banners.append((what, where))
        elif weights not in ("pretrained", "stand-in"):
            banners.append((f"Latency is valid, predictions are not: {weights} weights.", where))
    for name, source in sources.items():
        if not source["complete"]:
            banners.append((f"The {name} shown is incomplete.", f"{source['place']} was cut short."))
        if source["differs"]:
            what = f"The {name} shown was measured on something else."
            banners.append((what, f"{source['place']}: {'; '.join(source['differs'])}."))
    # Several servers of one run may have the same to tell.
    return list(dict.fromkeys(banners))


def models_by_weights(run: Mapping) -> dict[str, list[str]]:
    """Return kind of weights (`pretrained`, `random`, `stand-in`) -> the models that have such."""
    found: dict[str, dict[str, None]] = {}
    for server in list_servers(run).values():
        for model, facts in server["models"].items():
            if origin := facts.get("provenance"):
                found.setdefault(origin["weights"], {})[model] = None
    return {weights: list(models) for weights, models in found.items()}
