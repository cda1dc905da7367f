"""A checkpoint: a directory with config.json and model.safetensors, as the Hugging Face hub has them.

This module checks all that can be checked without torch, within seconds, before an environment with
torch is made.
"""

import hashlib
import json
import math
import os
import re
from pathlib import Path

from models import artefacts, reach

HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
DEFAULT = {"resnet50": "microsoft/resnet-50", "wav2vec2": "facebook/wav2vec2-base-960h"}


class Refused(Exception):
    """The request cannot be met; the message is one line and says what to do."""


def locate(given):
    """Return the `Path` of a directory, or the hub's "owner/name" as it is. Raises Refused if it is neither."""
    if Path(given).expanduser().is_dir():
        return Path(given).expanduser().resolve()
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", given):
        return given
    raise Refused(
        f"no checkpoint {given!r}; give a directory that exists, or an id of the hub such as {DEFAULT['resnet50']}"
    )


def hub_problem(name):
    """Return in words why the hub does not give this checkpoint, or None if it does."""
    problem = reach.problem(f"{HUB}/{name}/resolve/main/config.json")
    return problem and f"{HUB}/{name}: {problem}"


def fingerprint(directory):
    """Return the revision of a checkpoint in a directory: `sha256:` and 16 digits of its weights' digest.

    The weights are read in pieces of 1 MB, as they may be larger than memory.
    """
    with (Path(directory) / "model.safetensors").open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()[:16]}"


def check(network, directory):
    """Raise `Refused` unless the checkpoint fits the models that come before and after this network.

    Its files, inputs and outputs are compared. Where a configuration lacks a field, the default is that of the
    configuration class in transformers.
    """
    directory = Path(directory)
    for name in ("config.json", "model.safetensors"):
        if not (directory / name).is_file():
            raise Refused(f"{directory} has no {name}; a checkpoint has config.json and model.safetensors")
    config = read(directory / "config.json")
    if network == "resnet50":
        facts = {
            "model_type": (config.get("model_type"), "resnet"),
            "number of labels": (len(config.get("id2label") or range(2)), artefacts.CLASSES),
            "num_channels": (config.get("num_channels", 3), 3),
        }
    else:
        kernels = config.get("conv_kernel", [10, 3, 3, 3, 3, 2, 2])
        strides = config.get("conv_stride", [5, 2, 2, 2, 2, 2, 2])
        field = 1 + sum((kernel - 1) * math.prod(strides[:n]) for n, kernel in enumerate(kernels))
        tokens(directory)
        preprocessor = read(directory / "preprocessor_config.json", default={})
        facts = {
            "model_type": (config.get("model_type"), "wav2vec2"),
            "vocab_size": (config.get("vocab_size", 32), len(artefacts.VOCABULARY)),
            "feat_extract_norm (another one needs an attention mask)": (
                config.get("feat_extract_norm", "group"),
                "group",
            ),
            "add_adapter": (config.get("add_adapter", False), False),
            "receptive field and hop": ((field, math.prod(strides)), (artefacts.FIELD, artefacts.HOP)),
            "id of the blank": (config.get("pad_token_id", 0), 0),
            "sampling_rate": (preprocessor.get("sampling_rate", 16000), 16000),
            "do_normalize": (preprocessor.get("do_normalize", True), True),
        }
    for fact, (given, expected) in facts.items():
        if given != expected:
            raise Refused(
                f"{directory} does not fit {network}: {fact} is {given}, expected {expected}; {DEFAULT[network]} fits"
            )


def labels(directory):
    """Return the names of the classes, in the order of the logits."""
    names = read(Path(directory) / "config.json")["id2label"]
    return [" ".join(names[str(number)].split()) for number in range(len(names))]


def tokens(directory):
    """Return the tokens in the order of the logits, or None if the checkpoint has no vocab.json.

    Raises Refused unless each id occurs once.
    """
    numbers = read(Path(directory) / "vocab.json", default=None)
    if numbers is None:
        return None
    if sorted(numbers.values()) != list(range(len(artefacts.VOCABULARY))):
        raise Refused(
            f"{directory}/vocab.json: ids are {sorted(numbers.values())}, "
            f"expected 0 to {len(artefacts.VOCABULARY) - 1}, each once"
        )
    return sorted(numbers, key=numbers.get)


def read(path, **default):
    """Return the JSON of a file, or `default` if the file does not exist. Raises Refused if it is no JSON."""
    if default and not path.exists():
        return default["default"]
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}") from None
