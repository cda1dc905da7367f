"""Laws of tensors in shared memory, and of JSON: the same answers as over HTTP, and nothing is left in /dev/shm."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from loadgen.arm import Arm, Mode
from serving import Failure
from serving.temporary_server import temporary_triton
from serving.triton_api import TritonAPI
from tests.conftest import ROOT
from transport import regions
from transport.message import COMPLETED, FAILED, TIMED_OUT, make_request
from transport.reach import reach
from workloads.payloads import Payload
from workloads.tensors import freeze
from workloads.workload import Placement, Workload

NUMBERS = """name: "numbers" backend: "python" max_batch_size: 4 instance_group [ { count: 2 } ]
input  [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "large" data_type: TYPE_FP32 dims: [ 20000 ] }, { name: "small" data_type: TYPE_FP32 dims: [ 1 ] } ]"""
CODE = """import time
import numpy as np
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb.get_input_tensor_by_name(each, "x").as_numpy()) for each in requests]
    def answer(self, x):
        if x.size and x[0, 0] < 0:
            time.sleep(float(-x[0, 0]))
        large = np.resize(x, (1, 20000)).astype(np.float32)
        return pb.InferenceResponse([pb.Tensor("large", large), pb.Tensor("small", large[:, :1])])
"""
WORDS = """name: "words" backend: "python" max_batch_size: 4
input  [ { name: "x" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_STRING dims: [ 1 ] } ]"""
ECHO = """import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb.get_input_tensor_by_name(each, "x").as_numpy() for each in requests]
        return [pb.InferenceResponse([pb.Tensor("y", each)]) for each in inputs]
