"""Any Triton is asked by what it says of its models: every type, several tensors, no batches, nested ensembles."""

import json
import subprocess

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient

from crossover.measurement.ensemble_steps import list_steps
from crossover.measurement.foreign_requests import Route, find_route
from loadgen.arm import Arm, Mode
from loadgen.client.worker_threads import Client
from loadgen.samples.sample import COMPLETED, FAILED, Sample
from serving.server import Server
from tests import forks
from tests.foreign import TYPES, foreign_server
from transport import http
from transport.http_answer import judge_answer
from workloads.model_config import complete
from workloads.payloads import Payload
from workloads.prepare_check import check_workload
from workloads.tensors import Input
from workloads.workload import Placement, Workload

FILE = b"\x01\x02\x03\x04 and more"
ARRAYS = {each: np.array([1, 0, 1, 1], each.lower().replace("fp", "float")) for each in TYPES if each != "BYTES"}
ARRAYS["BYTES"] = np.array([b"\xff\0", "ä".encode(), b""], object)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with foreign_server(tmp_path_factory.mktemp("foreign")) as url:
        yield url


def own(*placements, **other) -> Workload:
    named = {f"p{number}": each for number, each in enumerate(placements)}
    return Workload(name="mine", placements=named, payloads=lambda: [Payload("file", FILE)], file="/x/mine.py", **other)


def send(url, monkeypatch, placement, payload=FILE, workload=None) -> tuple[Sample, dict[str, np.ndarray]]:
    """What comes of one request of the load generator's: its sample, and the arrays of the answer."""
    answers = []
    judge = judge_answer

    def record(status, headers, body, *rest):
        answers.append((headers.get(b"inference-header-content-length"), body))
        return judge(status, headers, body, *rest)

    monkeypatch.setattr(http, "judge_answer", record)
    whole = complete(workload or own(placement), url)
    check_workload(whole, whole.placements, [Payload("file", payload)])
    arm, sample = Arm(whole, next(iter(whole.placements)), Mode("sequential")), Sample(0, 0, 0)
    client, connection = Client(arm, lambda: 1), http.Connection(url, 60)
    client.exchange(connection, sample, client.prepare(arm.preprocessor(), sample, Payload("file", payload)))
    connection.close()
    [(size, body)] = answers
    if sample.status != COMPLETED:
        return sample, {}
    answer = InferenceServerClient.parse_response_body(body, header_length=int(size))
    return sample, {each["name"]: answer.as_numpy(each["name"]) for each in answer.get_response()["outputs"]}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_arrives_as_it_was_prepared(url, monkeypatch, kind):
    placement = Placement("every_type", lambda _: ARRAYS[kind], inputs=(kind,), outputs=(f"{kind}_OUT",))
    sample, found = send(url, monkeypatch, placement)
    assert sample.status == COMPLETED, sample.reason
    assert found[f"{kind}_OUT"].dtype == ARRAYS[kind].dtype
    assert found[f"{kind}_OUT"].tolist() == [ARRAYS[kind].tolist()]


def test_optional_inputs_are_sent_where_prepare_gives_them(url, monkeypatch):
    given = {"INT8": ARRAYS["INT8"], "BYTES": ARRAYS["BYTES"], "FP16": ARRAYS["FP16"]}
    outputs = tuple(f"{name}_OUT" for name in given)
    _, found = send(url, monkeypatch, Placement("every_type", lambda _: given, outputs=outputs))
    assert {name: array.tolist() for name, array in found.items()} == {
        f"{name}_OUT": [array.tolist()] for name, array in given.items()
    }


def test_fixed_inputs_go_along_and_all_outputs_are_asked_for(url, monkeypatch):
    extra = {"weight": np.array([3], "f4")}
    placement = Placement("weigh", lambda file: np.frombuffer(file[:4], "u1").astype("f4"), extra=extra)
    _, found = send(url, monkeypatch, placement)
    assert found["weighted"].tolist() == [[3, 6, 9, 12]] and found["count"].tolist() == [[4]]
    placement = Placement("weigh", placement.prepare, extra={**extra, "bias": np.array([1], "f4")})
    assert send(url, monkeypatch, placement)[1]["weighted"].tolist() == [[4, 7, 10, 13]]


def as_array(file):
    return np.frombuffer(file, "u1")


