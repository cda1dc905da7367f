"""The files that the export adds to a model repository: their paths, their texts, and writing them."""

import datetime
import json
from pathlib import Path

from common import atomic_write

CLASSES = 1000
FIELD, HOP = 400, 320  # samples seen by one frame of wav2vec2, and from one frame to the next
VOCABULARY = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")

RESNET, WAV2VEC2, VOCAB = "resnet50/1/model.onnx", "wav2vec2/1/model.onnx", "ctc_decode/1/vocab.json"
LABELS = "resnet50/labels.txt"
PROVENANCE, HALF_PROVENANCE = "provenance.json", "provenance-fp16.json"  # in a network's folder
HALF = {name: f"{name}/1/model.fp16.onnx" for name in ("resnet50", "wav2vec2")}  # made by models/fp16.py
FILES = {"resnet50": (RESNET, LABELS), "wav2vec2": (WAV2VEC2, VOCAB)}


def frames(samples):
    """Return the number of logit vectors that wav2vec2 gives for a clip of so many samples (at 16 kHz)."""
    return (samples - FIELD) // HOP + 1


def has_half(directory, network):
    """Return whether a network in this folder has its FP16 form, made from the FP32 one that is there now."""
    origin, beside = (directory / network / file for file in (PROVENANCE, HALF_PROVENANCE))
    if not (origin.is_file() and beside.is_file() and (directory / HALF[network]).is_file()):
        return False
    return json.loads(beside.read_text()).items() >= json.loads(origin.read_text()).items()


def write(path, content):
    """Replace a file by these bytes or this text, as a whole, unless it holds them already; True if it was replaced.

    The folder is made if it is missing. A server that looks meanwhile sees the old file or the new one.
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write.replace_file(path) as unfinished:
        unfinished.write_bytes(content)
    return True


def provenance(model, *, weights, source, opset, revision=None, seed=None, note="", **more):
    """Return the text of a network's provenance.json, which says where its weights come from.

    `weights` is "pretrained", "random" or "stand-in". Reports repeat it: predictions mean
    something for "pretrained" only.
    """
    return (
        json.dumps(
            {
                "model": model,
                "weights": weights,
                "source": source,
                "revision": revision,
                "seed": seed,
                "date": datetime.date.today().isoformat(),
                "opset": opset,
                "note": note,
                **more,
            },
            indent=2,
        )
        + "\n"
    )


def lines(names):
    """Return the text of labels.txt: one class per line, in the order of the logits."""
    return "".join(f"{name}\n" for name in names)


def vocabulary(tokens):
    """Return the text of vocab.json: each token with its id, as the checkpoints on the hub spell it."""
    return json.dumps({token: number for number, token in enumerate(tokens)}, indent=0) + "\n"
