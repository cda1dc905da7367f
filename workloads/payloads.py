"""What is sent: files of a directory or of a pattern, and the seeded order in which they are sent.

Bytes are read before a run and never changed, so that every arm is offered the same ones. Whatever is wrong with a file
(missing, empty, unreadable, larger than the memory) is a ValueError of one line before anything is sent.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from common import plain_file
from common.figures import significant
from workloads.tensors import Array


@dataclass(frozen=True)
class Payload:
    """What is offered to every placement: a file's bytes as they lie on the disk, or arrays of a data file."""

    name: str
    encoded: Any
    """Bytes, an array, or a dict of them by the names of inputs: what `tensors.Prepared` is."""

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(len(each) if isinstance(each, bytes) else each.nbytes for _, each in self.parts)

    @property
    def parts(self) -> list[tuple[str, Array]]:
        """Its arrays by name, in the order of the names; what is only one has the name ""."""
        if isinstance(self.encoded, Mapping):
            return sorted(self.encoded.items(), key=lambda part: str(part[0]))
        return [("", self.encoded)]


@dataclass(frozen=True)
class Files:
    """A source of payloads: the files that match a pattern, or lie in a directory. Call it to read them."""

    pattern: str
    directory: Path = Path()
    """What a relative pattern is relative to."""

    def __call__(self) -> list[Payload]:
        """Read the files. Raises ValueError with one line if none matches or one cannot be read."""
        whole = (self.directory / self.pattern).absolute()
        if whole.is_dir():
            return read(whole)
        matching = Path(whole.anchor).glob(str(whole.relative_to(whole.anchor)))
        found = read_files(sorted(path for path in matching if path.is_file()))
        if not found:
            raise ValueError(f"no payloads: no file matches {whole}")
        return found

    def within(self, directory: Path) -> "Files":
        """Return the same source, with relative patterns relative to that directory."""
        return replace(self, directory=directory)


def files(pattern: str) -> Files:
    """Return a source of the files that match a pattern, e.g. `files("photos/*.jpg")`, in the order of their paths.

    The path of a directory stands for the files in it.
    A relative pattern is relative to the file of the workload; `**` matches folders at any depth. Nothing is read
    before the source is called.
    """
    return Files(pattern)


def read(directory: str | Path, suffixes: tuple[str, ...] = ()) -> list[Payload]:
    """Read the files of a directory (not of its subdirectories) with one of these suffixes, or all of them, by name.

    Raises ValueError with one line if the directory cannot be read or holds nothing of use.
    """
    directory = Path(directory)
    try:
        paths = sorted(path for path in directory.iterdir() if not suffixes or path.suffix.lower() in suffixes)
        found = read_files(path for path in paths if path.is_file())
    except OSError as error:
        raise ValueError(f"cannot read payloads: {error.strerror}: {error.filename}") from None
    if not found:
        what = f"no {', '.join(suffixes)} file" if suffixes else "no file"
        raise ValueError(f"no payloads in {directory}: it holds {what}")
    return found


def read_files(paths: Iterable[Path]) -> list[Payload]:
    """Read these files, in that order, to hold them all.

    Raises ValueError with one line for one that cannot be read or is empty, and where all of them take more than half
    of the free memory: the other half is for what clients prepare.
    """
    paths, found = list(paths), []
    size, free = sum(attempt(plain_file.measure, path) for path in paths), psutil.virtual_memory().available
    if size > free / 2:
        sizes = f"{size / 1e9:.3g} GB in {paths[0].parent}, more than half of the {free / 1e9:.3g} GB that are free"
        raise ValueError(f"cannot read payloads: more than the memory holds: {sizes}; give fewer files")
    for path in paths:
        found.append(Payload(path.name, attempt(plain_file.read, path)))
        if not found[-1].encoded:
            raise ValueError(f"payload {path} is empty")
    return found


def attempt(action: Callable[[Path], Any], path: Path) -> Any:
    """Return what `action` does with a file. Raises ValueError with one line where that fails."""
    try:
        return action(path)
    except OSError as error:
        raise ValueError(f"cannot read payloads: {error.strerror}: {error.filename}") from None
    except ValueError as error:
        raise ValueError(f"cannot read payloads: {error}: {path}") from None
    except MemoryError:
        raise ValueError(f"cannot read payloads: more than the memory holds: {path}") from None


def digest(payloads: Sequence[Payload]) -> str:
    """Return the first 12 hexadecimal digits of SHA-256 over names and contents, in that order."""
    whole = hashlib.sha256()
    for payload in payloads:
        name = payload.name.encode("utf-8", "surrogateescape")
        for part, data in payload.parts:
            if isinstance(data, bytes):
                about, content = b"", data
            else:
                about = f"{part} {data.dtype} {data.shape}".encode()
                content = repr(data.tolist()).encode() if data.dtype.hasobject else data.tobytes()
            whole.update(b"%s%s\0%d\0%s" % (name, about, len(content), content))
    return whole.hexdigest()[:12]


def describe(payloads: Sequence[Payload], directory: str = "") -> str:
    """Write what is sent: `8 files, 16 to 628 KB, from photos/`; `directory` is empty for a workload's own payloads."""
    sizes = [each.size / 1e3 for each in payloads]
    span = dict.fromkeys(significant(size) for size in (min(sizes), max(sizes)))
    what = f"{'file' if directory else 'payload'}{'s' * (len(payloads) != 1)}"
    return f"{len(payloads)} {what}, {' to '.join(span)} KB, from {directory or 'the workload'}"


def order(kinds: int, n: int, seed: int) -> np.ndarray:
    """Draw which of `kinds` payloads each of n requests sends: an array (n,) of uint32.

    Each occurs once in every shuffled round, so that every prefix is balanced. The random stream is independent of the
    schedule's with the same seed.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    rounds = -(-n // kinds)
    return rng.permuted(np.tile(np.arange(kinds, dtype=np.uint32), (rounds, 1)), axis=1).ravel()[:n]