@pytest.mark.parametrize("prepare", [None, bytes, as_array, lambda file: {"encoded": file}])
@pytest.mark.parametrize("model", ["decode", "unbatched"])
def test_a_file_is_one_element_of_a_bytes_input(url, monkeypatch, prepare, model):
    sample, found = send(url, monkeypatch, Placement(model, prepare))
    assert sample.status == COMPLETED, sample.reason
    assert found[{"decode": "numbers", "unbatched": "length"}[model]].tolist() == (
        [[1, 2, 3, 4]] if model == "decode" else [len(FILE)]
    )


def test_without_batches_an_array_is_sent_in_the_shape_that_it_has(url, monkeypatch):
    sample, _ = send(url, monkeypatch, Placement("unbatched_bytes", as_array))
    assert sample.status == FAILED and "HTTP 5" in sample.reason  # the model cannot take the length of a number
    whole = complete(own(Placement("unbatched_bytes")), url)
    [tensor] = whole.placements["p0"].target.encode(FILE)
    assert tensor.shape == (len(FILE),)


def test_nested_ensembles_are_the_models_that_compute_for_them(url, monkeypatch):
    placement = Placement("outer", extra={"weight": np.array([2], "f4")})
    workload = complete(own(Placement("name", lambda _: np.ones(4, "f4")), placement), url)
    assert workload.steps == ("decode", "weigh", "name")
    _, found = send(url, monkeypatch, placement)
    assert found["text"].tolist() == [[b"sum 20"]]
    route = find_route(Server(url, {}), "outer")
    assert route == Route({"outer": 1, "inner": 1, "decode": 1, "weigh": 1, "name": 1}, frozenset({"outer", "inner"}))


def test_each_step_can_be_asked_alone_for_what_it_does_in_the_ensemble(url):
    target = complete(own(Placement("outer", extra={"weight": np.array([2], "f4")})), url).placements["p0"].target
    wires = {tensor.name: tensor for tensor in target.encode(FILE)}
    for step in list_steps(url, "outer"):
        wires |= step.ask(url, step.make_request(wires))
    arrays = {name: tensor.array.tolist() for name, tensor in wires.items()}
    assert arrays["text"] == [[b"sum 20"]] and arrays["inside"] == [[2, 4, 6, 8]]
    assert arrays["1/inside"] == [[1, 2, 3, 4]]  # another tensor of that name, in the inner ensemble


BY = {"weight": np.ones(1, "f4")}


@pytest.mark.parametrize(
    ("placement", "says"),
    [
        (Placement("nowhere"), "has no model nowhere, which placement 'p0' of mine.py asks: "),
        (Placement("decoupled"), "placement 'p0' of mine.py needs decoupled, which is decoupled: one request may have"),
        (Placement("stateful"), "placement 'p0' of mine.py needs stateful, a sequence model: its answers depend on"),
        (Placement("decode", inputs=("x",)), "names the input 'x'; the inputs of decode are: encoded"),
        (Placement("decode", extra={"x": BY}), "names the input 'x'; the inputs of decode are: encoded"),
        (Placement("decode", outputs=("x",)), "names the output 'x'; the outputs of decode are: numbers"),
        (Placement("decode", batched=False), "says batched=False; decode has a batch dimension"),
        (Placement("unbatched", batched=True), "says batched=True; unbatched has no batch dimension"),
        (
            Placement("weigh", inputs=(Input("numbers", "INT64"), "weight")),
            "says that numbers is INT64; weigh takes float32 (4,)",
        ),
        (
            Placement("weigh", inputs=(Input("numbers", dims=(3, 4)), "weight")),
            "says that numbers is any type (3, 4); weigh takes float32 (4,)",
        ),
        (Placement("weigh", inputs=("numbers",)), "leaves out the input 'weight'; weigh needs numbers, weight"),
        (
            Placement("weigh", extra={"weight": np.ones(1)}),
            "of mine.py: extra of the placement of weigh gives float64 (1,); input weight takes float32 (1,)",
        ),
        (Placement("weigh"), "which has no prepare, sends one array for file; weigh takes a dict of numbers, weight"),
        (Placement("weigh", lambda _: {"numbers": np.ones(4, "f4")}), "returned no input 'weight' for file; weigh"),
        (Placement("weigh", lambda _: None), "returned None for file; weigh takes a dict of numbers, weight"),
        (Placement("weigh", lambda _: (1, 2)), "returned an object of type tuple for file; weigh takes a dict of num"),
        (Placement("weigh", lambda _: np.ones(3, "f4"), extra=BY), "returned float32 (3,) for file; input numbers"),
        (Placement("decode", lambda _: np.ones(2)), "returned float64 (2,) for file; input encoded takes BYTES (1,)"),
        (Placement("every_type", lambda _: ARRAYS["INT8"]), "every_type takes a dict of UINT8, UINT16"),
    ],
)
def test_what_disagrees_with_the_server_is_one_line(url, placement, says):
    with pytest.raises(ValueError) as refusal:
        workload = complete(own(placement), url)
        check_workload(workload, ["p0"], workload.load())
    assert says in str(refusal.value) and "\n" not in str(refusal.value) and "mine.py" in str(refusal.value)


