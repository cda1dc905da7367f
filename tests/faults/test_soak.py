"""Laws of the soak: what it sends, how it counts, and that it tells what there is when it is interrupted."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from crossover.experiments.soak import files, run, vitals
from loadgen.samples.sample import COMPLETED, FAILED, REJECTED, TIMED_OUT, Sample
from serving import local, smoke_test, state
from tests.conftest import ROOT
from workloads.payloads import Payload

GUARD = 240  # seconds: against a hang


def test_damaged_files_are_cut_or_changed_and_the_same_for_the_same_seed():
    whole = smoke_test.JPEG.read_bytes()
    first, again = ([files.damage(whole, dice) for _ in range(50)] for dice in (random.Random(7), random.Random(7)))
    assert first == again
    assert {len(each) < len(whole) for each in first} == {True, False}
    assert all(
        each and (len(each) < len(whole) and whole.startswith(each)) != (len(each) == len(whole)) for each in first
    )
    assert sum(each != whole for each in first) >= 49


def test_a_fifth_of_what_is_sent_is_damaged():
    sent, order = files.mix_files([Payload("good", smoke_test.JPEG.read_bytes())], 10000, seed=1)
    assert np.mean([sent[i].name != "good" for i in order]) == pytest.approx(files.BAD, abs=0.02)


@pytest.mark.parametrize(
    ("status", "reason", "fate"),
    [
        (COMPLETED, "", "answered"),
        (FAILED, "HTTP 400: damaged image", "HTTP 400"),
        (REJECTED, "HTTP 503: queue full", "HTTP 503"),
        (TIMED_OUT, "no answer within 10.0 s", "no answer within 10.0 s"),
        (FAILED, "ConnectionRefusedError: [Errno 111]", "ConnectionRefusedError"),
    ],
)
def test_requests_are_counted_by_what_became_of_them(status, reason, fate):
    assert run.classify(Sample(0, 0, 0, status=status, reason=reason)) == fate


def test_the_drift_is_the_slope_from_the_second_minute_on():
    sentence = vitals.describe_drift("memory, MB", [100, 200, 203, 206, 209])
    assert sentence == "memory, MB: 100 in the first minute, 209 in the last; +3 per minute from the second on"
    assert vitals.describe_drift("memory, MB", [100]).endswith("too short for a slope")


@pytest.mark.long
def test_a_soak_that_is_interrupted_reports_what_there_is_and_leaves_no_server(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "crossover", "soak", "--seconds=3600", "--weights=tiny"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert "half capacity" in line, line + process.stdout.read()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=4)
        [folder] = tmp_path.glob("crossover-soak-*")
        assert local.alive(state.name(folder))
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=GUARD)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in told
    for words in ("interrupted", "minute 1: ", "in all: ", "answered", "tritonserver, MB", "descriptors", "shared mem"):
        assert words in told
    assert not folder.exists()
    assert not local.processes(folder_name := state.name(folder)) and not list(local.SHM.glob(f"{folder_name}.*"))
