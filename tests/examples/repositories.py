"""What the tests of the examples share: their names, copies of their repositories, and files as they are sent."""

import shutil
from pathlib import Path

import numpy as np

from tests.conftest import ROOT

EXAMPLES = ("imagenet", "voice")


def copy_repository(example: str, folder: Path) -> Path:
    """Copy what is committed of an example's model repository, without the weights that lie there."""
    unfetched = shutil.ignore_patterns("model.onnx", "labels.txt", "__pycache__")
    return Path(shutil.copytree(ROOT / "examples" / example / "model_repository", folder, ignore=unfetched))


def encode_file(example: str, encoded: bytes) -> np.ndarray:
    """Return a file as one element of type BYTES; only models of photographs have a batch dimension."""
    array = np.empty((1, 1) if example == "imagenet" else (1,), object)
    array[...] = encoded
    return array
