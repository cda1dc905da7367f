"""NVIDIA's perf_analyzer 2.49, the last one whose binary is in a PyPI wheel (tritonclient's), and what it prints.

It needs two libraries that its wheel lacks; nvidia-pytriton's wheel, of which we run the server, carries both.
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
WINDOWS = 3  # the least that it measures; their mean is what it reports
EVER = "1000000"  # percent by which windows may differ: with less it reports nothing where a busy machine disturbs it


@dataclass(frozen=True)
class PerfAnalyzer:
    binary: Path
    environment: dict[str, str]

    def command(self, url: str, load: Load, content: Path, report: Path, how: list[str], seconds: float) -> list[str]:
        """`content` is a folder with a file named as the input, `how` the part of the command that says which load."""
        return [
            str(self.binary), "-m", load.name, "-u", url.partition("//")[2], *how,
            "--input-data", str(content), "--shape", f"bytes:{dimensions(load, content)}",
            "-p", str(round(seconds / WINDOWS * 1000)), "-r", str(WINDOWS), "-s", EVER, "-f", str(report),
        ]  # fmt: skip


def dimensions(load: Load, content: Path) -> str:
    size = (content / "bytes").stat().st_size
    return ",".join(str(size if side == -1 else side) for side in load.shape)


def closed(concurrency: int, style: str) -> list[str]:
    return ["--concurrency-range", str(concurrency), f"--{style}"]


def constant(rate: float) -> list[str]:
    """Really an open loop: its default mode sends no sooner than one of its threads is free."""
    return ["--request-rate-range", f"{rate:g}", "--request-distribution", "constant", "--async"]


def read(report: Path) -> dict:
    """Rate (requests/s) and latency (ms, from sending to receiving) of its CSV. Raises Failure if it holds none."""
    try:
        with report.open(newline="") as file:
            row = next(csv.DictReader(file))
        latency = {name: float(row[f"{name} latency"]) / 1e3 for name in PERCENTILES}
        return {"rate": float(row["Inferences/Second"]), "latency": latency}
    except (OSError, StopIteration, KeyError, TypeError, ValueError) as bad:
        raise Failure(f"perf_analyzer's report cannot be read: {type(bad).__name__}: {bad}") from None


def fetch(cache: Path) -> PerfAnalyzer:
    """From `cache`, or else from the package index, checked against its hash. Raises Failure if it does not run."""
    binary = cache / "perf_analyzer"
    cache.mkdir(parents=True, exist_ok=True)
    if not binary.exists():
        extract(download(cache), binary)
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries(cache / "lib")}
    found = subprocess.run([binary, "--version"], env=environment, capture_output=True, text=True, check=False)
    if found.returncode:
        raise Failure(f"perf_analyzer does not run here: {last_line(found.stderr or found.stdout)}")
    return PerfAnalyzer(binary, environment)


def download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
    command = [*pip, "--only-binary=:all:", "--require-hashes", "-r", str(PINNED), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"perf_analyzer cannot be had from the package index: {last_line(done.stderr)}")
    return next(folder.glob("tritonclient-*.whl"))


def extract(package: Path, binary: Path) -> None:
    with zipfile.ZipFile(package) as files, tempfile.NamedTemporaryFile(dir=binary.parent, delete=False) as part:
        part.write(files.read(next(name for name in files.namelist() if name.endswith("/bin/perf_analyzer"))))
    Path(part.name).chmod(0o755)
    Path(part.name).replace(binary)
    package.unlink()


def libraries(links: Path) -> str:
    """The search path: links under the names that the loader asks for, and the folder they lead to."""
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
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
