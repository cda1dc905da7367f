"""The checks of the server find a server that answers wrongly, and are content with one that answers well."""

import dataclasses
import itertools

import numpy as np
import pytest

from crossover.gpu_check import answers, files, rate
from crossover.gpu_check.finding import OK, PROBLEM, SKIPPED
from serving.server import Server, Unavailable
from workloads.catalogue import BUILT_IN
from workloads.image import IMAGE


@pytest.fixture
def address(server):
    return {"url": server.url, "state": str(server.state)}


@pytest.fixture
def api(server):
    return Server.at(server.url, server.state).api


def test_the_steps_of_a_server_are_on_the_cpu_here(address):
    [finding] = answers.examine_steps(**address, gpu=False)
    assert finding.state == SKIPPED and finding.figures["resnet50"] == "CPU"
    [finding] = answers.examine_steps(**address, gpu=True)
    assert finding.state == PROBLEM and "image_preprocess CPU" in finding.text


@pytest.mark.parametrize(
    ("groups", "kind"),
    [
        ([{"kind": "KIND_GPU", "gpus": [0]}], "GPU"),
        ([{"kind": "KIND_CPU"}], "CPU"),
        ([{"kind": "KIND_AUTO"}], "CPU"),
        ([], "CPU"),
    ],
)
def test_only_an_explicit_gpu_counts_as_one(groups, kind):
    assert answers.read_kind({"instance_group": groups}) == kind


def test_both_placements_agree(address):
    findings = list(answers.examine_placements(**address))
    assert [(finding.name, finding.state) for finding in findings] == [("image", OK), ("audio", OK)]


def test_placements_that_compute_different_things_are_a_problem(api):
    client = IMAGE.placements["client"]
    upside_down = dataclasses.replace(client, prepare=lambda encoded: client.preprocessor()(encoded)[:, ::-1].copy())
    workload = dataclasses.replace(IMAGE, placements={**IMAGE.placements, "client": upside_down})
    finding = answers.compare_placements(api, workload)
    assert finding.state == PROBLEM and "different things" in finding.remedy


def test_damaged_files_get_their_400_and_good_ones_their_own_answers(address):
    findings = list(answers.examine_hostile(**address))
    assert len(findings) == 4 and {finding.state for finding in findings} == {OK}
    assert sum("its 400" in finding.text for finding in findings) >= 3


def test_a_file_that_should_be_refused_and_is_answered_is_a_problem(api):
    good = list(files.make_photographs().values())
    alone = [answers.infer(api, "image", file) for file in good]
    finding = answers.examine_mixture(api, "image", good, alone, "a good one", good[0])
    assert finding.state == PROBLEM and "answered, not refused" in finding.text


def test_an_answer_that_belongs_to_another_file_is_a_problem(api):
    good = list(files.make_photographs().values())
    alone = [answers.infer(api, "image", file) for file in good]
    alone[2], alone[3] = alone[3], alone[2]
    finding = answers.examine_mixture(api, "image", good, alone, "half a file", good[0][:5000])
    assert finding.state == PROBLEM and "2 of them got another answer than alone" in finding.text


def test_good_files_that_fail_beside_a_bad_one_are_a_problem(api):
    good = list(files.make_photographs().values())
    alone = [answers.infer(api, "image", file) for file in good]
    finding = answers.examine_mixture(api, "image", [*good[:7], b"nothing"], alone, "half a file", good[0][:5000])
    assert finding.state == PROBLEM and "1 of them failed" in finding.text


def test_the_good_files_differ():
    for make in answers.GOOD.values():
        good = make()
        assert len(set(good.values())) == len(good) == 8


@pytest.mark.parametrize("workload", BUILT_IN.values(), ids=BUILT_IN)
def test_a_rate_comes_with_its_batches(server, workload):
    measured, use = rate.measure(Server.at(server.url, server.state), workload, 1.0)
    assert measured.state == OK and use.state == SKIPPED
    steps = measured.figures["steps"]
    assert tuple(steps) == workload.steps and all(step["mean_batch"] >= 1 for step in steps.values())


def test_a_rate_comes_with_the_use_of_the_card(server, monkeypatch):
    joules = itertools.count(100.0, 10.0)
    monkeypatch.setattr(Server, "gpu", lambda _: {"energy_joules": next(joules), "utilisation": 0.5})
    _, use = rate.measure(Server.at(server.url, server.state), BUILT_IN["image"], 1.0)
    assert use.state == OK and "utilisation 50%" in use.text and use.figures["joules"] > 0


def test_a_server_that_refuses_everything_has_no_rate(server, monkeypatch):
    monkeypatch.setattr(rate, "list_contents", lambda workload: [b"nothing"])
    [finding] = rate.measure(Server.at(server.url, server.state), BUILT_IN["image"], 0.5)
    assert finding.state == PROBLEM and "no request was answered" in finding.text


def test_a_server_that_is_gone_is_an_error_of_one_line(tmp_path):
    with pytest.raises(Unavailable, match="no Triton server answers"):
        list(rate.examine("http://127.0.0.1:9", str(tmp_path), 0.5))


@pytest.mark.parametrize(
    ("after", "state", "says"),
    [
        ({"energy_joules": 150.0, "utilisation": 0.5}, OK, "utilisation 60%, 25 W, 0.500 J per answer"),
        ({"energy_joules": 100.0, "utilisation": 0.5}, PROBLEM, "0 W"),
        (None, SKIPPED, "no GPU is used"),
    ],
)
def test_joules_are_counted_per_answer(after, state, says):
    before = {"energy_joules": 100.0, "utilisation": 0.0}
    finding = rate.describe_use("image gpu", before, after, [0.4, 0.8], 100, 2.0)
    assert finding.state == state and says in finding.text


def test_distances_of_unlike_answers_are_infinite():
    one = np.zeros((1, 3), np.float32)
    assert answers.measure_distance(one, np.zeros((1, 4), np.float32)) == float("inf")
    assert answers.measure_distance(one, np.full((1, 3), np.nan, np.float32)) == float("inf")
    assert answers.measure_distance(one, one + 2) == 2
