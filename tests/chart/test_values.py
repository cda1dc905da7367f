"""Wrong values are refused in words that name them, and docs/kubernetes.md has every value with its default."""

import ast
import json
import re

import pytest
import yaml

from tests.chart.rendering import CHART, MONITORED, ROOT, find, merge, render

pytestmark = pytest.mark.chart
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
WRONG = {
    "does not exist": ({"server": {"replica": 3}}, "replica"),
    "does not exist at the top": ({"servers": {}}, "servers"),
    "half a CPU": ({"server": {"cpu": 1.5}}, "cpu"),
    "millicores": ({"load": {"cpu": "500m"}}, "cpu"),
    "latest": ({"image": {"tag": "latest"}}, "tag"),
    "latest of the proxy": ({"proxy": {"image": {"tag": "latest-alpine"}}}, "tag"),
    "no tag": ({"image": {"tag": ""}}, "tag"),
    "half a digest": ({"image": {"digest": "sha256:12"}}, "digest"),
    "none at all": ({"server": {"replicas": 0}}, "replicas"),
    "another engine": ({"server": {"engine": "tpu"}}, "engine"),
    "another precision": ({"server": {"weights": "int8"}}, "weights"),
    "another balance": ({"proxy": {"balance": "source"}}, "balance"),
    "a word for a number": ({"server": {"slo": "fast"}}, "slo"),
    "a memory without a unit": ({"server": {"memory": "8"}}, "memory"),
    "nvidia without a GPU": ({"server": {"engine": "nvidia"}}, "set server.gpus to 1 or more"),
    "a GPU without nvidia": ({"server": {"gpus": 1}}, "set server.engine to nvidia"),
    "only nothing": ({"models": {"only": True}}, "models.claim"),
    "less at most than at least": (merge(MONITORED, {"autoscaling": {"kind": "hpa", "min": 5}}), "min is above"),
    "a queue that nobody measures": ({"autoscaling": {"kind": "hpa"}}, "set monitoring.serviceMonitor"),
    "keda without Prometheus": (merge(MONITORED, {"autoscaling": {"kind": "keda"}}), "set autoscaling.prometheus"),
    "Prometheus without keda": ({"autoscaling": {"prometheus": "http://p:9090"}}, "autoscaling.kind keda only"),
    "the operator with a claim": ({"load": {"kind": "operator"}, "code": {"claim": "c"}}, "leave code.claim empty"),
    "the operator with a digest": (
        {"load": {"kind": "operator", "sysNice": True}}, "load.sysNice"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_are_refused_and_named(what):
    import helm_python

    values, says = WRONG[what]
    with pytest.raises(helm_python.HelmError) as refused:
        render(values)
    assert says in str(refused.value)


def test_the_schema_knows_exactly_what_stands_in_the_values():
    def compare(schema: dict, value, path: str) -> None:
        if isinstance(value, dict) and "properties" in schema:
            assert schema["additionalProperties"] is False, path
            assert schema["properties"].keys() - {"global"} == value.keys(), path
            for name, each in value.items():
                compare(schema["properties"][name], each, f"{path}.{name}")

    compare(json.loads((CHART / "values.schema.json").read_text()), VALUES, "values")


def test_the_chart_serves_the_networks_that_the_launcher_knows():
    launcher = (ROOT / "serving" / "settings.py").read_text()
    known = ast.literal_eval(re.search(r"^WEIGHTS = (.*)$", launcher, re.M)[1])
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"]["server"]["properties"]["weights"]["enum"] == list(known)
    for weights in known:
        triton = find(render({"server": {"weights": weights}}), "Deployment", "demo-triton")
        assert f"--weights={weights}" in triton["spec"]["template"]["spec"]["containers"][0]["args"]


def flatten(values: dict, prefix: str = "") -> dict[str, str]:
    """Return defaults as they stand in the table; what may hold names of one's own is one value."""
    flat = {}
    for name, value in values.items():
        own = name in ("labels", "dashboardLabels", "nodeSelector")
        if isinstance(value, dict) and not own:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value) if not isinstance(value, str) or not value else value
    return flat


def test_the_table_in_docs_is_held_to_the_values():
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", page, re.M))
    assert rows == flatten(VALUES)
