"""What is sent: real photographs in several sizes, real speech, or the files of any directory.

The two photographs are the ones scikit-learn carries (a dependency of librosa), re-encoded at several
sizes so that decoding costs what it costs in practice; the speech is `clips/commands`, with its text beside it.
"""

import hashlib
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workloads.workload import Workload

CLIPS = Path(__file__).parent / "clips" / "commands"
WIDTHS = (320, 640, 1280, 1920)


@dataclass(frozen=True)
class Payload:
    name: str
    encoded: bytes


def load(workload: Workload, directory: str | Path | None = None) -> list[Payload]:
    """The files of a directory (not its subdirectories) that the workload can read, or the built-in ones.

    Raises ValueError with one line if the directory cannot be read or holds nothing of use.
    """
    if not directory:
        return photographs() if workload.name == "image" else read(CLIPS, workload.suffixes)
    return read(Path(directory), workload.suffixes)


def read(directory: Path, suffixes: tuple[str, ...]) -> list[Payload]:
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix.lower() in suffixes and path.is_file())
        payloads = [Payload(path.name, path.read_bytes()) for path in paths]
    except OSError as error:
        raise ValueError(f"cannot read payloads: {error.strerror}: {error.filename}") from None
    except MemoryError:
        raise ValueError(f"cannot read payloads: more than the memory holds: {directory}") from None
    if not payloads:
        raise ValueError(f"no payloads in {directory}: it holds no {', '.join(suffixes)} file")
    if empty := [payload.name for payload in payloads if not payload.encoded]:
        raise ValueError(f"payload {directory / empty[0]} is empty")
    return payloads


def digest(sent: Sequence[Payload]) -> str:
    """Of names and contents."""
    whole = hashlib.sha256()
    for payload in sent:
        name = payload.name.encode("utf-8", "surrogateescape")
        whole.update(b"%s\0%d\0%s" % (name, len(payload.encoded), payload.encoded))
    return whole.hexdigest()[:12]


def photographs(widths: Sequence[int] = WIDTHS) -> list[Payload]:
    """Both photographs at each width, JPEG quality 90; at their own 640 the original bytes."""
    return [photograph(path, width) for path in photograph_files() for width in widths]


def photograph_files() -> list[Path]:
    spec = importlib.util.find_spec("sklearn")  # found, not imported: that would take a second
    if spec is None:
        raise ValueError("no built-in photographs: scikit-learn is not installed; give a directory of payloads")
    return sorted((Path(spec.origin).parent / "datasets" / "images").glob("*.jpg"))


def photograph(path: Path, width: int) -> Payload:
    from PIL import Image

    encoded = path.read_bytes()
    image = Image.open(io.BytesIO(encoded))
    height = round(image.height * width / image.width)
    if width != image.width:
        buffer = io.BytesIO()
        image.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
        encoded = buffer.getvalue()
    return Payload(f"{path.stem}-{width}x{height}.jpg", encoded)


def order(kinds: int, n: int, seed: int) -> np.ndarray:
    """Which of `kinds` payloads each of n requests sends, uint32: shuffled rounds in which each occurs once, so that
    every prefix is balanced. Its random stream is independent of the schedule's with the same seed."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    rounds = -(-n // kinds)
    return rng.permuted(np.tile(np.arange(kinds, dtype=np.uint32), (rounds, 1)), axis=1).ravel()[:n]
