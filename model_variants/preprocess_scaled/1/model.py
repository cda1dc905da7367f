"""Encoded photographs -> pixels, by the library that config.pbtxt names: see backends/image_model.py."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]  # the stub ignores PYTHONPATH
from image_model import TritonPythonModel  # noqa: F401 -- the stub looks it up here
