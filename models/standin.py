"""Tiny networks with the contract of the real ones, for tests and for `up --weights tiny`.

They cost next to nothing, so that a test of the server waits for the server; yet every pixel
and every sample moves every logit, so that a test that two placements agree can fail.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models import artefacts

OPSET = 17
SEED = 20
NOTE = "neither its latency nor its predictions are those of the real network"


def resnet50():
    """Return a network: pixels [batch, 3, 224, 224] -> logits [batch, 1000].

    Four weighted means of each 32 x 32 patch are mixed by one matrix. Each pixel has a weight of its own. The weights
    are far from zero on average, so that photographs half a grey level apart keep their best classes.
    """
    random = np.random.default_rng(SEED)
    mean = random.normal(size=(4, 3, 1, 1)) + random.normal(scale=0.5, size=(4, 3, 32, 32))
    return network(
        "resnet50",
        [
            helper.make_node("Conv", ["pixels", "patch"], ["patches"], strides=[32, 32]),
            helper.make_node("Flatten", ["patches"], ["features"]),
            helper.make_node("MatMul", ["features", "mix"], ["logits"]),
        ],
        {"patch": mean / 32**2, "mix": random.normal(size=(4 * 7 * 7, artefacts.CLASSES)) / 14},
        {"pixels": ["batch", 3, 224, 224]},
        {"logits": ["batch", artefacts.CLASSES]},
    )


def wav2vec2():
    """Return a network: waveform [batch, samples] -> logits [batch, frames, 32].

    It normalises over time, and has one convolution with the receptive field and the hop of the real network.

    The normalisation is there because the real one has it (GroupNorm without an attention
    mask): a clip that was padded to be batched gets other logits than alone.
    """
    random = np.random.default_rng(SEED)
    kernel = random.normal(size=(len(artefacts.VOCABULARY), 1, artefacts.FIELD)) / artefacts.FIELD**0.5
    return network(
        "wav2vec2",
        [
            helper.make_node("Unsqueeze", ["waveform", "channel"], ["raw"]),
            helper.make_node("InstanceNormalization", ["raw", "scale", "shift"], ["normal"]),
            helper.make_node("Conv", ["normal", "kernel"], ["tokens"], strides=[artefacts.HOP]),
            helper.make_node("Transpose", ["tokens"], ["logits"], perm=[0, 2, 1]),
        ],
        {"kernel": kernel, "scale": np.ones(1), "shift": np.zeros(1), "channel": np.array([1])},
        {"waveform": ["batch", "samples"]},
        {"logits": ["batch", "frames", len(artefacts.VOCABULARY)]},
    )


def network(name, nodes, weights, inputs, outputs):
    """Return a checked ONNX model; floating-point weights become FP32, as are all inputs and outputs.

    `weights`: name -> array; `inputs` and `outputs`: name -> shape, in which a text is the name of a free dimension.
    """

    def tensors(shapes):
        return [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in shapes.items()]

    constants = [
        numpy_helper.from_array(value.astype(np.float32) if value.dtype.kind == "f" else value, key)
        for key, value in weights.items()
    ]
    graph = helper.make_graph(nodes, name, tensors(inputs), tensors(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def build(directory):
    """Write the whole artefact tree into `directory` and return its path. Files that are the same stay untouched."""
    directory = Path(directory)
    for model, path in ((resnet50(), artefacts.RESNET), (wav2vec2(), artefacts.WAV2VEC2)):
        name = model.graph.name
        written = artefacts.write(directory / path, model.SerializeToString(deterministic=True))
        beside = directory / name / "provenance.json"
        if written or not beside.exists():
            artefacts.write(
                beside,
                artefacts.provenance(
                    name, weights="stand-in", source="models/standin.py", opset=OPSET, seed=SEED, note=NOTE
                ),
            )
    names = (f"stand-in {number:03}" for number in range(artefacts.CLASSES))
    artefacts.write(directory / artefacts.LABELS, artefacts.lines(names))
    artefacts.write(directory / artefacts.VOCAB, artefacts.vocabulary(artefacts.VOCABULARY))
    return directory
