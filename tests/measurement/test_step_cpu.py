"""CPU seconds per inference: of the model's own processes, on the real server; and who else uses its cores."""

import multiprocessing
import os
import time

import pytest

from crossover.measurement import step_cpu
from crossover.measurement.core_use import CoreUse
from crossover.measurement.pairs import warm_up
from crossover.measurement.server_statistics import count_inferences
from serving.processes import name_model
from serving.server import Server
from tests import trials_on_disk
from tests.measurement.test_pairs import arms
from workloads.audio import AUDIO

STUB = "/tmp/server/backends/python/triton_python_backend_stub"


def test_every_model_of_the_server_has_a_stub_whose_cpu_seconds_grow_with_its_inferences(server):
    one = Server.at(server.url, server.state)
    before, counts = step_cpu.read(one), count_inferences(one.statistics())
    assert set(before) == {"image_preprocess", "resnet50", "audio_preprocess", "wav2vec2", "ctc_decode"}

    warm_up(one, arms(), AUDIO.load("")[:3])
    found = step_cpu.per_inference(before, step_cpu.read(one), counts, count_inferences(one.statistics()))
    assert {"wav2vec2", "audio_preprocess", "ctc_decode"} <= set(found) and "resnet50" not in found
    assert 0 < found["wav2vec2"] < 1


def test_a_server_elsewhere_tells_nothing():
    assert step_cpu.read(Server("http://localhost:9", {})) == {}
    assert Server("http://localhost:9", {}).processes() == []


@pytest.mark.parametrize(
    ("command", "model"),
    [
        ([STUB, "/tmp/server/models/resnet50/1/model.onnx", "shm"], "resnet50"),
        ([STUB, "/models/a model/12/model.py"], "a model"),
        (["/opt/tritonserver/bin/tritonserver", "/models/resnet50/1/model.onnx"], ""),
        ([STUB, "model.py"], ""),
        ([STUB], ""),
        ([], ""),
    ],
)
def test_a_stub_is_known_by_its_command_line(command, model):
    assert name_model(command) == model


def test_a_model_that_was_started_again_or_did_nothing_has_no_figure():
    counts = {"a": 10}, {"a": 20}
    assert step_cpu.per_inference({"a": {7: 1.0}}, {"a": {7: 3.0}}, *counts) == {"a": 0.2}
    assert step_cpu.per_inference({"a": {7: 1.0, 8: 0.0}}, {"a": {7: 2.0, 8: 1.0}}, *counts) == {"a": 0.2}
    assert step_cpu.per_inference({"a": {7: 1.0}}, {"a": {9: 3.0}}, *counts) == {}
    assert step_cpu.per_inference({"a": {7: 1.0}}, {"a": {7: 3.0}}, counts[0], counts[0]) == {}
    assert step_cpu.per_inference({}, {"a": {7: 3.0}}, *counts) == {}


def burn(core: int) -> None:
    os.sched_setaffinity(0, [core])
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pass


def test_what_another_program_uses_of_a_core_is_seen_and_what_the_server_uses_is_not_counted():
    core = max(os.sched_getaffinity(0))
    neighbour = multiprocessing.get_context("spawn").Process(target=burn, args=(core,))
    neighbour.start()
    try:
        while os.sched_getaffinity(neighbour.pid) != {core}:  # until it has started an interpreter
            time.sleep(0.05)
        before = CoreUse.read([core])
        time.sleep(1)
        # However many share it, a busy core is busy: this process only slept.
        assert before.share_of_others(0.0) > 0.8
        assert before.share_of_others(0.5) < before.share_of_others(0.0)
        assert before.share_of_others(None) is None
        assert CoreUse.read([]).share_of_others(0.0) is None and CoreUse.read([10_000]).share_of_others(0.0) is None
    finally:
        neighbour.kill()
        neighbour.join()


def test_twins_stand_in_the_order_of_the_schedule_and_lost_ones_are_nan(tmp_path):
    made = trials_on_disk.trial(tmp_path, "image", "client", 1, broken="reset")
    made.samples = made.records[::-1].copy(), *made.samples[1:]
    assert len(made.twins) == made.scheduled
    assert [i for i, ms in enumerate(made.twins) if ms != ms] == [2]
    assert sorted(ms for ms in made.twins if ms == ms) == pytest.approx(sorted(made.latency))