"""
OUTPUTS = ("large", "small")
WORKLOAD = Workload(
    name="toy",
    payloads=lambda: [Payload("a", b"ab")],
    placements={
        "numbers": Placement("numbers", lambda each: each, inputs=("x",), outputs=OUTPUTS),
        "words": Placement("words", lambda each: each, inputs=("x",), outputs=("y",)),
    },
)
ARMS = ["numbers", "numbers+shm", "numbers+json", "numbers+grpc", "words", "words+shm", "words+json", "words+base64"]


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    files = {"numbers": (NUMBERS, CODE), "words": (WORDS, ECHO)}
    models = {}
    for name, (config, code) in files.items():
        (folder / name).mkdir()
        models[name] = folder / name / "config.pbtxt", folder / name / "model.py"
        models[name][0].write_text(config)
        models[name][1].write_text(code)
    with temporary_triton(models, [0], shm=True) as server:
        yield server


@pytest.fixture(scope="module")
def reached(triton):
    return reach(WORKLOAD.with_arms(ARMS), triton.url, ARMS, triton.state)


@contextmanager
def connected(server, workload, name, timeout=30.0):
    arm = Arm(workload, name, Mode("sequential"))
    connection = arm.connect(server.url, timeout)
    try:
        yield connection, lambda array: make_request(arm.target, array)
    finally:
        connection.close()


def files(pid=None):
    """Those of a process, by default this one: others of the machine may use shared memory, too."""
    return sorted(path.name for path in regions.FOLDER.glob(f"{regions.PREFIX}{pid or os.getpid()}.*"))


def memory_of(server):
    api = TritonAPI(server.url.removeprefix("http://"))
    api.headers = {"shm-key": server.state["shm_key"]}
    return api


def registered(server):
    return [each["name"] for each in json.loads(memory_of(server).call("/v2/systemsharedmemory/status")[0])]


def clear_when_done(server):
    """Start another client, once the server has answered what was given up."""
    time.sleep(1)
    reach(WORKLOAD.with_arms(["numbers+shm"]), server.url, ["numbers+shm"], server.state)
    assert registered(server) == []


@pytest.mark.parametrize("name", ["numbers+shm", "numbers+json", "numbers+grpc"])
@pytest.mark.parametrize("size", [0, 1, 1000, 200_000])
def test_numbers_come_to_the_same_answer_by_every_transport(triton, reached, name, size):
    array = np.random.default_rng(size).random(size, np.float32)
    with connected(triton, reached, name) as (connection, ask):
        outcome = connection.post(ask(array))
        assert (outcome.status, outcome.reason) == (COMPLETED, "")
        outputs = connection.read_outputs()
    np.testing.assert_array_equal(outputs["small"], np.resize(array, (1, 1)))
    np.testing.assert_array_equal(outputs["large"], np.resize(array, (1, 20000)))
    if name == "numbers+shm":
        assert outcome.bytes_up < 600 and outcome.bytes_down < 1000
    if name == "numbers+json":
        assert outcome.bytes_up > 4 * size and outcome.bytes_down > 80_000


@pytest.mark.parametrize(
    ("name", "sent", "answered"),
    [
        ("words+shm", b"\xff\xd8 no text \x00", b"\xff\xd8 no text \x00"),
        ("words+json", b"a text", b"a text"),
        ("words+base64", b"\xff\xd8 no text", b"/9ggbm8gdGV4dA=="),
    ],
)
def test_bytes_cross_by_every_transport_that_can_carry_them(triton, reached, name, sent, answered):
    with connected(triton, reached, name) as (connection, ask):
        outcome = connection.post(ask(np.array([sent], object)))
        assert (outcome.status, outcome.reason) == (COMPLETED, "")
        assert connection.read_outputs()["y"].tolist() == [[answered]]


def test_bytes_that_are_no_text_fail_as_json_with_what_helps(triton, reached):
    with connected(triton, reached, "words+json") as (connection, ask):
        outcome = connection.post(ask(np.array([b"\xff"], object)))
    assert outcome.status == FAILED and outcome.reason.endswith("try base64")


def test_a_connection_has_one_region_that_is_registered_once_and_replaced_where_it_is_too_small(triton, reached):
    with connected(triton, reached, "numbers+shm") as (connection, ask):
        seen = []
        for size in (10, 20, 10, 50_000, 10, 50_000):
            assert connection.post(ask(np.ones(size, np.float32))).status == COMPLETED
            assert len(files()) == 1 and registered(triton) == files()
            seen += files()
    assert len(set(seen)) == 2
    assert files() == [] and registered(triton) == []


def test_a_server_that_forgot_its_regions_is_told_again_and_the_request_is_answered(triton, reached):
    with connected(triton, reached, "numbers+shm") as (connection, ask):
        assert connection.post(ask(np.ones(9, np.float32))).status == COMPLETED
        memory_of(triton).call("/v2/systemsharedmemory/unregister", b"{}")
        assert connection.post(ask(np.ones(9, np.float32))).status == COMPLETED
        assert registered(triton) == files()


def test_a_request_that_was_given_up_leaves_its_region_to_the_server_and_the_next_gets_another(triton, reached):
    with connected(triton, reached, "numbers+shm") as (connection, ask):
        assert connection.post(ask(np.ones(2, np.float32))).status == COMPLETED
        first, connection._timeout = files(), 0.3
        outcome = connection.post(ask(np.array([-1.0], np.float32)))
        assert (outcome.status, outcome.reason) == (TIMED_OUT, "no answer within 0.3 s")
        assert files() == [] and registered(triton) == first
        connection._timeout = 30.0
        assert connection.post(ask(np.ones(2, np.float32))).status == COMPLETED
        assert len(files()) == 1 and files() != first
    clear_when_done(triton)


def test_what_the_server_still_reads_keeps_no_other_client_out(triton, reached):
    with connected(triton, reached, "numbers+shm", timeout=0.3) as (connection, ask):
        assert connection.post(ask(np.array([-2.0], np.float32))).status == TIMED_OUT
        reach(WORKLOAD.with_arms(["numbers+shm"]), triton.url, ["numbers+shm"], triton.state)
        assert len(registered(triton)) == 1
    time.sleep(1)
    clear_when_done(triton)


def test_regions_of_requests_that_were_given_up_are_unmapped_while_their_client_goes_on(triton, reached):
    with connected(triton, reached, "numbers+shm", timeout=0.1) as (connection, ask):
        for _ in range(4):
            assert connection.post(ask(np.array([-0.3], np.float32))).status == TIMED_OUT
        connection._timeout, deadline = 30.0, time.monotonic() + 30
        while len(registered(triton)) > 1 and time.monotonic() < deadline:
            connection.close()
            assert connection.post(ask(np.ones(2, np.float32))).status == COMPLETED
        assert registered(triton) == files()
    assert registered(triton) == []


def test_another_thread_may_close_a_connection_that_waits(triton, reached):
    with connected(triton, reached, "numbers+shm") as (connection, ask):
        connection.post(ask(np.ones(2, np.float32)))
        outcomes = []
        waiting = threading.Thread(target=lambda: outcomes.append(connection.post(ask(np.array([-1.0], np.float32)))))
        waiting.start()
        time.sleep(0.3)
        connection.close()
        waiting.join(30)
    assert [each.status for each in outcomes] == [FAILED]
    assert files() == [] and len(registered(triton)) == 1  # the server still reads it
    clear_when_done(triton)


LENGTH = regions.LARGE // 4  # of float32: a tensor from which on it matters whether it is written again


def answer(connection, request):
    """The first numbers that the server saw: model `numbers` hands 20,000 of them back."""
    outcome = connection.post(request)
    assert (outcome.status, outcome.reason) == (COMPLETED, "")
    return connection.read_outputs()["large"][0]


def test_a_tensor_that_cannot_change_and_lies_there_already_is_not_written_again(triton, reached):
    array = freeze(np.full(LENGTH, 3, np.float32))
    with connected(triton, reached, "numbers+shm") as (connection, ask):
        assert set(answer(connection, ask(array))) == {3}
        connection._region.memory[:4] = np.float32(4).tobytes()
        assert answer(connection, ask(array))[0] == 4
        assert answer(connection, ask(array[::-1]))[0] == 3  # another array of the same memory
        assert answer(connection, ask(freeze(np.full(LENGTH, 3, np.float32))))[0] == 3  # equal, elsewhere
        for other in (np.full(LENGTH, 5, np.float32), freeze(np.full(2 * LENGTH, 6, np.float32)), np.ones(1, "f4")):
            assert set(answer(connection, ask(array))) == {3}
            assert set(answer(connection, ask(other))) == {other[0]}
            assert set(answer(connection, ask(array))) == {3}  # what lay there has been overwritten


def read_only(array):
    """An array that says it cannot be written to, and can: by a view that was there before."""
    view = array[:]
    array.setflags(write=False)
    return array, view


def test_whatever_can_change_is_written_for_every_request(triton, reached):
    mine, view = read_only(np.zeros(LENGTH, np.float32))
    below = np.zeros(LENGTH, np.float32)
    shown = below[:]
    shown.setflags(write=False)
    buffer = bytearray(4 * LENGTH)
    over = np.frombuffer(buffer, np.float32)
    over.setflags(write=False)
    with connected(triton, reached, "numbers+shm") as (connection, ask):
        for array, write in ((mine, view), (shown, below), (over, np.frombuffer(buffer, np.float32))):
            assert not array.flags.writeable and write.flags.writeable
            for number in (1, 2, 3):
                write[:] = number
                assert set(answer(connection, ask(array))) == {number}


def test_no_answer_is_of_another_picture_whatever_is_sent_given_up_or_written_to_between(triton, reached):
    """A random walk over fixed tensors of two lengths, one that changes, and requests whose answers come too late."""
    dice = np.random.default_rng(19)
    fixed = [freeze(np.full(LENGTH + length, number, np.float32)) for number in range(1, 4) for length in (0, 5000)]
    late = [freeze(np.full(LENGTH, -0.4 - number / 100, np.float32)) for number in range(2)]
    mine = np.zeros(LENGTH, np.float32)
    with connected(triton, reached, "numbers+shm") as (connection, ask):
        for turn in range(150):
            kind = dice.choice(["fixed", "again", "mine", "short", "late"], p=[0.3, 0.35, 0.2, 0.1, 0.05])
            if kind == "late":
                connection._timeout = 0.1
                assert connection.post(ask(late[turn % 2])).status == TIMED_OUT
                connection._timeout = 30.0
                continue
            array = fixed[dice.integers(len(fixed))] if kind == "fixed" or not turn else array  # noqa: F821
            if kind == "mine":
                mine[:] = 100 + turn
            sent = {"mine": mine, "short": np.full(9, 1000 + turn, np.float32)}.get(kind, array)
            request = ask(sent)
            if dice.random() < 0.1:
                connection.close()
            assert set(answer(connection, request)) == {sent[0]}
            del request, sent
    clear_when_done(triton)


KILLED = """
import sys, numpy as np
from transport.message import make_request
from transport.shared_memory import Connection
from workloads.tensors import Input
from workloads.transport_choice import Transport
from workloads.workload import Target
connection = Connection(sys.argv[1], 30, Transport("shm", key=sys.argv[2], outputs={"large": 80000}))
request = make_request(Target("numbers", (Input("x"),), ("large",)), np.ones(9, np.float32))
print(connection.post(request).status, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, None])
def test_nothing_is_left_of_a_client_after_it_ends_or_after_the_next_start(triton, number):
    command = [sys.executable, "-c", KILLED, triton.url, triton.state["shm_key"]]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "completed\n"
    theirs = files(child.pid)
    assert len(theirs) == 1 and registered(triton) == theirs
    regions.clear_abandoned()
    assert files(child.pid) == theirs  # it lives
    if number:
        child.send_signal(number)
    child.communicate()
    assert files(child.pid) == (theirs if number else [])
    reach(WORKLOAD.with_arms(["numbers"]), triton.url, ["numbers"], triton.state)  # whatever the next one uses
    assert files(child.pid) == []
    reach(WORKLOAD.with_arms(["numbers+shm"]), triton.url, ["numbers+shm"], triton.state)
    assert registered(triton) == []


