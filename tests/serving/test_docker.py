"""Laws of the containers. Those that need a Docker engine are skipped where none answers."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace

import pyarrow.parquet
import pytest

from serving import ROOT, Failure, docker, smoke_test, status
from serving.server import Server
from serving.thread_plan import plan_threads
from serving.triton_api import Refused, TritonAPI
from tests.conftest import launch, ports

obstacle = docker.obstacle()
needs_engine = pytest.mark.skipif(obstacle is not None, reason=str(obstacle))
COMPOSE = docker.compose_command()


@pytest.mark.skipif(COMPOSE is None, reason="neither `docker compose` nor docker-compose is installed")
@pytest.mark.parametrize("files", [["docker-compose.yml"], ["docker-compose.yml", "docker-compose.gpu.yml"]])
def test_the_compose_files_say_what_is_meant(files):
    command = [*COMPOSE, *(f"--file={ROOT / file}" for file in files), "--profile", "loadgen", "config"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CROSSOVER_")}
    clean["CROSSOVER_ADMIN_KEY"] = "swordfish"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("swordfish") == 1, "the key is the server's alone"
    confined = ("read_only: true", "no-new-privileges:true", "- ALL", "mem_limit: ", "pids_limit: 1024", "user: 10001:")
    for line in confined:
        assert done.stdout.count(line) == 3, f"{line} is meant for server, master and worker"
    assert done.stdout.count("cap_drop:") == 3
    for word in ("cap_add", "privileged: true", "docker.sock", "network_mode", "pid: host", "ipc: host"):
        assert word not in done.stdout
    published = len(re.findall(r"published:|:\d+/tcp$", done.stdout, re.M))  # as the two docker composes print it
    assert published == done.stdout.count("127.0.0.1") == 5
    assert ("driver: nvidia" in done.stdout) == (len(files) == 2)


def inspect(record) -> dict:
    return json.loads(docker.output_of("docker", "inspect", docker.container(record.name)))[0]


@pytest.fixture(scope="module")
def contained(tmp_path_factory):
    """The server in its container; the record of it, and `state`."""
    state = tmp_path_factory.mktemp("contained")
    try:
        done = launch("up", "--engine=docker", "--weights=tiny", f"--state={state}", *ports(), timeout=1200)
        assert done.returncode == 0, done.stderr
        record = json.loads((state / "server.json").read_text())
        yield SimpleNamespace(**record, state=state)
    finally:
        launch("down", f"--state={state}")


@needs_engine
def test_both_ensembles_answer_through_the_published_port(contained):
    smoke_test.run(TritonAPI(contained.address))
    assert launch("status", f"--state={contained.state}").returncode == 0


@needs_engine
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sends_a_file_as_it_is(contained):
    command = ["curl", "--silent", "--fail", "-H", "Inference-Header-Content-Length: 0"]
    url = f"http://{contained.address}/v2/models/image/infer"
    done = subprocess.run(
        [*command, "--data-binary", f"@{smoke_test.JPEG}", url], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert b'"logits"' in done.stdout


@needs_engine
def test_the_container_becomes_healthy(contained):
    while (health := inspect(contained)["State"]["Health"])["Status"] == "starting":
        time.sleep(1)
    assert health["Status"] == "healthy", health["Log"]


@needs_engine
def test_the_container_has_no_privileges_and_cannot_write(contained):
    host = inspect(contained)["HostConfig"]
    assert host["Memory"] == 8 * 2**30 and host["PidsLimit"] == 1024
    assert not host["Privileged"] and not host["CapAdd"] and "host" not in (host["PidMode"], host["IpcMode"])
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges:true" in host["SecurityOpt"]
    assert {binding["HostIp"] for bound in host["PortBindings"].values() for binding in bound} == {"127.0.0.1"}
    script = "id -u; touch /crossover/x || touch /opt/venv/x || touch /usr/x || echo read-only"
    user, wrote = docker.output_of("docker", "exec", docker.container(contained.name), "sh", "-c", script).split()
    assert int(user) == (os.getuid() or 10001)
    assert wrote == "read-only"
    for process in ("1", "self"):
        status = docker.output_of("docker", "exec", docker.container(contained.name), "cat", f"/proc/{process}/status")
        assert re.search(r"CapEff:\s0+$", status, re.M) and re.search(r"NoNewPrivs:\s1$", status, re.M)


@needs_engine
def test_the_key_is_not_in_the_containers_log(contained):
    done = launch("logs", "-n", "1000", f"--state={contained.state}")
    assert "Started HTTPService" in done.stdout and contained.admin_key not in done.stdout + done.stderr


@needs_engine
def test_the_container_runs_the_plan_on_its_cores(contained):
    assert inspect(contained)["HostConfig"]["CpusetCpus"] == ",".join(map(str, contained.cores))
    for model, share in contained.plan.items():
        groups = TritonAPI(contained.address).config(model)["instance_group"]
        assert sum(group["count"] for group in groups) == share["instances"]


@needs_engine
def test_the_restricted_interfaces_open_to_the_key_that_up_remembers(contained):
    with pytest.raises(Failure, match="restricted"):
        TritonAPI(contained.address).call("/v2/repository/index", b"")
    TritonAPI(contained.address, contained.admin_key).call("/v2/repository/index", b"")


@needs_engine
def test_the_containers_cpu_time_is_counted(contained):
    server = Server.at(f"http://{contained.address}", contained.state)
    before = server.cpu_seconds()
    for _ in range(5):
        smoke_test.run(TritonAPI(contained.address))
    assert 0.01 < server.cpu_seconds() - before < 60


@needs_engine
def test_two_workers_in_containers_share_one_schedule(contained, tmp_path):
    port = ports()[0].rpartition("=")[2]
    compose = [sys.executable, "-m", "serving", "compose", f"--state={contained.state}", "--profile", "loadgen"]
    environment = {**os.environ, "LOCUST_PORT": port}
    before = set((ROOT / "reports").glob("*"))
    try:
        subprocess.run([*compose, "up", "-d", "--scale", "worker=2"], cwd=ROOT, env=environment, check=True)
        page = f"http://127.0.0.1:{port}"
        wait(lambda: len(asked(f"{page}/stats/requests").get("workers", [])) == 2)
        asked(f"{page}/swarm", b"arrivals=constant:rate=20&seconds=3&placement=server")
        wait(lambda: asked(f"{page}/stats/requests").get("state") == "stopped")
        [run] = set((ROOT / "reports").glob("*")) - before
        wait((run / "samples.parquet").exists)
        rows = pyarrow.parquet.read_table(run / "samples.parquet").to_pylist()
        assert sorted(row["index"] for row in rows) == list(range(60))
        assert {row["status"] for row in rows} == {"completed"}
    finally:
        subprocess.run([*compose, "rm", "--stop", "--force", "master", "worker"], cwd=ROOT, env=environment, check=True)
        for run in set((ROOT / "reports").glob("*")) - before:
            shutil.rmtree(run)


def asked(url: str, form: bytes | None = None) -> dict:
    """The page's answer; empty while nobody answers."""
    try:
        with urllib.request.urlopen(url, form, timeout=120) as response:
            return json.load(response)
    except OSError:
        return {}


