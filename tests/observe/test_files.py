"""deploy/observe and docker-compose.observe.yml: what Prometheus, Grafana and compose make of them."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from benchmarks import prometheus
from serving import docker
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "observe"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "crossover.json"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.observe.yml").read_text())
needs_promtool = pytest.mark.skipif(not prometheus.is_here(), reason="no promtool (Debian: apt install prometheus)")


@needs_promtool
@pytest.mark.parametrize("check", ["check config prometheus.yml", "check rules rules.yml", "test rules rules_test.yml"])
def test_promtool_passes(check):
    done = subprocess.run(["promtool", *check.split()], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_test():
    rules = [rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]]
    tests = (FOLDER / "rules_test.yml").read_text()
    for rule in rules:
        assert re.search(rf"\b{re.escape(rule.get('record') or rule['alert'])}\b", tests), rule


def test_the_dashboard_is_what_its_source_makes():
    pytest.importorskip("grafana_foundation_sdk", reason="it is for Python 3.11 and later")
    program = "import sys; sys.path.insert(0, 'deploy/observe'); import dashboard; print(dashboard.make(), end='')"
    made = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == DASHBOARD.read_text(), "run `.venv/bin/python deploy/observe/dashboard.py`, and commit it"


def write_as_grafana_knows_it(content: dict) -> dict:
    """Read a dashboard with Grafana's published model, and write it again."""
    pytest.importorskip("grafana_foundation_sdk", reason="it is for Python 3.11 and later")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(content), cls=JSONEncoder))


def test_grafanas_published_model_knows_everything_in_the_dashboard():
    """Nothing is lost. Grafana itself was not run."""
    content = json.loads(DASHBOARD.read_text())
    assert write_as_grafana_knows_it(content) == content


def test_a_field_that_grafana_does_not_know_would_be_noticed():
    content = {**json.loads(DASHBOARD.read_text()), "colour": "green"}
    assert write_as_grafana_knows_it(content) != content


def test_grafana_finds_what_is_provisioned():
    [source] = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    [given] = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/crossover.yml").read_text())["providers"]
    mounts = dict(
        reversed(each.removesuffix(":ro").split(":")) for each in COMPOSE["services"]["grafana"]["volumes"][:2]
    )
    assert ROOT / mounts[given["options"]["path"]] == DASHBOARD.parent
    assert ROOT / mounts["/etc/grafana/provisioning"] == FOLDER / "grafana" / "provisioning"
    assert source["url"] == "http://127.0.0.1:9090" and source["jsonData"]["timeInterval"] == prometheus.INTERVAL


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_container_is_pinned_and_confined(name):
    service = COMPOSE["services"][name]
    assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"])
    assert (
        service["read_only"] and service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    )
    assert not service["user"].startswith(("0", "root")) and service["mem_limit"] and service["pids_limit"]
    listens = " ".join([*service.get("command", []), *service.get("environment", {}).values()])
    assert "127.0.0.1" in listens and "0.0.0.0" not in listens


@pytest.mark.skipif(docker.compose_command() is None, reason="neither `docker compose` nor docker-compose is installed")
def test_compose_takes_the_file():
    command = [*docker.compose_command(), f"--file={ROOT / 'docker-compose.observe.yml'}", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
