"""Sound files of random structure: nothing crashes, the answer is the same twice, and no sound is cut short in silence.

They are decoded in a process of their own. How long each is follows from how it was made (`audio_structure`), not from
another decoder: to the sample, but for MP3 (a few frames at each seam) and ADPCM and GSM (whole blocks).
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.audio_structure import case
from tests.preprocess.test_audio_files import assert_clear

ROOT = Path(__file__).parents[2]
CASES, MANY, AT_ONCE = 120, 7_000, 700
"""In CI, in `make test-faults`, and in one process."""
MEMORY = 1 << 30
"""Bytes that the process may take, libraries and all: it decodes one file after another."""
HANG = 1200
"""Seconds after which a process hangs, however slow the machine."""


def outcomes(first, count):
    """Decode `count` cases in a child: seed -> [first answer, second answer]."""
    command = [sys.executable, "-m", "tests.faults.audio_structure", str(first), str(count)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    child = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG)
    *answers, last = [json.loads(line) for line in child.stdout.splitlines()] or [{}]
    assert child.returncode == 0, f"exit {child.returncode} after {last}: {child.stderr[-2000:]}"
    assert last["peak"] < MEMORY
    found = {}
    for answer in answers:
        found.setdefault(answer.pop("seed"), []).append(answer)
    return found


def judge(seed, first, second):
    made = case(seed)
    label = f"case {seed}, {made.name}: {first}"
    assert first == second, f"{label}, then {second}"
    if "reason" in first:
        assert_clear(first["reason"])
        assert not made.answered, label
        return "refused"
    assert first["finite"], label
    assert made.fewest <= first["frames"] <= made.most, f"{label}, expected {made.fewest} to {made.most}"
    return "answered"


def check(first, count):
    found = outcomes(first, count)
    assert len(found) == count
    return Counter(judge(seed, *answers) for seed, answers in found.items())


@pytest.mark.timeout(HANG + 100)
def test_sounds_of_random_structure_are_read_to_their_end_or_refused():
    counts = check(0, CASES)
    assert counts["answered"] > CASES / 3 and counts["refused"] > CASES / 10


@pytest.mark.long
@pytest.mark.timeout(3 * HANG)
def test_very_many_sounds_of_random_structure(capsys):
    counts = sum((check(first, AT_ONCE) for first in range(0, MANY, AT_ONCE)), Counter())
    with capsys.disabled():
        print(f"\nsounds of random structure: {counts['answered']} answered, {counts['refused']} refused")
