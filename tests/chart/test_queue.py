"""The autoscalers' query, asked of Prometheus: busy replicas, idle ones, another release's, and none that answers."""

import json
import re
import shutil
import subprocess

import pytest

from tests.chart.rendering import CASES, ROOT, find, render

pytestmark = [
    pytest.mark.chart,
    pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool (Debian: apt install prometheus)"),
]
RECORDED = "instance:triton_queue_seconds:max_rate30s"
OURS, IDLE, OTHERS = "prod/demo-triton-a", "prod/demo-triton-b", "prod/other-triton-a"


def read_query() -> str:
    (trigger,) = find(render(CASES["cpu ours keda none"]), "ScaledObject")["spec"]["triggers"]
    return trigger["metadata"]["query"]


@pytest.mark.parametrize(
    ("up", "waits", "expected"),
    [
        ({OURS: 1, IDLE: 1}, {OURS: 0.08, IDLE: 0.02}, [0.1]),
        ({OURS: 1, IDLE: 1}, {OURS: 0.08, OTHERS: 5}, [0.08]),
        ({OURS: 1, IDLE: 1}, {}, [0]),
        ({OURS: 0, OTHERS: 1}, {}, []),
        ({}, {OTHERS: 5}, []),
    ],
)
def test_the_query_sums_this_releases_waits_and_is_silent_where_nobody_answers(tmp_path, up, waits, expected):
    series = [{"series": f'up{{instance="{name}"}}', "values": f"{value}x5"} for name, value in up.items()]
    series += [
        {"series": f'{RECORDED}{{job="triton",instance="{name}"}}', "values": f"{value}x5"}
        for name, value in waits.items()
    ]
    samples = [{"labels": "{}", "value": value} for value in expected]
    test = {"expr": read_query(), "eval_time": "1m", "exp_samples": samples}
    file = tmp_path / "test.json"
    file.write_text(json.dumps({"tests": [{"interval": "30s", "input_series": series, "promql_expr_test": [test]}]}))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_adapters_rule_in_docs_asks_the_same():
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    (query,) = re.findall(r"metricsQuery: '(.*)'", page)
    assert query == read_query().replace("prod/", "crossover/")
