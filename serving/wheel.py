"""The tritonserver binaries: those of the PyPI wheel on a machine without Docker, NVIDIA's own in its container.

Only the binaries of the wheel (nvidia-pytriton) are used: a server, its Python backend, and one stub per Python minor
version. Triton takes `<backend-directory>/<name>/model.py` for a backend written in Python. So `backends/` replaces the
native dali and onnxruntime backends, which the wheel lacks. The launcher puts a backend directory together from both,
in the state directory.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from common import login
from serving import ROOT, Failure

GUARDED = "checked"  # configurations (configs/checked.pbtxt) in which a step checks files before native DALI decodes
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def tritonserver(state: Path, packages: str = "") -> tuple[list[str], dict[str, str]]:
    """Return the server's command with the flags for its backends, and its environment.

    `packages` is the folder of the `python3` whose packages the stubs see; empty: this process's.

    The stub finds its packages through the `python3` that is first on PATH (it ignores PYTHONPATH) and its
    libraries through LD_LIBRARY_PATH. Thread pools other than those of the plan are held to one thread. CUDA counts the
    cards as NVML does, by PCI bus.

    GPU metrics stay off: the wheel has DCGM 3.2 without its modules, older than the drivers that CUDA 13 needs, and it
    would be read every two seconds only. `Server.gpu` asks NVML instead.

    Raises Failure if there is no tritonserver here, or if its stub could not run.
    """
    environment = {
        **login.without(os.environ),
        "PATH": os.pathsep.join([packages or str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "OMP_NUM_THREADS": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    wheel = installed()
    if wheel is None:
        native = shutil.which("tritonserver")
        if native is None:
            raise Failure("no tritonserver here: the wheel is missing from this environment; run `make env`")
        return [native, f"--model-config-name={GUARDED}"], environment
    check_numpy()
    paths = [sysconfig.get_config_var("LIBDIR") or "", os.environ.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join([str(wheel / "nvidia_pytriton.libs"), *filter(None, paths)])
    binaries = wheel / "pytriton" / "tritonserver"
    check_libraries(stub(binaries), environment)
    return [
        str(binaries / "bin" / "tritonserver"),
        f"--backend-directory={backend_directory(binaries, state)}",
        "--allow-gpu-metrics=false",
    ], environment


def installed() -> Path | None:
    """Return the folder (site-packages) that holds the wheel, without importing it; None if it is not installed."""
    spec = importlib.util.find_spec("pytriton")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent.parent


def stub(binaries: Path, minor: str = MINOR) -> Path:
    """Return the wheel's stub for this Python minor version. Raises Failure if the wheel has none."""
    stubs = binaries / "python_backend_stubs"
    if not (stubs / minor).is_dir():
        there = ", ".join(sorted((folder.name for folder in stubs.iterdir()), key=lambda name: int(name[2:])))
        raise Failure(f"the wheel's server has no stub for Python {minor}, only for {there}; use Python 3.10 to 3.12")
    return stubs / minor / "triton_python_backend_stub"


def check_numpy() -> None:
    """Raise Failure if numpy is 2 or newer: the stub would hand garbage or nothing to the models, without an error."""
    version = importlib.metadata.version("numpy")
    if int(version.split(".")[0]) >= 2:
        raise Failure(f"numpy {version} is installed, but the server's Python stubs need numpy < 2; run `make env`")


def check_libraries(stub: Path, environment: dict[str, str]) -> None:
    """Raise Failure if the loader misses a library of the stub.

    It misses libpythonX.Y where the interpreter was built without a shared library.
    """
    answer = subprocess.run(
        [stub],
        env={**environment, "LD_TRACE_LOADED_OBJECTS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    missing = [line.split()[0] for line in answer.stdout.splitlines() if "not found" in line]
    if missing:
        package = missing[0].split(".so")[0]
        raise Failure(
            f"the server's Python stub needs {missing[0]}, which the loader cannot find; install it (Debian, Ubuntu: "
            f"`apt install {package}`) or use a Python built with --enable-shared"
        )


def backend_directory(binaries: Path, state: Path) -> Path:
    """Make the folder of backends: the wheel's Python backend with the right stub, and links to our twins.

    The library is copied, because Triton refuses one whose real path lies outside the folder.
    """
    directory = state / "backends"
    shutil.rmtree(directory, ignore_errors=True)
    python = directory / "python"
    python.mkdir(parents=True)
    shutil.copy(binaries / "backends/python/libtriton_python.so", python)
    (python / "triton_python_backend_utils.py").symlink_to(binaries / "backends/python/triton_python_backend_utils.py")
    (python / "triton_python_backend_stub").symlink_to(stub(binaries))
    for twin in sorted((ROOT / "backends").glob("*/model.py")):
        (directory / twin.parent.name).symlink_to(twin.parent)
    return directory
