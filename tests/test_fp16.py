"""Networks in FP16: FP32 outside, close to FP32 in their answers, with a provenance of their own."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from models import artefacts, fp16, standin
from models.checkpoint import Refused
from serving import Failure, model_loader, status

NETWORKS = list(artefacts.HALF)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    directory = standin.build(tmp_path_factory.mktemp("fp16"))
    fp16.complete(directory)
    return directory


def read_provenance(directory, network):
    return json.loads((directory / network / artefacts.HALF_PROVENANCE).read_text())


@pytest.mark.parametrize("network", NETWORKS)
def test_inputs_and_outputs_stay_and_weights_are_half_as_large(converted, network):
    full, half = (
        onnxruntime.InferenceSession(converted / path) for path in (f"{network}/1/model.onnx", artefacts.HALF[network])
    )
    for of in ("get_inputs", "get_outputs"):
        described = [[(each.name, each.type, each.shape) for each in getattr(s, of)()] for s in (full, half)]
        assert described[0] == described[1]
    types = {weight.data_type for weight in onnx.load(converted / artefacts.HALF[network]).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types and onnx.TensorProto.FLOAT not in types


@pytest.mark.parametrize("network", NETWORKS)
def test_the_stand_ins_answer_in_fp16_as_in_fp32(converted, network):
    found = read_provenance(converted, network)
    assert found["precision"] == "fp16" and found["weights"] == "stand-in"
    assert 0 < found["difference_from_fp32"] < 0.01 and found["same_top1"] > 0.95
    paths = [converted / path for path in (f"{network}/1/model.onnx", artefacts.HALF[network])]
    assert fp16.compare(*paths, fp16.SHAPES[network]) == (found["difference_from_fp32"], found["same_top1"])


@pytest.mark.parametrize("network", NETWORKS)
def test_the_exported_networks_answer_in_fp16_as_in_fp32(network):
    if not artefacts.has_half(model_loader.STEPS, network):
        pytest.skip("the real network is not exported in FP16: crossover models --fp16")
    assert read_provenance(model_loader.STEPS, network)["difference_from_fp32"] < fp16.LIMIT


def test_a_network_whose_answers_change_is_refused_and_nothing_is_left(tmp_path):
    standin.build(tmp_path)
    path = tmp_path / artefacts.RESNET
    network = onnx.load(path)
    for weight in network.graph.initializer:
        values = onnx.numpy_helper.to_array(weight) * np.float32(1e6 if weight.name == "mix" else 1)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(network, path)
    with pytest.raises(Refused, match="resnet50 in FP16: logits differ from FP32 by"):
        fp16.convert(tmp_path, "resnet50")
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]
    assert not artefacts.has_half(tmp_path, "resnet50")


def test_a_convolution_in_groups_stays_in_fp32_and_a_plain_one_does_not():
    """cuDNN's heuristic finds no plan for wav2vec2's convolution in groups in FP16 (on an H200)."""
    noise, helper = np.random.default_rng(0), onnx.helper
    weights = {"grouped": noise.normal(size=(4, 2, 3)), "plain": noise.normal(size=(4, 4, 3))}
    nodes = [
        helper.make_node("Conv", ["given", "grouped"], ["between"], "in groups", group=2, pads=[1, 1]),
        helper.make_node("Conv", ["between", "plain"], ["logits"], "of one group", group=1, pads=[1, 1]),
    ]
    tensors = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 4, 8]) for name in ("given", "logits")]
    graph = helper.make_graph(
        nodes, "convolutions", tensors[:1], tensors[1:],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    half = fp16.halve(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    types = {weight.name: weight.data_type for weight in half.graph.initializer}
    assert types == {"grouped": onnx.TensorProto.FLOAT, "plain": onnx.TensorProto.FLOAT16}


def test_other_weights_make_the_fp16_form_outdated(tmp_path):
    standin.build(tmp_path)
    fp16.complete(tmp_path)
    before = (tmp_path / artefacts.HALF["resnet50"]).stat().st_mtime_ns
    fp16.complete(tmp_path)
    assert (tmp_path / artefacts.HALF["resnet50"]).stat().st_mtime_ns == before
    origin = tmp_path / "resnet50" / artefacts.PROVENANCE
    origin.write_text(json.dumps({**json.loads(origin.read_text()), "seed": 7}))
    assert [artefacts.has_half(tmp_path, network) for network in NETWORKS] == [False, True]


def test_a_server_of_fp16_loads_that_file_and_says_so(converted, tmp_path, monkeypatch):
    for network in NETWORKS:
        (converted / network / "config.pbtxt").write_text((model_loader.STEPS / network / "config.pbtxt").read_text())
    plan = {network: {"instances": 1, "threads": 1} for network in NETWORKS}
    full, half = (model_loader.configurations(converted, plan, "127.0.0.1:1", choice) for choice in (False, True))
    for network in NETWORKS:
        assert "default_model_filename" not in json.loads(full[network])
        config = json.loads(half[network])
        assert config["default_model_filename"] == "model.fp16.onnx"
        line = status.weights(network, json.loads(config["parameters"]["provenance"]["string_value"]))
        assert ", in FP16 (logits within 0." in line


def test_networks_that_are_not_converted_are_one_line_with_the_command(converted, tmp_path, monkeypatch):
    monkeypatch.setattr(model_loader, "STEPS", converted)
    assert model_loader.steps("fp16", tmp_path) == converted
    monkeypatch.setattr(model_loader, "STEPS", standin.build(tmp_path / "bare"))
    with pytest.raises(Failure, match=r"resnet50/1/model\.fp16\.onnx is missing.*crossover models --fp16"):
        model_loader.steps("fp16", tmp_path)
