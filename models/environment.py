"""Makes a temporary environment with torch for one export, and removes it; or takes an interpreter that is there.

Neither the server nor the load generator imports torch; it would be the largest part of their
environment by far.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import venv
from contextlib import contextmanager
from pathlib import Path

from common import pip_failure
from models import reach
from models.checkpoint import Refused
from models.progress import phase

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
MODULES = "torch", "transformers", "onnx", "onnxscript", "onnxruntime", "huggingface_hub", "numpy"
"""What `models.export` imports, itself or through torch."""
ANSWER = "Python 3"
LOOK = f"""
import importlib.util, sys
print("{ANSWER}", *(name for name in sys.argv[1:] if not importlib.util.find_spec(name)), sep="\\n")
"""
ROOM = 3  # GiB that the environment and the export need


@contextmanager
def interpreter(python):
    """Yield the path of an interpreter that has what the export imports; nothing is made and nothing removed.

    Raises Refused, in one line, where it cannot be run or a module is missing.
    """
    path = shutil.which(python)
    if path is None:
        raise Refused(f"--python {python}: no such interpreter can be run")
    try:
        done = subprocess.run([path, "-c", LOOK, *MODULES], capture_output=True, text=True, errors="replace")
    except OSError as error:  # a file that is no program, or a script whose interpreter is missing
        raise Refused(f"--python {python}: no such interpreter can be run ({error.strerror})") from None
    first, *answer = done.stdout.splitlines() or [""]
    if done.returncode or first != ANSWER:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}, and not what a Python prints"])[-1]
        raise Refused(f"--python {python} is no Python 3 that runs: {why}")
    if missing := answer:
        raise Refused(
            f"--python {python} lacks {', '.join(missing)}; install what is missing there, or leave --python out"
        )
    yield Path(path)


@contextmanager
def throwaway():
    """Yield the path of a Python with torch, transformers and onnx; remove it when the block ends, however it ends.

    Signals are ignored while it is being removed: a second Ctrl-C would leave a gigabyte. Raises Refused if there is no
    room, or if the packages cannot be installed.
    """
    directory = Path(tempfile.mkdtemp(prefix="crossover-export-"))
    try:
        free = shutil.disk_usage(directory).free / 2**30
        if free < ROOM:
            raise Refused(
                f"{directory.parent} has {free:.1f} GiB free, the export needs {ROOM}; "
                "set TMPDIR to a folder with more room"
            )
        python = directory / "bin" / "python"
        with phase("environment: creating"):
            create(directory)
        with phase("environment: transformers, onnx, onnxruntime"):
            pip(python, "export.txt")
        torch(python)
        yield python
    finally:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        shutil.rmtree(directory, ignore_errors=True)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def create(directory):
    """Make a virtual environment. Raises Refused where this Python has no ensurepip."""
    try:
        venv.create(directory, with_pip=True, symlinks=True)
    except subprocess.CalledProcessError as error:
        raise Refused(
            "this Python cannot make virtual environments; install its venv package (python3-venv on Debian and Ubuntu)"
        ) from error


def torch(python):
    """Install torch: the CPU build, from PyTorch's index if that answers or from pip's own, or else PyPI's build.

    On Linux, PyPI's build is the one for CUDA, with its libraries.
    """
    index = [] if reach.problem(f"{TORCH_CPU_INDEX}/torch/") else ["--index-url", TORCH_CPU_INDEX]
    try:
        with phase("environment: torch, CPU build (190 MB)"):
            pip(python, "export-torch-cpu.txt", "--no-deps", *index)
    except Refused as refusal:
        print(refusal)
        with phase("environment: torch, PyPI's build (on Linux 3 GB)"):
            pip(python, "export-torch.txt")


def pip(python, requirements, *options):
    """Install a hash-locked requirements file; raise `Refused` with pip's own last error."""
    done = subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--require-hashes",
            "--retries",
            "2",
            *options,
            "-r",
            REQUIREMENTS / requirements,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(python.parents[1])},
    )
    if done.returncode:
        raise Refused(f"pip cannot install requirements/{requirements}: {pip_failure.explain(done.stderr)}")
