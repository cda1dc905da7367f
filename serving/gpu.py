"""Decides whether the server can use an NVIDIA card here, and says why not.

It asks the driver (libcuda.so.1), the card (`nvml.py`), and the networks' runtime, `onnxruntime-gpu` with its CUDA
libraries. Nothing here raises, and without a driver nothing takes long.
"""

import ctypes
import importlib.metadata
import subprocess
import sys

from serving.nvml import Card, read_cards, used_card

CUDA = 13, 580
"""The major version of CUDA that onnxruntime-gpu and DALI are built for, and the first driver that has it."""
OLDEST = 7, 5  # compute capability: CUDA 13 has no code for older cards
LEAST_FREE = 2048  # MB that both networks, DALI and their CUDA contexts need at the least
NO_DEVICE = 100  # libcuda's CUDA_ERROR_NO_DEVICE

PROBE = """
import ctypes, pathlib, onnxruntime
assert "CUDAExecutionProvider" in onnxruntime.get_available_providers(), "no CUDA build"
try:
    onnxruntime.preload_dlls(directory="")
finally:
    folder = pathlib.Path(onnxruntime.__file__).parent / "capi"
    for name in ("shared", "cuda"):
        ctypes.CDLL(str(folder / f"libonnxruntime_providers_{name}.so"), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL("libcudnn.so.9")  # which the provider does without, until a convolution comes
"""


def obstacle(native: bool = False, environment: dict[str, str] | None = None) -> str | None:
    """Return in one line why no GPU can be used here, and the remedy; None if one can.

    `native`: the server has native backends, so their own libraries need no look. `environment`: that of the server's
    processes, whose LD_LIBRARY_PATH leads to the CUDA libraries; None for this process's.
    """
    return driver_obstacle() or card_obstacle(used_card()) or (None if native else library_obstacle(environment))


def driver_obstacle() -> str | None:
    """Return why the driver offers no card for this version of CUDA; None if it does."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver answers (there is no libcuda.so.1)"
    if error := library.cuInit(0):
        why = "it finds no card" if error == NO_DEVICE else f"cuInit gives error {error}; see `nvidia-smi`"
        return f"the NVIDIA driver offers no GPU: {why}"
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    library.cuDeviceGetCount(ctypes.byref(count))
    if version.value // 1000 < CUDA[0]:
        cards = read_cards()
        driver = f"driver {cards[0].driver}" if cards else f"the driver, for CUDA {version.value // 1000},"
        return f"{driver} is older than CUDA {CUDA[0]} needs ({CUDA[1]}); install a newer one"
    if not count.value:
        return "the NVIDIA driver offers no GPU: check CUDA_VISIBLE_DEVICES and MIG instances with `nvidia-smi -L`"
    return None


def card_obstacle(card: Card | None) -> str | None:
    """Return why this card is unfit; None if it is fit or nothing is known of it."""
    if card is None:
        return None
    version = tuple(int(part) for part in card.capability.split(".") if part.isdecimal())
    if version and version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"{card.name} (compute capability {card.capability}) is older than CUDA {CUDA[0]} runs on ({oldest})"
    if card.free_mb < LEAST_FREE and not card.mig:  # of a MIG card this is the whole card's
        used = f"{card.free_mb} of {card.memory_mb} MB are free"
        return f"{card.name} is full: {used}, {LEAST_FREE} are needed; see `nvidia-smi` for what uses it"
    return None


def library_obstacle(environment: dict[str, str] | None = None) -> str | None:
    """Return what the networks miss on a GPU: onnxruntime-gpu, or a CUDA library; None if nothing.

    The libraries are loaded in a process of their own, as the server's stubs load them: that takes seconds.
    """
    installed = {name for name in ("onnxruntime", "onnxruntime-gpu") if is_installed(name)}
    if "onnxruntime-gpu" not in installed:
        if sys.version_info < (3, 11):
            return "onnxruntime-gpu has no wheels for Python 3.10; use 3.11 or 3.12: `make clean env PYTHON=python3.12`"
        return "onnxruntime-gpu is not installed; run `make env GPU=1`"
    if "onnxruntime" in installed:
        return "onnxruntime and onnxruntime-gpu are both installed and hide each other; run `make env GPU=1`"
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
    except subprocess.TimeoutExpired:
        return "the CUDA libraries of onnxruntime-gpu take more than two minutes to load"
    if done.returncode:
        why = ([line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"])[-1]
        return f"onnxruntime-gpu does not load ({why.strip()}); run `make env GPU=1`, or mend LD_LIBRARY_PATH"
    return None


def is_installed(distribution: str) -> bool:
    """Return whether a distribution of this name is in this environment."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
