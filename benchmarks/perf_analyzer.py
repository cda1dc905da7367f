"""NVIDIA's perf_analyzer 2.49: where its binary comes from, its command line, and its report.

It is the last version whose binary is in a PyPI wheel (tritonclient's). It needs two libraries that this wheel lacks;
nvidia-pytriton's wheel, whose server we run, has both.
"""

import csv
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.null_server import Load
from serving import ROOT, Failure, wheel

LIBRARIES = ("libb64.so.0d", "libcudart.so.12")
PINNED = ROOT / "requirements" / "perf_analyzer.txt"
PERCENTILES = ("p50", "p90", "p95", "p99")
WINDOWS = 3  # the fewest that it measures; it reports their mean
EVER = "1000000"  # percent by which windows may differ: with less, it reports nothing on a busy machine


@dataclass(frozen=True)
class PerfAnalyzer:
    """The program, with the environment in which it finds its libraries."""

    binary: Path
    environment: dict[str, str]

    def command(self, url: str, load: Load, content: Path, report: Path, flags: list[str], seconds: float) -> list[str]:
        """Return the command of one run.

        `content`: a folder with a file named like the input; `flags`: of `closed` or `constant`; `report`: the CSV file
        to be written.
        """
        return [
            str(self.binary), "-m", load.name, "-u", url.partition("//")[2], *flags,
            "--input-data", str(content), "--shape", f"bytes:{dimensions(load, content)}",
            "-p", str(round(seconds / WINDOWS * 1000)), "-r", str(WINDOWS), "-s", EVER, "-f", str(report),
        ]  # fmt: skip


def dimensions(load: Load, content: Path) -> str:
    """Return the input's shape as perf_analyzer wants it, e.g. `3,224,224`."""
    size = (content / "bytes").stat().st_size
    return ",".join(str(size if side == -1 else side) for side in load.shape)


def closed(concurrency: int, style: str) -> list[str]:
    """Return the flags of a closed loop with so many requests in flight; `style`: "sync" or "async"."""
    return ["--concurrency-range", str(concurrency), f"--{style}"]


def constant(rate: float) -> list[str]:
    """Return the flags of an open loop at `rate` requests/s; without --async a request waits for a free thread."""
    return ["--request-rate-range", f"{rate:g}", "--request-distribution", "constant", "--async"]


def read(report: Path) -> dict:
    """Return `rate` (requests/s) and `latency` (ms, from sending to receiving) from a CSV. Raises Failure without."""
    try:
        with report.open(newline="") as file:
            row = next(csv.DictReader(file))
        latency = {name: float(row[f"{name} latency"]) / 1e3 for name in PERCENTILES}
        return {"rate": float(row["Inferences/Second"]), "latency": latency}
    except (OSError, StopIteration, KeyError, TypeError, ValueError) as bad:
        raise Failure(f"perf_analyzer's report cannot be read: {type(bad).__name__}: {bad}") from None


def fetch(cache: Path) -> PerfAnalyzer:
    """Return the program from `cache`, downloaded and checked against its hash the first time.

    Raises Failure if the package index does not give it, or if it does not run here.
    """
    binary = cache / "perf_analyzer"
    cache.mkdir(parents=True, exist_ok=True)
    if not binary.exists():
        extract(download(cache), binary)
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries(cache / "lib")}
    trial = subprocess.run([binary, "--version"], env=environment, capture_output=True, text=True, check=False)
    if trial.returncode:
        raise Failure(f"perf_analyzer does not run here: {last_line(trial.stderr or trial.stdout)}")
    return PerfAnalyzer(binary, environment)


def download(folder: Path) -> Path:
    """Download the wheel into `folder`, and return its path. Raises Failure with pip's last line."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
    command = [*pip, "--only-binary=:all:", "--require-hashes", "-r", str(PINNED), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"perf_analyzer cannot be downloaded from the package index: {last_line(done.stderr)}")
    return next(folder.glob("tritonclient-*.whl"))


def extract(package: Path, binary: Path) -> None:
    """Take the binary out of the wheel `package`, as a whole or not at all, and remove the wheel.

    The file is made executable before it gets its name.
    """
    with zipfile.ZipFile(package) as files, tempfile.NamedTemporaryFile(dir=binary.parent, delete=False) as part:
        part.write(files.read(next(name for name in files.namelist() if name.endswith("/bin/perf_analyzer"))))
    Path(part.name).chmod(0o755)
    Path(part.name).replace(binary)
    package.unlink()


def libraries(links: Path) -> str:
    """Make links under the names that the loader asks for, and return the loader's search path.

    Raises Failure if nvidia-pytriton's wheel, which has the libraries, is not installed.
    """
    site = wheel.installed()
    if site is None:
        raise Failure("perf_analyzer needs two libraries of nvidia-pytriton's wheel, which is missing; run `make env`")
    folder = site / "nvidia_pytriton.libs"
    links.mkdir(exist_ok=True)
    for name in LIBRARIES:
        link = links / name
        link.unlink(missing_ok=True)
        link.symlink_to(next(folder.glob(f"{name.partition('.')[0]}-*")))
    return os.pathsep.join([str(links), str(folder)])


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
