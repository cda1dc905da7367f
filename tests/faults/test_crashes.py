"""Laws of crashes: kill -9 of each kind of process under an open-loop load, on a server of this module's own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import gevent
import numpy as np
import psutil
import pytest

from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples import journal
from loadgen.samples.sample import COMPLETED, FAILED, STATUSES, UNFINISHED
from serving import Failure, docker, environment_folders, local, smoke_test
from serving.supervisor import Supervisor, stubs
from serving.triton_api import TritonAPI
from tests.conftest import ROOT, launch, ports
from workloads import image, payloads
from workloads.catalogue import BUILT_IN

GUARD = 120  # seconds: against a hang, no statement on how fast a model comes back
DEADLINE = 5.0  # seconds of a request
SENT = {"image": [payloads.Payload("smoke_test.jpg", smoke_test.JPEG.read_bytes())],
        "audio": [payloads.Payload("chirp.wav", smoke_test.chirp())]}  # fmt: skip
USED_BY = {"image_preprocess": "image", "resnet50": "image",
           "audio_preprocess": "audio", "wav2vec2": "audio", "ctc_decode": "audio"}  # fmt: skip


@pytest.fixture(scope="module")
def mortal(tmp_path_factory):
    """A server that may be hurt; `up` heals it whatever the test before left."""
    state = tmp_path_factory.mktemp("mortal")
    command = "up", "--engine=local", "--weights=tiny", f"--state={state}", *ports()

    def up():
        done = launch(*command)
        assert done.returncode == 0, done.stderr
        record = json.loads((state / "server.json").read_text())
        return SimpleNamespace(**record, state=state, url=f"http://{record['address']}", up=up, said=done.stdout)

    try:
        yield up()
    finally:
        launch("down", f"--state={state}")


def offer(url: str, seconds: float = 2, rate: float = 10, meanwhile=None) -> dict[str, list]:
    """Both workloads at once, files to the ensembles; the samples of each. `meanwhile` runs once both have an answer.

    Whatever happens, every arrival is in the books, and says why if it was not answered.
    """
    told, running = {name: [] for name in BUILT_IN}, []
    count = round(seconds * rate)
    for name, record in told.items():
        loop = OpenLoop(Arm(BUILT_IN[name], "server", Mode("async")), url, record.append, DEADLINE, sleep=gevent.sleep)
        plan = Plan(np.arange(count) / rate, np.zeros(count, int), SENT[name])
        running.append(gevent.spawn(loop.run, plan))

    def act():
        while not all(COMPLETED in statuses(record) for record in told.values()):
            gevent.sleep(0.05)
        meanwhile()

    acting = gevent.spawn(act) if meanwhile else None
    gevent.joinall(running, raise_error=True)
    assert acting is None or acting.ready(), "there was no answer to wait for"
    for record in told.values():
        assert sorted(sample.index for sample in record) == list(range(count))
        assert UNFINISHED not in {sample.status for sample in record}
        assert all(sample.reason for sample in record if sample.status != COMPLETED)
    return told


def launching(*arguments) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "crossover", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)


def statuses(samples: list) -> set[str]:
    return {sample.status for sample in samples}


def supervisor_says(state, *words) -> str:
    """The last line of the server's log that holds all of this, as soon as there is one."""
    end = time.monotonic() + GUARD
    while time.monotonic() < end:
        for line in reversed((state / "server.log").read_text().splitlines()):
            if "supervisor: " in line and all(str(word) in line for word in words):
                return line
        time.sleep(0.1)
    pytest.fail(f"the supervisor said nothing with {words} within {GUARD} s")


FEW = pytest.mark.parametrize(
    "model",
    [
        "resnet50",
        "audio_preprocess",
        *(pytest.param(model, marks=pytest.mark.long) for model in ("image_preprocess", "wav2vec2", "ctc_decode")),
    ],
)


def segments(name):
    """The files of the server's shared memory."""
    return {path.name for path in local.SHM.glob(f"{name}.*")}


@FEW
def test_a_stub_that_dies_under_load_comes_back_alone(mortal, model):
    before = {stub.pid: stub.model for stub in stubs(mortal.name)}
    config = TritonAPI(mortal.address).config(model)
    victim = next(pid for pid, its in before.items() if its == model)
    api = TritonAPI(mortal.address)
    runs = [offer(mortal.url, meanwhile=lambda: os.kill(victim, signal.SIGKILL))]
    end = time.monotonic() + GUARD
    while statuses(runs[-1][USED_BY[model]]) != {COMPLETED}:
        assert time.monotonic() < end
        runs.append(offer(mortal.url))
    supervisor_says(mortal.state, model, "reloaded, image and audio answer")

    [other] = set(BUILT_IN) - {USED_BY[model]}
    for run in runs:
        assert FAILED not in statuses(run[other]) and COMPLETED in statuses(run[other])
    after = {stub.pid: stub.model for stub in stubs(mortal.name)}
    assert sorted(after.values()) == sorted(before.values())
    assert {pid for pid, its in before.items() if its != model} <= set(after)
    assert TritonAPI(mortal.address).config(model) == config
    assert api.is_ready()
    until(lambda: segments(mortal.name) == {stub.segment for stub in stubs(mortal.name)})  # within a minute


