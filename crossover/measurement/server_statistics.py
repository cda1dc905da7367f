"""What a server's models did between two readings of Triton's statistics.

The fields are those of Triton's statistics extension:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

COUNTS = ("requests", "executions", "inferences")
STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


def difference(before: dict[str, dict], after: dict[str, dict], steps: tuple[str, ...]) -> dict[str, dict]:
    """Return what each step did between two readings of `Server.statistics()`.

    Step -> its `requests`, its `mean_batch` (inferences per execution), and mean ms per request: `ms` in each of
    STAGES, `total` in all. `queue` is time in Triton's scheduler; the compute stages are reading inputs, running the
    model and writing outputs. Left out are steps that did nothing, and steps whose counters are missing or went back,
    as after a restart: what they did is not known then.
    """
    result = {}
    for step in steps:
        if step not in before or step not in after:
            continue
        old, new = counters(before[step]), counters(after[step])
        spent = {name: new[name] - old[name] for name in new}
        if min(spent.values()) < 0 or not all(spent[name] for name in COUNTS):
            continue
        ms = {name: spent[name] / spent["requests"] / 1e6 for name in (*STAGES, "total")}
        result[step] = {
            "requests": spent["requests"],
            "mean_batch": spent["inferences"] / spent["executions"],
            "total": ms.pop("total"),
            "ms": ms,
        }
    return result


def count_inferences(statistics: dict[str, dict]) -> dict[str, int]:
    """Return model -> inferences since it was loaded, from a reading of `Server.statistics()`."""
    return {name: model["inference_count"] for name, model in statistics.items()}


def counters(model: dict) -> dict[str, int]:
    """Return what only rises while a model is loaded: COUNTS, and the ns spent in each of STAGES and in all."""
    statistics = model["inference_stats"]
    counts = {"executions": model["execution_count"], "inferences": model["inference_count"]}
    counts |= {"requests": statistics["success"]["count"], "total": statistics["success"]["ns"]}
    return {**counts, **{stage: statistics[stage]["ns"] for stage in STAGES}}
