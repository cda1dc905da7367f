"""Good and damaged files, mixed."""

import random

import numpy as np

from workloads import payloads

BAD = 0.2  # of the requests carry a damaged file


def damage(encoded: bytes, dice: random.Random) -> bytes:
    """Cut a file somewhere, or change up to 20 of its bytes; some of these can still be decoded."""
    if dice.random() < 0.5:
        return encoded[: dice.randrange(1, len(encoded))]
    changed = bytearray(encoded)
    for _ in range(dice.randint(1, 20)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def mix_files(good: list[payloads.Payload], n: int, seed: int) -> tuple[list[payloads.Payload], np.ndarray]:
    """Return the good files and 100 damaged ones, and the index of the one that each of n requests sends, shape (n,).

    A share BAD of the requests has a damaged one; the same seed gives the same.
    """
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    bad = [payloads.Payload(f"bad-{i}", damage(dice.choice(good).encoded, dice)) for i in range(100)]
    order = np.where(rng.random(n) < BAD, len(good) + rng.integers(len(bad), size=n), rng.integers(len(good), size=n))
    return [*good, *bad], order