def wait(until, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@needs_engine
def test_up_again_changes_nothing(contained):
    before = docker.container(contained.name)
    same = [f"--{kind}-port={getattr(contained, f'{kind}_port')}" for kind in ("http", "grpc", "metrics")]
    done = launch("up", "--engine=docker", "--weights=tiny", f"--state={contained.state}", *same)
    assert done.returncode == 0 and "nothing was changed" in done.stdout
    assert docker.container(contained.name) == before
    assert "serving: up" in launch("logs", f"--state={contained.state}").stdout


@needs_engine
def test_down_leaves_no_container_network_or_volume(contained):
    assert launch("down", f"--state={contained.state}").stdout == "stopped\n"
    mine = f"--filter=label=com.docker.compose.project={contained.name}"
    for kind in (["container", "ls", "-a"], ["network", "ls"], ["volume", "ls"]):
        assert docker.output_of("docker", *kind, "-q", mine) == ""
    assert not list(contained.state.glob("*server.json*"))


def test_the_status_of_a_container_that_starts_again_says_so_instead_of_a_refusal(monkeypatch, capsys, tmp_path):
    """It serves nothing yet: its models' configurations, where weights are named, are answered with 404."""

    def refuse(api, path, *more):
        raise Refused(path, 404, "")

    plan = plan_threads(1)
    facts = {"running": True, "answers": False, "problem": "/v2/models/image/infer answered 404", "supervised": True}
    facts |= {"not_served": {}, "not_ready": ["image", "audio"], "answered": []}
    record = {"engine": "docker", "started": "2026-11-27T10:00:00+00:00", "address": "127.0.0.1:9", "plan": plan}
    record |= {"grpc_port": 1, "metrics_port": 2, "gpu": False, "no_gpu_because": "none", "cores": [1]}
    monkeypatch.setattr(TritonAPI, "config", refuse)
    monkeypatch.setattr(status, "examine", lambda directory: facts)
    monkeypatch.setattr(status.state, "read", lambda directory: {**record, "admission": False})
    with pytest.raises(Failure) as raised:
        status.status(SimpleNamespace(state=tmp_path, as_json=False))
    assert str(raised.value) == "the server starts, or loads image, audio again; `crossover logs` says how far it is"
    assert "models   not ready: image, audio" in capsys.readouterr().out
