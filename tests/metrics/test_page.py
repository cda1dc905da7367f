"""docs/metrics.md holds what the code exports: every metric with its type, its labels and its help."""

import re
import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from loadgen.metrics import exporter
from loadgen.metrics.arm_metrics import ArmMetrics
from loadgen.metrics.families import ARM, FAMILIES
from loadgen.samples.sample import STATUSES
from loadgen.samples.verdict import Finding, Validity
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROW = r"^\| `(crossover_\w+)` \| (\w+) \| (?:`(\w+)`)? ?\| (.*) \|$"


def exported() -> exporter.Metrics:
    """Metrics with a value of every family."""
    metrics = exporter.Metrics()
    metrics.arms["image", "server async:1"] = arm = ArmMetrics()
    arm.end(Validity((Finding("errors", "1 failed", "none", "mend"),)))
    return metrics


def test_the_page_lists_every_metric_with_type_labels_and_help():
    rows = re.findall(ROW, PAGE, re.M)
    assert rows == [(each.name, each.type, "".join({*each.labels} - {*ARM}), each.help) for each in FAMILIES]
    assert [each.name for each in FAMILIES if not each.labels] == [row[0] for row in rows[-2:]]


def test_the_page_lists_every_status():
    [line] = re.findall(r"^- `status` is (.*?), as in", PAGE, re.M | re.S)
    assert re.findall(r"`(\w+)`", line) == [status.replace(" ", "_") for status in STATUSES]


def test_what_is_exported_is_what_is_declared():
    for family, metric in zip(FAMILIES, exported().collect(), strict=True):
        total = "_total" if metric.type == "counter" else ""
        assert (f"{metric.name}{total}", metric.type, metric.documentation) == (family.name, family.type, family.help)
        assert metric.samples, family.name
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == set(family.labels)


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool (Debian: apt install prometheus)")
def test_promtool_finds_nothing_wrong_with_names_and_units():
    registry = CollectorRegistry()
    registry.register(exported())
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=generate_latest(registry), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
