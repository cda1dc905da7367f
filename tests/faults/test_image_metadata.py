"""Pictures whose metadata can be understood in two ways: no crash, no foreign memory, and Pillow's orientation."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from serving import local
from tests.faults.metadata import Judge, case

ROOT = Path(__file__).resolve().parents[2]


def judge(first, count):
    """The counts of that many cases, tried in a process of their own."""
    command = [sys.executable, "-m", "tests.faults.metadata", str(first), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    *seeds, counts = done.stdout.splitlines()
    broken = [line for line in done.stderr.splitlines() if line.startswith("seed ")]
    assert done.returncode == 0, f"exit code {done.returncode} at seed {(seeds or ['?'])[-1]}; {broken}"
    counts = json.loads(counts)
    assert counts.get("damaged: Pillow's picture depends on the bytes behind it", 0) <= count / 200
    return counts


def test_no_metadata_crash_a_decoder_or_let_it_show_another_picture():
    counts = judge(0, 500)  # the test that follows has these and many more
    assert counts["answered"] > 250 and counts["refused"] > 40 and counts["turned"] > 40


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(0, 20_000, 2_000))
def test_no_metadata_of_twenty_thousand_do(first):
    counts = judge(first, 2_000)
    assert counts["answered"] > 1_000 and counts["refused"] > 160 and counts["turned"] > 160


@pytest.mark.parametrize("count", [40, pytest.param(150, marks=pytest.mark.long)])
def test_the_server_gives_the_clients_answer_after_whatever_picture_came_before(server, count):
    """The client's own tensor to the last bit, or a refusal where it refuses; and the same stubs as before."""
    client, judge = tritonclient.http.InferenceServerClient(server.address), Judge()
    before = {pid for pid, program in local.processes(server.name).items() if program == local.STUB}

    def ask(file):
        tensor = tritonclient.http.InferInput("encoded", [1, len(file)], "UINT8")
        tensor.set_data_from_numpy(np.frombuffer(file, np.uint8)[None])
        try:
            return client.infer("image_preprocess", [tensor]).as_numpy("pixels")[0]
        except InferenceServerException as refusal:
            assert refusal.status() == "400", refusal
            return None

    answered = 0
    for seed in range(10_000, 10_000 + count):
        _, file = case(seed)
        expected = judge.answer("dali", file)
        for colour in judge.colours:
            ask(colour)
            answer = ask(file)
            assert (answer is None) == isinstance(expected, str), f"seed {seed}"
            assert answer is None or np.array_equal(answer, expected), f"seed {seed}"
        answered += answer is not None
    assert count / 3 < answered < count
    assert before <= local.processes(server.name).keys()
