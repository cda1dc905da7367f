"""A pipeline of one's own is tried once before it is measured: whatever its functions do is one line."""

import sys

import numpy as np
import pytest

from tests.commands import conduct
from workloads import model_config
from workloads.payloads import Payload
from workloads.prepare_check import check_workload, prepare_once
from workloads.tensors import Input
from workloads.workload import Placement, Workload, per_thread

SENT = [Payload("one.jpg", b"abc")]
WANTED = (Input("x", "FP32", (3, -1)),)


def own(prepare=None, inputs=WANTED, batched=True, **other) -> Workload:
    usual = {"name": "mine", "payloads": lambda: SENT, "file": "mine.py"} | other
    return Workload(placements={"phone": Placement("m", prepare, inputs=inputs, batched=batched)}, **usual)


def fail(*_):
    return 1 / 0


def give(value):
    return lambda *_: value


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (fail, "prepare of placement 'phone' of mine.py raised ZeroDivisionError: division by zero for one.jpg; it"),
        (lambda encoded: sys.exit(3), "prepare of placement 'phone' of mine.py raised SystemExit: 3 for one.jpg"),
        (give(None), "prepare of placement 'phone' of mine.py returned None for one.jpg; input x takes float32"),
        (give([1, 2]), "returned an object of type list for one.jpg; input x takes float32 (3, any)"),
        (give(np.array([None])), "returned object (1,) for one.jpg; input x takes float32 (3, any)"),
        (give(np.array([1j])), "returned complex128 (1,)"),
        (give(np.array([b"a", b"b"])), "returned |S1 (2,)"),
        (give(b"abc"), "returned uint8 (3,)"),
        (give(np.zeros((3, 4))), "returned float64 (3, 4) for one.jpg; input x takes float32 (3, any)"),
        (give(np.zeros((4, 3), "f4")), "returned float32 (4, 3) for one.jpg"),
        (give(np.zeros((1, 3, 4), "f4")), "returned float32 (1, 3, 4) for one.jpg"),
        (give({"y": np.zeros((3, 4), "f4")}), "returned an input 'y' for one.jpg; m takes x"),
        (give({}), "returned no input 'x' for one.jpg; m takes x"),
        (None, "placement 'phone' of mine.py, which has no prepare, sends uint8 (3,) for one.jpg; input x takes"),
        (per_thread(fail), "the maker in per_thread of placement 'phone' of mine.py raised ZeroDivisionError: div"),
        (per_thread(give(3)), "the maker in per_thread of placement 'phone' of mine.py returned an object of type int"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(prepare, says):
    with pytest.raises(ValueError) as refusal:
        check_workload(own(prepare), ["phone"], SENT)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


def test_what_the_model_takes_is_accepted():
    right = give(np.zeros((3, 7), "f4"))
    check_workload(own(right), ["phone"], SENT)
    [tensor] = prepare_once(own(right), "phone", SENT[0])
    assert tensor.shape == (1, 3, 7)
    [tensor] = prepare_once(own(right, batched=False), "phone", SENT[0])
    assert tensor.shape == (3, 7)
    # Without a server nothing is known of the model.
    check_workload(own(give(np.zeros(1)), inputs=()), ["phone"], SENT)
    [tensor] = prepare_once(own(inputs=()), "phone", SENT[0])
    assert tensor.array.tolist() == [list(b"abc")]


def test_every_payload_that_is_given_is_tried():
    def short(encoded):
        return np.frombuffer(encoded[:3], "u1") if len(encoded) < 4 else fail()

    check_workload(own(short, inputs=()), ["phone"], SENT)
    with pytest.raises(ValueError, match=r"ZeroDivisionError: division by zero for two\.jpg"):
        check_workload(own(short, inputs=()), ["phone"], [*SENT, Payload("two.jpg", b"abcd")])


def test_a_built_in_workload_is_not_tried():
    check_workload(own(fail, file=""), ["phone"], SENT)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (fail, "payloads of mine raised ZeroDivisionError: division by zero; the function returns a list of Payload"),
        (lambda: sys.exit(3), "payloads of mine raised SystemExit: 3"),
        (lambda: iter(SENT), "the payloads of mine must be a list of Payload(name, encoded), and not empty"),
        (list, "the payloads of mine must be a list"),
        (lambda: [b"abc"], "the payloads of mine must be a list"),
        (lambda: [Payload("e", "text")], "payloads of mine: 'e' must hold bytes or arrays, not str"),
        (lambda: [Payload(3, b"x")], "names that are text, unlike 3"),
        (lambda: [Payload("e", b"")], "payloads of mine: 'e' is empty"),
    ],
)
def test_payloads_that_are_none_are_refused_in_one_line(source, says):
    with pytest.raises(ValueError) as refusal:
        own(payloads=source).load()
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


WITH_X = {
    "name": "m",
    "max_batch_size": 8,
    "output": [{"name": "y"}],
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3", "-1"]}],
}


class Here:
    """A server that answers nothing: whoever asks it has not checked before."""

    url, cores, state = "http://here", (), {}


def test_an_experiment_leaves_no_directory_of_it(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.py"
    placement = "Placement('m', lambda encoded: 1 / 0, outputs=('y',))"
    path.write_text(
        "from crossover import Placement, Workload\nfrom workloads.payloads import Payload\n"
        f"WORKLOAD = Workload(name='mine', steps=('m',), payloads=lambda: [Payload('e', b'e')],\n"
        f"    placements={{'a': {placement}, 'b': {placement}}})\n"
    )
    monkeypatch.setattr(model_config, "read", lambda *_: WITH_X)
    monkeypatch.setattr("crossover.experiments.server_experiment.Server.at", lambda *_: Here)
    code, output, errors = conduct(capsys, "compare", path, "--reports", tmp_path / "reports")
    assert (code, output) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith("crossover compare: prepare of placement 'a' of mine.py raised ZeroDivisionError")
    assert not (tmp_path / "reports").exists()
