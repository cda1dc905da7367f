"""Reads the samples of a trial, or of unloaded pairs, and says in one line what is wrong with a file and what to do."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from common.messages import one_line
from loadgen.samples import parquet


def load_samples(
    described: Path, size: int | None = None, expected: Mapping[str, object] | None = None
) -> tuple[np.ndarray, list[str], list[str]]:
    """Load the samples that lie beside a JSON file, as `parquet.load` returns them.

    Args:
        described: The JSON file, which says what was measured.
        size: How many samples there must be; None: any number.
        expected: What the file must say of its trial, where it says it: its arm and seed.

    Raises ValueError, in one line with the remedy, if the file is missing, damaged, or of another trial.
    """
    path = described.with_suffix(".parquet")
    remedy = f"remove it and {described.name} beside it: --continue then measures it again, and a report leaves it out"
    try:
        samples = parquet.load(path)
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; remove {described.name}, too: {remedy.partition(': ')[2]}") from None
    except (OSError, KeyError, IndexError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path} is damaged ({one_line(error)[:80]}); {remedy}") from None
    if size is not None and len(samples[0]) != size:
        raise ValueError(f"{path} has {len(samples[0])} samples, and {described.name} says {size}; {remedy}")
    told = json.loads(metadata.get(b"crossover", b"{}"))
    for key, value in (expected or {}).items():
        if key in told and told[key] != value:
            raise ValueError(f"{path} has samples of {key} {told[key]}, and {described.name} is of {value}; {remedy}")
    return samples
