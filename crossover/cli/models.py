"""`crossover models`: the networks as ONNX, exported in an environment that is thrown away afterwards."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from crossover.cli import options
from models.checkpoint import DEFAULT, Refused
from models.make import FLAGS, ROOT, check, make

BROKEN = 1  # the exit code where a network cannot be had


@click.command()
@click.option(
    "--weights",
    type=click.Choice(["auto", "pretrained", "random"]),
    default="auto",
    show_default=True,
    help="auto: pretrained, or random where the Hugging Face hub cannot be reached.",
)
@click.option(FLAGS["resnet50"], "resnet50", metavar="DIR|HUB_ID", help=f"default: {DEFAULT['resnet50']}.")
@click.option(FLAGS["wav2vec2"], "wav2vec2", metavar="DIR|HUB_ID", help=f"default: {DEFAULT['wav2vec2']}.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws random weights.")
@click.option("--output", metavar="DIR", type=Path, help="The folder of the networks; default: model_repository.")
@click.option("--python", metavar="PYTHON", help="The interpreter that exports; it has torch and transformers.")
@click.option("--fp16", is_flag=True, help="Convert them to FP16, too, for `crossover up --weights fp16`.")
@click.option("--force", is_flag=True, help="Export networks again that are there already.")
def models(**values: Any) -> int:
    """Export ResNet-50 and wav2vec2-base as ONNX, with labels, vocabulary and provenance.

    Networks that are there already, with the weights asked for, are kept. Where the hub cannot be reached the same
    architectures get random weights: latency is valid then, predictions are not. An export takes minutes, 3 GB of disk
    for its own environment, and a download of 0.2 to 3 GB; with --python none of that.
    """
    given = SimpleNamespace(**values, checkpoints={network: values[network] for network in FLAGS})
    given.output = given.output or ROOT / "model_repository"
    with options.usage_errors():
        try:
            given.checkpoints = check(given.weights, given.checkpoints)
        except Refused as refusal:
            raise ValueError(refusal) from None
    try:
        make(given)
    except Refused as refusal:
        options.print_error(refusal)
        return BROKEN
    except KeyboardInterrupt:
        print("\nno incomplete file is left", file=sys.stderr)
        raise
    return 0
