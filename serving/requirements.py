"""Installs what strangers' models import: `crossover up --models DIR --requirements FILE`.

The packages go into an environment of their own in the state directory, on top of ours: it sees our packages behind its
own, and pip finds them installed. The project's environment is never changed. Triton's stubs take the packages of the
`python3` that is first on PATH, so this environment's is put there. All stubs of a server share it: where our models
are served, too, our packages keep their versions, and without them numpy alone does, which the stubs need.
"""

import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from common import pip_failure, plain_file
from common.messages import one_line
from serving import Failure, wheel

FOLDER = "requirements"
NESTED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)", re.MULTILINE)
"""A line of a requirements file that names another one: https://pip.pypa.io/en/stable/reference/requirements-file-format/"""
NOISE = ("ResolutionImpossible", "Ignored the following")
"""What pip calls errors, and does not help."""


def hash_file(given: str) -> list[str]:
    """Return the absolute path of a requirements file, and a hash of its content and of the files that it names.

    Raises ValueError, in one line, if it cannot be read.
    """
    digest, pending, seen = hashlib.sha256(), [Path(given).absolute()], set()
    while pending:
        if (path := pending.pop()) in seen:
            continue
        seen.add(path)
        try:
            content = plain_file.read(path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            shown = one_line(given) or repr(given)
            named = "" if len(seen) == 1 else f", which names {path.name}"
            raise ValueError(
                one_line(f"--requirements {shown}{named}: {why}; expected a file as pip takes it")
            ) from None
        digest.update(content)
        found = NESTED.findall(content.decode(errors="replace"))
        pending += [path.parent / each for each in found if "://" not in each]
    return [str(Path(given).resolve()), digest.hexdigest()[:12]]


def install(requirements: list[str], state: Path, alone: bool, say) -> Path:
    """Install what a requirements file names, and return the folder of the environment's `python3`.

    `requirements` is what `hash_file` returned. `alone`: our models are not served. An environment of the same file on
    the same packages of ours is used again. Raises Failure with pip's reason in one line; nothing is left then but its
    log.
    """
    file, digest = requirements
    kept = list_kept(alone)
    key = hashlib.sha256("\n".join([digest, sys.version, sys.prefix, *kept]).encode()).hexdigest()[:12]
    folder = state / FOLDER / key
    done, log = folder / "done", state / f"{FOLDER}.log"
    if done.is_file():
        say(f"  the packages of {file} are installed")
        return folder / "bin"
    say(f"  installing the packages of {file} ({log} grows meanwhile)")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        create(folder)
        (folder / "kept.txt").write_text("\n".join(kept))
        arguments: list[str | Path] = ["install", "--no-input", "--progress-bar=off"]
        arguments += ["-c", folder / "kept.txt", "-r", file]
        with log.open("w") as output:
            command: list[str | Path] = [
                folder / "bin" / "python3",
                "-m",
                "pip",
                "--disable-pip-version-check",
                *arguments,
            ]
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
            ).returncode
        if code:
            raise Failure(f"--requirements {file}: {find_reason(log.read_text(errors='replace'), code)}; see {log}")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Failure(f"--requirements {file}: {folder} cannot be made: {error.strerror}") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    done.touch()
    return folder / "bin"


def create(folder: Path) -> None:
    """Make an environment that sees the packages of ours behind its own. Raises Failure if Python's venv cannot."""
    command: list[str | Path] = [sys.executable, "-m", "venv", "--without-pip", folder]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise Failure(f"{folder} is no environment: {one_line(made.stderr or made.stdout)}")
    [packages] = folder.glob("lib/python*/site-packages")
    # Python executes lines of a .pth file that begin with `import`; addsitedir heeds the .pth files of ours, too.
    ours = sysconfig.get_paths()["purelib"]
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")


def list_kept(alone: bool) -> list[str]:
    """Return what must keep the version that it has, as pip's constraints; `alone`: our models are not served."""
    if alone:
        numpy = importlib.metadata.version("numpy")
        return [f"numpy=={numpy}"] if wheel.installed() else []
    found = {each.name: each.version for each in importlib.metadata.distributions() if each.name}
    return sorted(f"{name}=={version}" for name, version in found.items() if name != "crossover")


def find_reason(output: str, code: int) -> str:
    """Return in one line why pip failed: its last error, and what it says of a conflict."""
    if pip_failure.is_offline(output):
        return f"pip: {pip_failure.OFFLINE}"
    errors = [line.partition(":")[2] for line in output.splitlines() if line.startswith("ERROR:")]
    errors = [each for each in errors if not any(word in each for word in NOISE)]
    conflict = output.partition("The conflict is caused by:")[2].partition("To fix this")[0]
    reason = " ".join((errors[-1] if errors else f"exit code {code}").split())
    reason = re.sub(r" \(from versions: [^)]*\)", "", reason)
    return one_line(f"pip: {reason}" + (f" {'; '.join(conflict.strip().splitlines())}" if conflict else ""))
