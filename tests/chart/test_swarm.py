"""The swarm's proxy has the configuration that the chart renders, with the swarm's name for the replicas."""

import subprocess

from tests.chart.rendering import CHART, NAMESPACE, RELEASE
from tests.chart.test_proxy import HAPROXY, pytestmark, read_configuration

__all__ = ["pytestmark"]
FILE = CHART.parents[1] / "swarm" / "haproxy.cfg"


def test_the_swarm_s_proxy_is_configured_as_the_chart_s():
    rendered = read_configuration(server={"replicas": 3})
    assert f"{RELEASE}-triton.{NAMESPACE}.svc.cluster.local" in rendered
    meant = rendered.replace(f"{RELEASE}-triton.{NAMESPACE}.svc.cluster.local", "tasks.triton")
    assert FILE.read_text().strip() == meant.strip()


def test_haproxy_takes_it():
    done = subprocess.run([HAPROXY, "-c", "-f", FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
