"""Converts exported networks to half precision: `model.fp16.onnx` beside `model.onnx`, with FP32 inputs and outputs.

    python -m models.fp16 model_repository        # in any interpreter with onnx and onnxruntime

Constants are folded in FP32 first: ONNX Runtime has no kernels that would fold them in FP16, and would compute them
anew in each run. The converter is that of ONNX Runtime, onnxruntime.transformers.float16.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from common import atomic_write
from models import artefacts
from models.checkpoint import Refused
from models.progress import phase

LIMIT = 0.05  # of the logits' standard deviation, as crossover/gpu_check/network.py has it for FP16
SHAPES = {"resnet50": (2, 3, 224, 224), "wav2vec2": (2, 20000)}  # of the noise that both precisions are compared on


def complete(directory):
    """Convert each network in this folder that has no FP16 form yet. Raises Refused as `convert`."""
    for network in artefacts.HALF:
        if not artefacts.has_half(directory, network):
            convert(directory, network)


def convert(directory, network):
    """Write a network's FP16 form and its provenance, with the difference from FP32 in it, and return the latter.

    The difference is the largest of the logits, as a share of their standard deviation, on the CPU. Raises Refused
    beyond LIMIT.
    """
    source, target = directory / network / "1" / "model.onnx", directory / artefacts.HALF[network]
    with phase(f"{network}: converting to FP16") as say, tempfile.TemporaryDirectory(dir=target.parent) as room:
        half = Path(room) / target.name
        onnx.save(halve(fold_constants(source, Path(room))), half)
        difference, same = compare(source, half, SHAPES[network])
        if not difference <= LIMIT:
            raise Refused(
                f"{network} in FP16: logits differ from FP32 by {difference:.1%} of their deviation, "
                f"expected at most {LIMIT:.0%}"
            )
        half.replace(target)
        say(
            f"{target.stat().st_size / 1e6:.0f} MB, logits differ by {difference:.2%} of their deviation at most, "
            f"top-1 the same in {same:.1%}"
        )
    origin = json.loads((directory / network / artefacts.PROVENANCE).read_text())
    found = {**origin, "precision": "fp16", "difference_from_fp32": difference, "same_top1": same}
    atomic_write.write(directory / network / artefacts.HALF_PROVENANCE, json.dumps(found, indent=2) + "\n")
    return found


def fold_constants(path, room):
    """Return the network with its constants folded, in FP32, in a form that no processor is needed for."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(room / "folded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(room / "folded.onnx")


def halve(model):
    """Return a network whose weights and sums are FP16, and whose inputs and outputs are FP32 as before."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    grouped = [node.name for node in model.graph.node if is_grouped(node)]
    return convert_float_to_float16(model, keep_io_types=True, node_block_list=grouped)


def is_grouped(node):
    """Whether this is a convolution in groups: cuDNN has found no plan for wav2vec2's in FP16, so it stays in FP32."""
    return node.op_type == "Conv" and any(each.name == "group" and each.i > 1 for each in node.attribute)


def compare(full, half, shape):
    """Return (largest difference of logits / their standard deviation, share of equal best classes) on noise.

    `full` and `half` are paths of networks with one input of this shape.
    """
    noise = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    expected, given = (run(path, noise) for path in (full, half))
    if given.dtype != np.float32 or given.shape != expected.shape or not np.isfinite(given).all():
        return float("inf"), 0.0
    difference = float(np.abs(given - expected).max()) / max(float(expected.std()), 1e-12)
    return difference, float(np.mean(given.argmax(-1) == expected.argmax(-1)))


def run(path, tensor):
    """Return a network's logits on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor})[0]


def main():
    """Run the command line; exits with code 1 and one line for Refused."""
    parser = argparse.ArgumentParser(prog="python -m models.fp16")
    parser.add_argument("directory", type=Path, help="a model repository with exported networks")
    options = parser.parse_args()
    try:
        for network in artefacts.HALF:
            if not (options.directory / network / artefacts.PROVENANCE).is_file():
                raise Refused(f"{network}: no exported network in {options.directory}")
            convert(options.directory, network)
    except Refused as refusal:
        sys.exit(str(refusal))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
