"""Export one network to ONNX, in the throwaway environment: this is the one file that imports torch.

python -m models.export resnet50 --output STAGE [--checkpoint DIR_OR_HUB_ID] [--seed 0] [--fp16]
"""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import numpy as np
import onnx
import onnxruntime
import torch
import transformers

from models import artefacts, checkpoint, fp16
from models.checkpoint import Refused
from models.progress import phase

OPSET = 18
TOLERANCE = 1e-3  # of logits, whose range is tens
RANDOM = "latency is valid, predictions are not"


@dataclass(frozen=True)
class Network:
    """What the export needs to know of a network: its classes in transformers, its tensors, the files beside it.

    `settle(network, seed)` prepares random weights for inference; a checkpoint is loaded without it.
    """

    architecture: type
    configuration: transformers.PretrainedConfig  # that of the checkpoint on the hub, for random weights
    input: str
    dimensions: dict  # axis of the input -> the name of the dimension that varies
    output: tuple
    shapes: tuple  # of inputs to compare on; the first is the export's example
    neighbours: Callable  # checkpoint or None -> {file beside the network: text}
    settle: Callable = lambda network, seed: None


class Logits(torch.nn.Module):
    """A network of transformers as a function from one tensor to its logits, which is what the export wants."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, tensor):
        """Return the network's logits alone, as a graph has no use for the rest."""
        return self.network(tensor).logits


def labels(source):
    """Return labels.txt of a checkpoint, or of random weights (None): file -> text.

    Classes of random weights are named by their number.
    """
    names = checkpoint.labels(source) if source else [f"class {n:03}" for n in range(artefacts.CLASSES)]
    return {artefacts.LABELS: artefacts.lines(names)}


def vocabulary(source):
    """Return vocab.json of a checkpoint: file -> text.

    Without one it is the vocabulary of every wav2vec2 that was fine-tuned on LibriSpeech.
    """
    tokens = source and checkpoint.tokens(source)
    return {artefacts.VOCAB: artefacts.vocabulary(tokens or artefacts.VOCABULARY)}


def settle(network, seed):
    """Set the statistics of a random network's batch norms from noise of several grains.

    With the initial statistics (mean 0, variance 1) the signal doubles in every block. `seed` is that of the noise.
    """
    random = torch.Generator().manual_seed(seed)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None  # a plain average over the batches that follow
    network.train()
    for grain in (4, 14, 56, 224):
        noise = torch.randn(6, 3, grain, grain, generator=random)
        network(torch.nn.functional.interpolate(noise, (224, 224), mode="bilinear"))


NETWORKS = {
    "resnet50": Network(
        transformers.ResNetForImageClassification,
        transformers.ResNetConfig(num_labels=artefacts.CLASSES),
        "pixels",
        {0: "batch"},
        ("batch", artefacts.CLASSES),
        ((2, 3, 224, 224), (1, 3, 224, 224), (5, 3, 224, 224)),
        labels,
        settle,
    ),
    "wav2vec2": Network(
        transformers.Wav2Vec2ForCTC,
        transformers.Wav2Vec2Config(vocab_size=len(artefacts.VOCABULARY)),
        "waveform",
        {0: "batch", 1: "samples"},
        ("batch", "frames", len(artefacts.VOCABULARY)),
        ((2, 20000), (1, 400), (1, 719), (1, 720), (3, 23456), (1, 80001)),
        vocabulary,
    ),
}


def fetch(name):
    """Download a checkpoint from the hub, and return (directory, revision). Raises Refused if that fails."""
    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()
    try:
        revision = huggingface_hub.HfApi().model_info(name).sha
        directory = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=["*.json", "model.safetensors"]
        )
    except Exception as error:  # the hub, its client and the network raise many kinds
        raise Refused(
            f"{name} cannot be downloaded: {first_line(error)}; try again, or use --weights random"
        ) from error
    return Path(directory), revision


