"""Unloaded pairs on the real server: one request at a time, in turns, and nothing of it lost."""

import random
import time
from itertools import islice

import numpy as np
import pytest

from crossover.analysis.answer import compare_pairs
from crossover.measurement import pairs
from loadgen.arm import Arm, Mode
from loadgen.samples import parquet
from serving.server import Server, Unavailable
from tests import trials_on_disk
from workloads.audio import AUDIO
from workloads.payloads import Payload


def arms(workload=AUDIO) -> tuple[Arm, Arm]:
    return Arm(workload, "client", Mode("sequential")), Arm(workload, "server", Mode("sequential"))


ENOUGH = 12  # pairs, of which all have the same order once in 2,048 draws


@pytest.fixture(scope="module")
def measured(server, tmp_path_factory):
    """(pairs, their folder) of one second, or of as many as a busy machine takes for ENOUGH pairs."""
    inputs = AUDIO.load("")[:3]
    for seconds in (1, 10, 60):
        folder = tmp_path_factory.mktemp("run") / "audio" / pairs.FOLDER
        made = pairs.measure_pairs(Server.at(server.url, server.state), arms(), inputs, folder, seconds, 1)
        if len(made.records) >= ENOUGH:
            break
    return made, folder


def test_one_request_is_in_flight_at_a_time_and_both_arms_of_a_pair_send_the_same(measured):
    made, _ = measured
    assert made.arms == ["audio client sequential", "audio server sequential"]
    records = made.records
    assert len(records) >= ENOUGH and np.isfinite(made.service_ms).all()
    assert (records["payload"][:, 0] == records["payload"][:, 1]).all()
    flat = np.sort(records.ravel(), order="began")
    assert (flat["began"][1:] >= flat["done"][:-1]).all()
    assert (np.diff(made.instants) > 0).all() and made.seconds >= made.instants[-1]


def test_the_order_of_the_arms_is_drawn_and_payloads_come_equally_often(measured):
    made, _ = measured
    first = made.records["began"][:, 0] < made.records["began"][:, 1]
    assert 0 < first.sum() < len(first)
    drawn = list(islice(pairs.draw(3, random.Random(1)), 30))
    assert [sorted(drawn[i : i + 3]) for i in range(0, 30, 3)] == [[0, 1, 2]] * 10


def test_what_was_measured_is_read_again_and_a_run_that_goes_on_adds_to_it(measured, server):
    made, folder = measured
    sent = AUDIO.load("")[:1]
    more = pairs.measure_pairs(Server.at(server.url, server.state), arms(), sent, folder, 0.2, 1)
    again = pairs.read_pairs(folder.parent.parent, "audio")
    assert again == [made, more] and [each.path.name for each in again] == ["pairs-01.json", "pairs-02.json"]
    assert len(pairs.pool_service_ms(again)) == len(made.records) + len(more.records)
    assert not list(folder.glob("*.journal")) and not list(folder.glob("*.reasons"))


def test_an_interruption_keeps_the_pairs_that_were_measured(server, tmp_path):
    def stop(share):
        if share > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pairs.measure_pairs(Server.at(server.url, server.state), arms(), AUDIO.load("")[:2], tmp_path, 2, 1, stop)
    [path] = tmp_path.glob("*.parquet")
    assert len(parquet.load(path)[0]) >= 2 and path.with_suffix(".json").exists()


def test_a_server_that_answers_nothing_is_given_up(server, tmp_path):
    broken = [Payload("broken.wav", b"this is no sound")]
    began = time.monotonic()
    with pytest.raises(Unavailable, match="10 requests in a row were not answered"):
        pairs.measure_pairs(Server.at(server.url, server.state), arms(), broken, tmp_path, 60, 1)
    assert time.monotonic() - began < 60


def test_a_damaged_file_of_pairs_is_one_line(tmp_path):
    made = trials_on_disk.pairs(tmp_path, "image")
    made.path.write_text('{"arms": []}')
    with pytest.raises(ValueError, match=r"pairs-01\.json has no pairs: .*it has arms, began, seconds, path"):
        pairs.read_pairs(tmp_path, "image")


def test_two_stretches_of_pairs_say_what_one_twice_as_long_says_whatever_lay_between(tmp_path):
    twice = [trials_on_disk.pairs(tmp_path, "image", number=n) for n in (1, 2)]
    alone = compare_pairs(twice[:1]).ratio
    found = compare_pairs(twice)
    assert found.pairs == 120 and 40 < found.seconds < 43
    assert 0.5 < found.ratio.error / alone.error < 1
