"""deploy/swarm: what its file says; on a Docker engine, replicas behind the proxy, one of which is killed under load.

Where the engine is in no swarm, one is made for the tests and left afterwards.
"""

import subprocess
import threading
import time

import pytest
import yaml

from benchmarks import swarm
from benchmarks.swarm import Stack, docker
from loadgen.samples.sample import STATUSES
from serving import ROOT, Failure
from serving import docker as engine

SERVICES = yaml.safe_load(swarm.STACK.read_text())["services"]
obstacle = engine.obstacle()
needs_engine = pytest.mark.skipif(obstacle is not None, reason=str(obstacle))
PROXY = (
    "FROM python:3.11-slim-bookworm\nRUN apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy\n"
)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined_and_limited(name):
    service = SERVICES[name]
    assert service["user"] == "10001:10001" and service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert "latest" not in service["image"] and ":-" in service["image"]
    assert not {"cap_add", "privileged", "network_mode", "pid", "ipc"} & service.keys()
    assert "docker.sock" not in str(service)


def test_nothing_needs_a_virtual_address_or_the_mesh():
    assert {each["deploy"]["endpoint_mode"] for each in SERVICES.values()} == {"dnsrr"}
    assert {port["mode"] for port in SERVICES["proxy"]["ports"]} == {"host"} and "ports" not in SERVICES["triton"]


def build(image: str, command: list[str], context: bytes) -> None:
    done = subprocess.run([*command, "-t", image, "-"], input=context, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    """An engine that manages a swarm, and has the images of the checkout and of a proxy."""
    done = engine.run_compose("crossover-swarm", ["build", "server"], {})
    assert done.returncode == 0
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    files = [each for each in listed if each and each != ".dockerignore" and (ROOT / each).exists()]
    packed = subprocess.run(["tar", "-c", *files], cwd=ROOT, capture_output=True, check=True).stdout
    build(swarm.IMAGE, ["docker", "build", "-f", "deploy/helm/Dockerfile"], packed)
    if subprocess.run(["docker", "pull", "-q", swarm.PROXY_IMAGE], capture_output=True, check=False).returncode:
        build(swarm.PROXY_IMAGE, ["docker", "build"], PROXY.encode())  # Debian's, under the name of the official one
    joined = docker("info", "--format", "{{.Swarm.LocalNodeState}}") != "inactive"
    if not joined:
        docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        docker("swarm", "update", "--dispatcher-heartbeat", "60s")  # a busy machine's node is not lost
    try:
        yield
    finally:
        if not joined:
            docker("swarm", "leave", "--force")


@pytest.fixture(scope="module")
def three(member):
    with swarm.deploy("crossover-test", 3, 0.25) as stack:
        stack.wait_until_ready()
        yield stack


@needs_engine
@pytest.mark.long
@pytest.mark.parametrize("wire", [[], ["--transport", "grpc", "--grpc-port", "8001"]], ids=["http", "grpc"])
def test_the_proxy_spreads_a_run_evenly_over_replicas_that_are_each_held_to_a_quarter_of_a_core(three, tmp_path, wire):
    run = three.send(tmp_path, "--arrivals", "constant:rate=10", "--seconds", "6", "--percentile", "50", *wire)
    assert run["books"]["scheduled"] == run["books"]["completed"] == 60
    assert len(run["replicas"]) == 3 and sum(run["replicas"].values()) >= 60
    assert "replicas" not in {found["rule"] for found in run["findings"]}
    for task in three.find_tasks():
        assert docker("inspect", "--format", "{{.HostConfig.NanoCpus}}", task) == "250000000"


@needs_engine
@pytest.mark.long
def test_a_replica_that_is_killed_under_load_leaves_every_request_accounted_for_and_is_replaced(three, tmp_path):
    def kill():
        while not [*tmp_path.glob("*/*/samples.journal")]:
            time.sleep(0.1)
        time.sleep(5)
        docker("kill", "--signal", "KILL", three.find_tasks()[0])

    killing = threading.Thread(target=kill)
    killing.start()
    run = three.send(tmp_path, "--arrivals", "constant:rate=10", "--seconds", "20", "--percentile", "50")
    killing.join()
    books = run["books"]
    assert books["scheduled"] == 200 == sum(books[status] for status in STATUSES)
    assert books["completed"] >= 100, books
    assert None in run["replicas"].values()
    assert "replicas" in {found["rule"] for found in run["findings"]}
    print(books, run["replicas"])
    wait_until_replaced(three)


def wait_until_replaced(stack: Stack) -> None:
    stack.wait_until_ready()
    assert len(stack.find_tasks()) == 3


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--seconds", "nan"], "must be a positive number"),
        (["--replicas", "1"], "--replicas must be 2 or more, beside the one that there is, not 1"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        swarm.main(arguments)
    [said] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and line in said


def test_without_an_engine_it_says_so(monkeypatch, capsys):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    with pytest.raises(SystemExit) as ended:
        swarm.main([])
    [said] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and said.startswith("docker info: ") and "docs/swarm.md" in said


def test_a_ratio_has_an_interval_from_two_rounds_on():
    found = swarm.estimate_ratio([10, 20, 40], [29, 60, 121])
    low, high = found.ratios()
    assert 2.7 < low < found.ratio < high < 3.3 and found.ratio == pytest.approx((2.9 * 3 * 3.025) ** (1 / 3))
    assert swarm.estimate_ratio([10], [30]).ratios()[0] == 0


def test_what_docker_complains_of_is_one_line(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Failure, match=r"^docker info: "):
        docker("info")