def test_the_stubs_of_a_model_that_hangs_are_ended_and_it_comes_back(mortal, monkeypatch):
    """A supervisor that takes resnet50 to hang, beside the server's own, which brings back what this one ends."""
    before = {stub.pid: stub.model for stub in stubs(mortal.name)}
    [victim] = [pid for pid, model in before.items() if model == "resnet50"]
    said = []
    hasty = Supervisor(vars(mortal), said.append)
    detector = hasty.hang_detector
    monkeypatch.setattr(detector, "find_hung", lambda models: [model for model in models if model == "resnet50"])
    hasty.adopt()
    hasty.end_hung()
    api = TritonAPI(mortal.address)
    until(lambda: [stub for stub in stubs(mortal.name) if stub.model == "resnet50" and stub.pid != victim])
    until(lambda: api.is_ready())
    smoke_test.run(api)
    assert [line.split("supervisor: ")[1].split(":")[0] for line in said] == ["resnet50"]
    assert set(before) - {stub.pid for stub in stubs(mortal.name)} == {victim}


def test_a_model_whose_stubs_are_all_dead_refuses_at_once_and_health_says_so(mortal):
    for stub in stubs(mortal.name):
        if stub.model == "audio_preprocess":
            os.kill(stub.pid, signal.SIGSTOP)
            os.kill(stub.pid, signal.SIGKILL)
    api, seen = TritonAPI(mortal.address), set()
    end = time.monotonic() + GUARD
    while api.is_ready():
        assert time.monotonic() < end
    while not api.is_ready():
        assert time.monotonic() < end
        seen |= {sample.reason for sample in offer(mortal.url, seconds=0.5)["audio"]}
    assert any("no available versions" in reason for reason in seen)
    assert not any("no answer within" in reason for reason in seen)
    supervisor_says(mortal.state, "audio_preprocess", "reloaded")


def test_a_supervisor_that_was_killed_is_missed_and_up_starts_it_again(mortal):
    [supervisor] = local.supervisors(mortal.name)
    os.kill(supervisor, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(supervisor)] if psutil.pid_exists(supervisor) else [], timeout=GUARD)
    done = launch("status", f"--state={mortal.state}")
    assert done.returncode == 0 and "supervisor: none" in done.stdout
    before = {pid for pid, _ in local.processes(mortal.name).items()}
    assert "its supervisor had ended and runs again" in mortal.up().said
    [again] = local.supervisors(mortal.name)
    assert set(local.processes(mortal.name)) == before | {again}


def test_a_tritonserver_that_is_killed_is_reported_and_up_clears_what_is_left(mortal):
    old = local.processes(mortal.name)
    told = offer(mortal.url, seconds=4, meanwhile=lambda: os.kill(mortal.pid, signal.SIGKILL))
    for record in told.values():
        assert {COMPLETED, FAILED} <= statuses(record)
    supervisor_says(mortal.state, mortal.pid, "is gone", "`crossover up`")
    assert not list(environment_folders.PARENT.glob(f"{environment_folders.PATTERN}/{mortal.name}"))
    done = launch("status", f"--state={mortal.state}")
    assert done.returncode == 1
    assert re.match(r"the server that `up` started has died, at 20\S+Z; its log: \S+/server.log; `", done.stdout)
    new = mortal.up()
    assert not set(old) & set(local.processes(new.name))
    assert {path.name for path in local.SHM.glob(f"{new.name}.*")} == {stub.segment for stub in stubs(new.name)}
    assert statuses(offer(new.url)["image"]) == {COMPLETED}


def test_down_lets_requests_in_flight_finish_and_refuses_new_ones(mortal):
    mortal = mortal.up()
    photograph = image.photographs(widths=(1920,))[:1]
    dues = np.concatenate([np.zeros(40), np.arange(1, 5, 0.1)])  # a backlog, and then more
    record, downs = [], []
    arm = Arm(BUILT_IN["image"], "server", Mode("async"))
    loop = OpenLoop(arm, mortal.url, record.append, 30, sleep=gevent.sleep)
    running = gevent.spawn(loop.run, Plan(dues, np.zeros(len(dues), int), photograph))
    gevent.spawn_later(0.3, lambda: downs.append(launching("down", f"--state={mortal.state}")))
    running.get()
    assert downs[0].wait(GUARD) == 0
    told = sorted(record, key=lambda sample: sample.index)
    in_flight, later = told[:40], told[40:]
    assert statuses(in_flight) == {COMPLETED}
    assert statuses(later[-10:]) == {FAILED}
    refusals = "no available versions", "Connection refused", "closed by the server", "not an HTTP answer", "reset"
    assert all(any(words in sample.reason for words in refusals) for sample in later if sample.status != COMPLETED)
    first = next(index for index, sample in enumerate(later) if sample.status == FAILED)
    assert FAILED in statuses(later) and statuses(later[first:]) == {FAILED}, "refused once, refused from then on"
    assert not local.processes(mortal.name) and not list(local.SHM.glob(f"{mortal.name}.*"))


