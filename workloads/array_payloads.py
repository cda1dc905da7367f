"""Payloads that are no files: arrays of a .npy or .npz file, and what a function makes with a seed.

Nobody can write to them, a `prepare` neither: every request is offered what was read or made.
"""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.messages import one_line
from workloads.payloads import Payload
from workloads.tensors import Prepared, freeze


@dataclass(frozen=True)
class Arrays:
    """A source of payloads: the rows of a file's arrays. Call it to read them."""

    path: str
    directory: Path = Path()
    """What a relative path is relative to."""

    def __call__(self) -> list[Payload]:
        """Read the file. Raises ValueError with one line if it cannot be read, or has no rows."""
        path = (self.directory / self.path).absolute()
        try:
            # Pickled objects are code that a data file must not bring.
            loaded = np.load(path, allow_pickle=False)
            columns = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        except OSError as error:
            raise ValueError(f"cannot read payloads: {error.strerror or error}: {path}") from None
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(one_line(f"cannot read payloads: {path} holds no arrays ({error})")) from None
        lengths = {len(column) if column.ndim else 0 for column in columns.values()}
        if len(lengths) != 1 or lengths == {0}:
            shapes = ", ".join(f"{name} {column.shape}".strip() for name, column in columns.items()) or "none"
            raise ValueError(f"no payloads in {path}: its arrays must have equally many rows, a payload each; {shapes}")
        [alone] = columns.values() if len(columns) == 1 else [None]
        [count] = lengths
        return [
            Payload(
                f"{path.name}[{row}]",
                freeze(
                    {name: np.asarray(column[row]) for name, column in columns.items()}
                    if alone is None
                    else np.asarray(alone[row])
                ),
            )
            for row in range(count)
        ]

    def within(self, directory: Path) -> "Arrays":
        """Return the same source, with a relative path relative to that directory."""
        return replace(self, directory=directory)


def arrays(path: str) -> Arrays:
    """Return a source of the rows of a .npy or .npz file: each row is a payload, and is sent as it is or prepared.

    A .npz file with several arrays gives a dict of their rows, by name: the names of a model's inputs. A relative path
    is relative to the file of the workload. Nothing is read before the source is called.
    """
    return Arrays(path)


@dataclass(frozen=True)
class Made:
    """A source of payloads that a function makes. Call it to make them."""

    function: Callable[[np.random.Generator], Prepared]
    count: int
    seed: int

    def __call__(self) -> list[Payload]:
        """Make the payloads. Raises ValueError with one line if the function raises, or returns no payload."""
        return [Payload(f"made-{number}", self._make(number)) for number in range(self.count)]

    def _make(self, number: int) -> Prepared:
        """Make the payload of that number, which does not depend on how many there are."""
        name = getattr(self.function, "__name__", "the function")
        try:
            made = self.function(np.random.default_rng([self.seed, number]))
        except (Exception, SystemExit) as error:
            raised = f"{type(error).__name__}: {error}"
            raise ValueError(one_line(f"cannot make payload {number}: {name} raised {raised}")) from None
        if not isinstance(made, bytes | np.ndarray | Mapping):
            what = f"it returned an object of type {type(made).__name__}"
            raise ValueError(f"cannot make payload {number}: {name} returns bytes, an array or a dict of them; {what}")
        return freeze(made)


def made(function: Callable[[np.random.Generator], Prepared], count: int = 8, seed: int = 1) -> Made:
    """Return a source of `count` payloads, which `function` makes of a numpy.random.Generator: bytes, or arrays.

    The same seed gives the same payloads, a larger count the same ones first. Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"made() needs a count of at least 1, not {count}")
    return Made(function, count, seed)