def test_a_full_memory_fails_the_request_and_does_not_end_the_process(triton, reached, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(regions.os, "posix_fallocate", full)
    with connected(triton, reached, "numbers+shm") as (connection, ask):
        outcome = connection.post(ask(np.ones(9, np.float32)))
    assert outcome.status == FAILED and "No space left" in outcome.reason
    assert files() == []


def refusal(url, arm, record):
    with pytest.raises(ValueError) as error:
        reach(WORKLOAD.with_arms([arm]), url, [arm], record)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_a_server_or_a_model_does_not_take_is_refused_in_one_line_before_anything_is_sent(triton, server):
    closed = refusal(server.url, "numbers+shm", vars(server))
    assert closed.startswith("numbers+shm: the server at ") and "restricted" in closed
    assert closed.endswith("be started with `crossover up --shm`")
    wrong = refusal(triton.url, "numbers+shm", {"shm_key": "guess"})
    assert "restricted" in wrong and "guess" not in wrong
    assert "base64 needs a model with a BYTES input" in refusal(triton.url, "numbers+base64", triton.state)
    assert "no server answers gRPC" in refusal(triton.url, "numbers+grpc", {"grpc_port": 9})
    assert files() == [] and registered(triton) == []


def test_the_key_of_shared_memory_opens_nothing_else_and_no_other_opens_it(triton):
    api = memory_of(triton)
    for path, body in (("/v2/repository/index", b""), ("/v2/trace/setting", None), ("/v2/logging", None)):
        with pytest.raises(Failure, match="restricted"):
            api.call(path, body)
    for other in (triton.admin_api, triton.api):
        for path in ("/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status"):
            with pytest.raises(Failure, match="restricted"):
                other.call(path)


@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_the_key_opens_both_kinds_of_shared_memory_as_triton_has_one_group_for_both(triton, kind):
    """SECURITY.md says so; what Triton then says of a region that names nothing is its own affair."""
    api = memory_of(triton)
    assert json.loads(api.call(f"/v2/{kind}sharedmemory/status")[0]) == []
    nothing = {"key": "/nobody", "byte_size": 8, "device_id": 0, "raw_handle": {"b64": "bm9uZQ=="}}
    with pytest.raises(Failure) as failure:
        api.call(f"/v2/{kind}sharedmemory/region/mine/register", json.dumps(nothing).encode())
    assert "restricted" not in str(failure.value)