def load(network, source):
    """Return the network of a checkpoint directory, in float32.

    Raises Refused if a weight is missing or of another shape: transformers would replace it by random numbers and only
    warn.
    """
    try:
        model, loading = network.architecture.from_pretrained(
            source,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # transformers, safetensors and torch raise many kinds
        raise Refused(f"{source} cannot be loaded: {first_line(error)}") from error
    training = "wav2vec2.masked_spec_embed", ".num_batches_tracked"  # not used in inference
    missing = [name for name in loading["missing_keys"] if not name.endswith(training)]
    if loading["mismatched_keys"]:
        name, given, expected = min(loading["mismatched_keys"])
        raise Refused(f"{source}: {name} is {list(given)}, its config.json makes it {list(expected)}")
    if missing:
        raise Refused(
            f"{source} lacks {len(missing)} weights of {network.architecture.__name__}, {min(missing)} among them"
        )
    return model


def first_line(error):
    """Return the first line of an exception's message, or the exception's name if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def initialise(network, seed):
    """Return the same architecture with seeded random weights, and batch norms that fit them."""
    torch.manual_seed(seed)
    model = network.architecture(network.configuration)
    network.settle(model, seed)
    return model


def export(network, model, path):
    """Write one ONNX file, in which dimensions that vary have names and nothing is about this machine.

    torch wants at least two frames where a length may vary; `check` shows that one frame works, too.
    """
    shortest = {"batch": 1, "samples": artefacts.FIELD + artefacts.HOP}
    dynamic = {axis: torch.export.Dim(name, min=shortest[name]) for axis, name in network.dimensions.items()}
    program = torch.onnx.export(
        model,
        (torch.randn(network.shapes[0]),),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=[network.input],
        output_names=["logits"],
        dynamic_shapes=(dynamic,),
    )
    program.save(path, external_data=False)
    saved = onnx.load(path)
    graph = saved.graph
    for size, dimension in zip(network.output, graph.output[0].type.tensor_type.shape.dim, strict=True):
        if isinstance(size, str):
            dimension.dim_param = size
    for part in (saved, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        part.ClearField("metadata_props")
    onnx.save(saved, path)


def check(network, model, path):
    """Return the largest |difference| of logits between torch and ONNX Runtime, over batch sizes and lengths.

    Raises `Refused` above TOLERANCE, and if the network gives every input the same answer.
    """
    session = onnxruntime.InferenceSession(path)
    random = torch.Generator().manual_seed(1)
    differences = []
    for shape in network.shapes:
        tensor = torch.randn(shape, generator=random)
        expected = model(tensor).numpy()
        given = session.run(["logits"], {network.input: tensor.numpy()})[0]
        if given.shape != expected.shape:
            raise Refused(f"for an input of {shape} the graph gives {given.shape}, torch {expected.shape}")
        if not np.isfinite(given).all():
            raise Refused(f"logits that are not finite for an input of {shape}")
        if len(given) > 1 and not np.ptp(given, axis=0).max() > 10 * TOLERANCE:
            raise Refused("the network gives every input the same logits; are its weights those of a trained one?")
        differences.append(np.abs(given - expected).max())
    worst = float(np.max(differences))
    if worst > TOLERANCE:
        raise Refused(f"max |difference| between the graph and torch is {worst:.1e}, expected at most {TOLERANCE:.0e}")
    return worst


def run(name, given, seed, output):
    """Write the network, its provenance and the files beside it into the empty folder `output`.

    Prints a line per phase: loading, exporting, checking.

    `given`: the directory of a checkpoint, an id of the hub, or None for random weights with this seed. Raises Refused.
    """
    network, source, revision = NETWORKS[name], given, None
    if isinstance(given, str):
        print(f"{name}: downloading {given}", flush=True)
        source, revision = fetch(given)
    elif given:
        revision = checkpoint.fingerprint(given)
    if source:
        checkpoint.check(name, source)
    path = output / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    with phase(f"{name}: loading {given}" if given else f"{name}: random weights, seed {seed}") as say:
        model = Logits(load(network, source) if source else initialise(network, seed)).eval()
        say(f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.1f} M parameters")
    with phase(f"{name}: exporting to ONNX") as say:
        export(network, model, path)
        say(f"{path.stat().st_size / 1e6:.0f} MB, opset {OPSET}")
    with phase(f"{name}: checking against torch") as say:
        worst = check(network, model, path)
        say(f"max |difference| {worst:.1e}")
    origin = (
        {"weights": "pretrained", "source": str(given), "revision": revision}
        if given
        else {"weights": "random", "source": type(network.configuration).__name__, "seed": seed, "note": RANDOM}
    )
    artefacts.write(
        output / name / "provenance.json", artefacts.provenance(name, opset=OPSET, max_abs_difference=worst, **origin)
    )
    for file, content in network.neighbours(source).items():
        artefacts.write(output / file, content)


def main():
    """Run the command line; exits with code 1 and one line for Refused."""
    parser = argparse.ArgumentParser(prog="python -m models.export")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--checkpoint", type=checkpoint.locate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--fp16", action="store_true", help="convert it to FP16, too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        run(options.network, options.checkpoint, options.seed, options.output)
        if options.fp16:
            fp16.convert(options.output, options.network)
    except Refused as refusal:
        sys.exit(f"{options.network}: {refusal}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
