"""Lay out the example: Silero VAD's network as ONNX, out of its wheel on PyPI, and five seconds of silence.

    python examples/voice/prepare.py
"""

import argparse
import sys
import tempfile
import wave
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))
from models import artefacts, wheels
from models.checkpoint import Refused

NETWORK = HERE / "model_repository" / "vad" / "1" / "model.onnx"


def write_silence(path: Path, seconds: int = 5, rate: int = 16_000) -> None:
    """Write a WAV file of 16-bit zeros."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * seconds * rate))


def prepare() -> None:
    """Fetch what the repository lacks. Raises Refused, in one line, if it cannot be had."""
    write_silence(HERE / "silence.wav")
    with tempfile.TemporaryDirectory() as room:
        packages = wheels.download(HERE / "weights.txt", Path(room))
        artefacts.write(NETWORK, wheels.read_file(packages, "silero_vad/data/silero_vad.onnx"))
    print(f"ready: {NETWORK.parents[2].relative_to(ROOT)}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    try:
        prepare()
    except Refused as refusal:
        sys.exit(f"prepare.py: {refusal}")
    except KeyboardInterrupt:
        print("\nno incomplete file is left", file=sys.stderr)
        sys.exit(130)