needs_engine = pytest.mark.skipif(docker.obstacle() is not None, reason=str(docker.obstacle()))


def inspected(name: str) -> dict:
    """`State` of the server's container, whether it runs or not; its `Restarts` too."""
    labels = [f"--filter=label=com.docker.compose.{label}" for label in (f"project={name}", "service=server")]
    [told] = json.loads(docker.output_of("docker", "inspect", docker.output_of("docker", "ps", "-aq", *labels)))
    return {**told["State"], "Restarts": told["RestartCount"]}


def until(true, seconds: float = GUARD) -> float:
    """Seconds until it is."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.1)
    return time.monotonic() - began


def refusal(address: str, model: str, encoded: bytes) -> str:
    with pytest.raises(Failure) as failure:
        TritonAPI(address).infer(model, encoded)
    return str(failure.value)


@needs_engine
@pytest.mark.long
@pytest.mark.timeout(1500)
def test_in_a_container_a_stub_comes_back_and_so_does_the_container(tmp_path):
    up = "up", "--engine=docker", "--weights=tiny", f"--state={tmp_path}", *ports()
    try:
        done = launch(*up, timeout=1200)
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / "server.json").read_text())

        def health():
            return inspected(record["name"])["Health"]["Status"]

        def inside(program):
            processes = psutil.Process(inspected(record["name"])["Pid"]).children(recursive=True)
            living = [process for process in processes if process.status() != psutil.STATUS_ZOMBIE]
            return [process for process in living if program in " ".join(process.cmdline())]

        until(lambda: health() == "healthy")
        large = b"\0" * (100 << 20)
        with ThreadPoolExecutor(16) as pool:  # more than Docker lets share by default, in small pieces of its network
            told = list(pool.map(lambda _: refusal(record["address"], "image", large), range(16)))
        assert any("33554432" in each for each in told)
        assert all("answered 400" in each or "is overloaded" in each for each in told), set(told)

        inside("audio_preprocess")[0].suspend()
        until(lambda: health() == "unhealthy")
        inside("audio_preprocess")[0].resume()
        until(lambda: health() == "healthy")
        inside("audio_preprocess")[0].kill()
        log = "logs", "-n", "999", f"--state={tmp_path}"
        until(lambda: "supervisor: audio_preprocess: " in launch(*log).stdout)
        until(lambda: health() == "healthy")
        assert inspected(record["name"])["Restarts"] == 0

        for restarts, victim in enumerate(("tritonserver", "serving run", None), start=1):
            (inside(victim)[0] if victim else psutil.Process(inspected(record["name"])["Pid"])).kill()
            until(lambda: inspected(record["name"])["Restarts"] == restarts)  # noqa: B023
            print(f"{victim or 'the container'}: healthy after {until(lambda: health() == 'healthy'):.1f} s")
        assert statuses(offer(f"http://{record['address']}")["image"]) == {COMPLETED}
    finally:
        assert launch("down", f"--state={tmp_path}").returncode == 0


@pytest.mark.long  # as its workers wait a minute for their master
def test_a_master_that_is_killed_takes_its_workers_with_it_and_their_journals_stay(mortal, tmp_path):
    mortal = mortal.up()
    command = [
        *(sys.executable, "-m", "locust", "-f", "loadgen/image.py", "--headless", "--host", mortal.url),
        *("--reports", tmp_path, "--processes", "2", "--arrivals", "constant:rate=20", "--seconds", "600"),
    ]
    with (tmp_path / "output").open("w") as output:
        master = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=output, stderr=output)
    try:
        workers = []
        until(lambda: len(grown := [*tmp_path.glob("*/worker-*.journal")]) == 2 and min(map(size, grown)) > 1500)
        workers = psutil.Process(master.pid).children(recursive=True)
        master.kill()
        master.wait()
        until(lambda: not any(worker.is_running() for worker in workers))
        assert "Didn't get heartbeat from master" in (tmp_path / "output").read_text()
        for file in tmp_path.glob("*/worker-*.journal"):
            records, _ = journal.read(file)
            assert len(records) > 5 and (records["status"] == STATUSES.index(COMPLETED)).any()
    finally:
        for process in [*workers, *([psutil.Process(master.pid)] if master.poll() is None else [])]:
            with contextlib.suppress(psutil.Error):
                process.kill()


def size(path) -> int:
    return path.stat().st_size
