"""A pipeline of one's own is tried once before it is measured: whatever its functions do is one line."""

import sys

import numpy as np
import pytest

from tests.commands import conduct
from workloads import prepare_check
from workloads.payloads import Payload
from workloads.prepare_check import check_workload, prepare_once
from workloads.workload import Placement, Workload, per_thread

SENT = [Payload("one.jpg", b"abc")]
WANTED = {"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3", "-1"]}], "max_batch_size": 8}


def own(prepare=None, **other) -> Workload:
    usual = {"name": "mine", "payloads": lambda: SENT, "file": "mine.py"} | other
    return Workload(placements={"phone": Placement("m", prepare, input="x")}, **usual)


def fail(*_):
    return 1 / 0


def give(value):
    return lambda *_: value


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (fail, "prepare of placement 'phone' of mine raised ZeroDivisionError: division by zero for one.jpg; it takes"),
        (lambda encoded: sys.exit(3), "prepare of placement 'phone' of mine raised SystemExit: 3 for one.jpg"),
        (give(None), "prepare of placement 'phone' of mine returned None for one.jpg; it takes a file's bytes and"),
        (give([1, 2]), "returned an object of type list"),
        (give(np.array([None])), "returned an array of object"),
        (give(np.array([1j])), "returned an array of complex128"),
        (give(np.zeros((3, 4))), "returned float64 (3, 4) for one.jpg; m takes float32 (3, any)"),
        (give(np.zeros((4, 3), "f4")), "returned float32 (4, 3) for one.jpg; m takes float32 (3, any)"),
        (give(np.zeros((1, 3, 4), "f4")), "returned float32 (1, 3, 4) for one.jpg"),
        (None, "placement 'phone' of mine sends uint8 (3,) for one.jpg, as it has no prepare; m takes float32"),
        (per_thread(fail), "the maker in per_thread of placement 'phone' of mine raised ZeroDivisionError: division"),
        (per_thread(give(3)), "the maker in per_thread of placement 'phone' of mine returned an object of type int"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(prepare, says, monkeypatch):
    monkeypatch.setattr(prepare_check, "read", lambda *_: WANTED)
    with pytest.raises(ValueError) as refusal:
        check_workload(own(prepare), ["phone"], SENT, url="http://here")
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


def test_what_the_model_takes_is_accepted(monkeypatch):
    right = own(give(np.zeros((3, 7), "f4")))
    monkeypatch.setattr(prepare_check, "read", lambda *_: WANTED)
    check_workload(right, ["phone"], SENT, url="http://here")
    # Without batches the model's shape has the client's batch dimension.
    unbatched = {"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1, 3, 7]}]}
    monkeypatch.setattr(prepare_check, "read", lambda *_: unbatched)
    check_workload(right, ["phone"], SENT, url="http://here")
    # Without a server nothing is known of the model; another name's type says nothing.
    check_workload(own(give(np.zeros(1))), ["phone"], SENT)
    assert prepare_once(own(), "phone", SENT[0]).tolist() == list(b"abc")


def test_every_payload_that_is_given_is_tried():
    def short(encoded):
        return np.frombuffer(encoded[:3], "u1") if len(encoded) < 4 else fail()

    check_workload(own(short), ["phone"], SENT)
    with pytest.raises(ValueError, match=r"ZeroDivisionError: division by zero for two\.jpg"):
        check_workload(own(short), ["phone"], [*SENT, Payload("two.jpg", b"abcd")])


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
        (lambda: [Payload("e", "text")], "payloads of mine: 'e' must hold bytes, not str"),
        (lambda: [Payload(3, b"x")], "names that are text, unlike 3"),
        (lambda: [Payload("e", b"")], "payloads of mine: 'e' is empty"),
    ],
)
def test_payloads_that_are_none_are_refused_in_one_line(source, says):
    with pytest.raises(ValueError) as refusal:
        own(payloads=source).load()
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


class Here:
    """A server that answers nothing: whoever asks it has not checked before."""

    url, cores, state = "http://here", (), {}


def test_an_experiment_leaves_no_directory_of_it(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.py"
    placement = "Placement('m', lambda encoded: 1 / 0, input='x', outputs=('y',))"
    path.write_text(
        "from crossover import Placement, Workload\nfrom workloads.payloads import Payload\n"
        f"WORKLOAD = Workload(name='mine', steps=('m',), payloads=lambda: [Payload('e', b'e')],\n"
        f"    placements={{'a': {placement}, 'b': {placement}}})\n"
    )
    monkeypatch.setattr(prepare_check, "read", lambda *_: WANTED)
    monkeypatch.setattr("crossover.experiments.server_experiment.Server.at", lambda *_: Here)
    code, output, errors = conduct(capsys, "compare", path, "--reports", tmp_path / "reports")
    assert (code, output) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith("crossover compare: prepare of placement 'a' of mine raised ZeroDivisionError")
    assert not (tmp_path / "reports").exists()