def test_what_the_file_says_wins(url):
    placement = Placement("weigh", inputs=(Input("numbers", "FP32", (4,)), "weight", "bias"), outputs=("count",))
    found = complete(own(placement, steps=("weigh",)), url)
    target = found.placements["p0"].target
    assert [each.name for each in target.inputs] == ["numbers", "weight", "bias"] and target.outputs == ("count",)
    assert not any(each.optional for each in target.inputs)
    assert found.steps == ("weigh",)
    with pytest.raises(ValueError, match=r"has no model elsewhere, which steps of mine\.py asks"):
        complete(own(placement, steps=("elsewhere",)), url)


MINE = """
import numpy as np
from crossover import Placement, Workload, made

def draw(rng):
    return rng.bytes(8)

WORKLOAD = Workload(
    name="mine", payloads=made(draw, count=3, seed=7),
    placements={
        "client": Placement("name", lambda file: 2 * np.frombuffer(file[:4], np.uint8).astype(np.float32)),
        "server": Placement("outer", extra={"weight": np.array([2], np.float32)}),
    },
)
"""


def command(*arguments) -> subprocess.CompletedProcess:
    return forks.run("crossover", *arguments)


def test_commands_take_a_file_for_models_of_strangers(url, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    texts = set()
    for placement in ("client", "server"):
        done = command("infer", tmp_path / "mine.py", "--placement", placement, "--url", url)
        assert done.returncode == 0, done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1 and "text BYTES [1, 1]: b'sum " in texts.pop()
    at = ["--url", url, "--state", tmp_path / "none", "--reports", tmp_path / "reports"]
    done = command("compare", tmp_path / "mine.py", "--seconds", 6, "--rounds", 1, *at)
    assert done.returncode in (0, 3) and "Traceback" not in done.stderr, done.stderr
    [run] = (tmp_path / "reports").glob("*/run.json")
    summary = json.loads((run.parent / "summary.json").read_text())["workloads"]["mine"]
    assert summary["steps"] == ["decode", "weigh", "name"] and summary["payloads"] == ["made-0", "made-1", "made-2"]
    assert all(arm["errors"] == 0 and "weigh compute" in arm["stages"] for arm in summary["arms"][1:])


def test_an_answer_is_shown_of_an_ensemble_that_answers_all_its_outputs_or_none(url, tmp_path):
    """Asked for its product alone, which a later step reads, too, Triton ends in an "unexpected deadlock"."""
    text = MINE.replace("outer", "both").replace("Placement, Workload", "Answer, Placement, Workload")
    own, at = tmp_path / "mine.py", ["--placement", "server", "--url", url]
    own.write_text(text.replace("    name=", "    answer=Answer('product', lambda a: f'{a.size} numbers'), name="))
    done = command("infer", own, *at)
    assert (done.returncode, done.stdout) == (0, "made-0: 4 numbers\n"), done.stderr
    own.write_text(text.replace("    name=", "    answer=Answer('text', lambda a: a[7]), name="))
    done = command("infer", own, *at)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1 and "made-0: the function in Answer(...) raised IndexError: index 7" in line


def test_a_command_refuses_what_the_server_cannot_take_before_anything_is_sent(url, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace("bytes(8)", "bytes(2)"))
    at = ["--url", url, "--state", tmp_path / "none", "--reports", tmp_path / "reports"]
    done = command("load", tmp_path / "mine.py", "--arms", "client", *at)
    assert done.returncode == 2 and not (tmp_path / "reports").exists(), done.stderr
    [line] = done.stderr.splitlines()
    assert "prepare of placement 'client' of mine.py returned float32 (2,) for made-0; input weighted takes" in line


def test_what_prepare_returns_for_one_payload_in_a_run_is_a_failed_sample_with_its_reason(url):
    arm = Arm(complete(own(Placement("decode", lambda _: np.ones(2))), url), "p0", Mode("sequential"))
    sample = Sample(0, 0, 0)
    assert Client(arm, lambda: 1).prepare(arm.preprocessor(), sample, Payload("file", FILE)) is None
    assert sample.status == FAILED
    assert sample.reason == "client preprocessing: float64 (2,); input encoded takes BYTES (1,)"
