"""The server's half of the story, read over HTTP: what it is, and what its models did during a run."""

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from common import address
from common.messages import first_line, one_line

GPU_METRIC = r"^(nv_gpu_utilization|nv_energy_consumption)\{.*\} (\S+)$"
GPU_METRICS = ("nv_gpu_utilization", "nv_energy_consumption")
COUNTS = ("requests", "executions", "inferences")
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the load takes no proxy either
STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


class Unavailable(Exception):
    """The server cannot be asked; the message is one line."""


@dataclass(frozen=True)
class Server:
    """A Triton server at `url`; `state` is the launcher's record of it if it runs on this machine, else {}."""

    url: str
    state: dict

    @classmethod
    def at(cls, url: str, state_directory: Path) -> "Server":
        """Raises ValueError for a URL that is none, in one line without a secret."""
        server = address.parse(url)
        try:
            state = json.loads((state_directory / "server.json").read_text())
        except (OSError, ValueError):
            state = {}
        return cls(server.url, state if server.port == state.get("http_port") else {})

    def get(self, path: str) -> dict:
        """The answer's JSON object. Raises Unavailable if there is none, with the server's words if it has any."""
        try:
            with direct.open(self.url + path, timeout=10) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as refusal:
            raise Unavailable(f"{self.url}{path}: HTTP {refusal.code}: {words(refusal)}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = one_line(getattr(error, "reason", None) or error or type(error).__name__) or type(error).__name__
            raise Unavailable(f"no Triton server answers at {self.url}{path} ({why}); is `make up` done?") from None
        if not isinstance(answer, dict):
            raise Unavailable(f"no Triton server answers at {self.url}{path}: its JSON is no object")
        return answer

    def field(self, path: str, name: str):
        """One field of that answer. Raises Unavailable if it lacks it, as what is not Triton does."""
        answer = self.get(path)
        if name not in answer:
            raise Unavailable(f"no Triton server answers at {self.url}{path}: its answer has no {name!r}")
        return answer[name]

    def require(self, models: Iterable[str]) -> None:
        """Raises Unavailable if the server does not answer, or one of these models is not ready there."""
        self.field("/v2", "version")
        statistics = self.statistics()
        if missing := [model for model in models if model not in statistics]:
            there = ", ".join(sorted(statistics)) or "none"
            raise Unavailable(f"{self.url} has no model {missing[0]}, only {there}; is `make up` done?")

    def facts(self, models: tuple[str, ...]) -> dict:
        """Version, and each model's instances, thread parameters and weights as the server reports them."""
        described = {"url": self.url, "version": self.field("/v2", "version"), "models": {}}
        for model in models:
            config = self.get(f"/v2/models/{model}/config")
            parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
            provenance = parameters.pop("provenance", None)
            described["models"][model] = {
                "instances": sum(group["count"] for group in config.get("instance_group", [])),
                "parameters": parameters,
                **({"provenance": json.loads(provenance)} if provenance else {}),
            }
        return described

    def statistics(self) -> dict[str, dict]:
        """Cumulative counters by model; take `difference` of two readings."""
        return {model["name"]: model for model in self.field("/v2/models/stats", "model_stats")}

    def wait(self, seconds: float) -> None:
        """Until it answers. Raises Unavailable if it does not within that time."""
        end = time.monotonic() + seconds
        while True:
            try:
                self.statistics()
                return
            except Unavailable:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    @property
    def cores(self) -> list[int]:
        return self.state.get("cores", [])

    def cpu_seconds(self) -> float | None:
        """CPU time so far of the server and its stubs, also in a container; None where they are not of this machine."""
        try:
            root = psutil.Process(self.state.get("pid") or self.state["container_pid"])
            family = [root, *root.children(recursive=True)]
            return sum(sum(process.cpu_times()[:2]) for process in family)
        except (KeyError, TypeError, psutil.Error):
            return None

    def gpu(self) -> dict | None:
        """Of all GPUs, as Triton's metrics tell: joules spent so far, mean utilisation now (0 to 1); None without."""
        try:
            metrics = address.Address(address.parse(self.url).host, self.state["metrics_port"])
            with direct.open(f"{metrics.url}/metrics", timeout=10) as response:
                told = re.findall(GPU_METRIC, response.read().decode(), re.M)
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return None
        used, spent = ([float(value) for name, value in told if name == each] for each in GPU_METRICS)
        return {"energy_joules": sum(spent), "utilisation": sum(used) / len(used)} if used and spent else None


def words(refusal: urllib.error.HTTPError) -> str:
    """What an error's answer says, in one line."""
    body = refusal.read(4096)
    try:
        return first_line(json.loads(body)["error"])
    except (ValueError, TypeError, KeyError):
        return first_line(refusal.reason)


def difference(before: dict[str, dict], after: dict[str, dict], steps: tuple[str, ...]) -> dict[str, dict]:
    """What each step did between two readings: requests, mean batch, mean ms per request in each stage and in all.

    Per Triton's statistics extension, `queue` is time in the scheduler and the three compute stages are
    reading inputs, running the model and writing outputs. Left out are steps that did nothing, and those whose
    counters are missing or began anew, as after a restart: no one knows then what they did.
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


def counters(model: dict) -> dict[str, int]:
    """What only rises while a model is loaded: counts, and ns in each stage and in all."""
    told = model["inference_stats"]
    counts = {"executions": model["execution_count"], "inferences": model["inference_count"]}
    counts |= {"requests": told["success"]["count"], "total": told["success"]["ns"]}
    return {**counts, **{stage: told[stage]["ns"] for stage in STAGES}}
