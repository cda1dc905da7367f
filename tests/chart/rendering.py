"""The chart as Helm's library renders it, and the table of value combinations that the tests go through."""

import copy
import functools
import itertools
import json
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "crossover"
RELEASE, NAMESPACE = "demo", "prod"
GPU = {"engine": "nvidia", "gpus": 1, "nodeSelector": {"gpu": "h200"}, "tolerations": [{"key": "gpu"}]}
MONITORED = {
    "monitoring": {"serviceMonitor": True, "rules": True, "dashboard": True, "labels": {"release": "prometheus"}}
}

AXES = {
    "image": {
        "cpu": {},
        "claim": {"code": {"claim": "checkout"}},
        "nvidia": {"server": GPU, "image": {"digest": "sha256:" + "5" * 64, "pullSecrets": ["registry"]}},
    },
    "models": {
        "ours": {},
        "more": {"models": {"claim": "mine"}, "server": {"args": ["--on-cpu=resnet50"], "adminKeySecret": "key"}},
        "own": {"models": {"claim": "mine", "only": True}},
    },
    "scaling": {
        "none": {},
        "monitored": MONITORED,
        "hpa": {**MONITORED, "autoscaling": {"kind": "hpa", "min": 2, "max": 6}},
        "keda": {**MONITORED, "autoscaling": {"kind": "keda", "prometheus": "http://prometheus.monitoring:9090"}},
    },
    "load": {
        "none": {"network": {"policy": False}},
        "job": {"load": {"kind": "job", "reportsClaim": "reports"}},
        "locust": {"load": {"kind": "locust", "sysNice": True, "nodeSelector": {"pool": "load"}}},
        "operator": {"load": {"kind": "operator", "workers": 4, "locustArgs": ["--users", "3"]}},
    },
}  # fmt: skip
"""Per axis, the values of each of its places; a case is one place of every axis."""


def merge(*values: dict) -> dict:
    """Return values of several places as one; of two scalars the later one stays."""
    merged: dict = {}
    for each in values:
        for name, value in each.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = merge(merged[name], value) if both else value
    return merged


def list_cases() -> dict[str, dict]:
    """Return every combination that goes together, by its name: `cpu ours none none`."""
    cases = {}
    for places in itertools.product(*AXES.values()):
        if places[0] == "claim" and places[-1] == "operator":
            continue  # refused: tests/chart/test_values.py
        cases[" ".join(places)] = merge(*(AXES[axis][place] for axis, place in zip(AXES, places, strict=True)))
    return cases


CASES = list_cases()


def render(values: dict) -> list[dict]:
    """Return the objects of a release `demo` in the namespace `prod`. Raises helm_python.HelmError for wrong values."""
    return copy.deepcopy(render_once(json.dumps(values)))


@functools.cache
def render_once(values: str) -> list[dict]:
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(json.loads(values), name=RELEASE, namespace=NAMESPACE)
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def find(objects: list[dict], kind: str, name: str = "") -> dict:
    """Return the only object of this kind and, if given, this name."""
    (found,) = [each for each in objects if each["kind"] == kind and name in ("", each["metadata"]["name"])]
    return found


def list_pods(objects: list[dict]) -> dict[str, dict]:
    """Return the pods' templates of what makes pods, by `Kind/name`."""
    makers = [each for each in objects if each["kind"] in ("Deployment", "Job", "StatefulSet", "DaemonSet")]
    return {f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"] for each in makers}
