"""More than the server can carry: what it cannot answer in time it refuses at once, and what it answers is right."""

import json
import re
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from crossover.experiments.overload.run import compare_slos
from crossover.experiments.overload.shapes import CALM, FACTORS, Overload, make_overloads, summarise
from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import COMPLETED, RECORD, REJECTED, STATUSES
from serving import Failure, smoke_test
from serving.triton_api import TritonAPI
from tests.conftest import launch, ports
from workloads import image, payloads
from workloads.audio import AUDIO
from workloads.image import IMAGE
from workloads.workload import Placement, Workload

FLOOD = 300


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server that promises an answer within 2 ms: whatever the machine, hardly anything may wait."""
    state = tmp_path_factory.mktemp("strict")
    try:
        done = launch("up", "--engine=local", "--weights=tiny", "--slo=2", f"--state={state}", *ports())
        assert done.returncode == 0, done.stderr
        record = json.loads((state / "server.json").read_text())
        yield SimpleNamespace(**record, url=f"http://{record['address']}")
    finally:
        launch("down", f"--state={state}")


def ready_made(model, name, tensor):
    """An arm that sends this tensor straight to a network: a flood that the client's preprocessing does not dam."""
    placement = Placement(model, lambda encoded: tensor, inputs=(name,), outputs=("logits",))
    sent = [payloads.Payload("none", b"-")]
    workload = Workload(name=model, placements={"client": placement}, payloads=lambda: sent, steps=(model,))
    return Arm(workload, "client", Mode("async", 4))


ARMS = {
    "image": Arm(IMAGE, "server", Mode("async")),
    "audio": Arm(AUDIO, "server", Mode("async")),
    "resnet50": ready_made("resnet50", "pixels", np.zeros((3, 224, 224), np.float32)),
    "wav2vec2": ready_made("wav2vec2", "waveform", np.zeros(160_000, np.float32)),
}


def offered(url, arm, dues, sent):
    samples = []
    order = payloads.order(len(sent), len(dues), 1)
    OpenLoop(arm, url, samples.append, 60).run(Plan(np.array(dues, float), order, sent))
    return samples


def kept(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as page:
        return re.findall(r"^crossover_kept_requests\{.*\} (\S+)$", page.read().decode(), re.M)


def calm(server, seconds=60):
    """Waits until both ensembles answer. A step goes by metrics that are up to 0.2 s old
    (backends/triton_metrics.py), so that long, too, somebody may still be refused; how long it really takes is
    `make overload`'s to measure."""
    end = time.monotonic() + seconds
    while True:
        try:
            return smoke_test.run(TritonAPI(server.address))
        except Failure as refusal:
            assert "is overloaded" in str(refusal) and time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize("name", ARMS)
def test_a_flood_is_refused_in_one_line_and_leaves_nothing_behind(strict, name):
    arm = ARMS[name]
    sent = arm.workload.load()
    samples = offered(strict.url, arm, [0] * FLOOD, sent)
    assert sorted(sample.index for sample in samples) == list(range(FLOOD))
    refusal = re.compile(r"HTTP 503: .*is overloaded: [^\n]+$")
    others = [sample for sample in samples if sample.status != COMPLETED and not refusal.search(sample.reason)]
    assert not others, Counter((sample.status, sample.reason) for sample in others)
    assert {sample.status for sample in samples} == {COMPLETED, REJECTED}
    calm(strict)
    end = time.monotonic() + 60
    while kept(strict) != ["0"] * 4:  # a change is sent a little later
        assert time.monotonic() < end
        time.sleep(0.05)


def test_who_is_answered_in_a_flood_gets_the_answer_to_his_own_question(strict):
    api, photographs = TritonAPI(strict.address), image.photographs((320, 640))
    alone = [api.infer("image", each.encoded)["logits"][1] for each in photographs]
    answered = [0] * len(photographs)

    def ask(index):
        try:
            answer = api.infer("image", photographs[index].encoded)["logits"][1]
        except Failure as refusal:
            assert "answered 503" in str(refusal)
            return
        given, expected = (np.frombuffer(raw, np.float32) for raw in (answer, alone[index]))
        assert np.allclose(given, expected, atol=1e-3)
        answered[index] += 1

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(ask, list(range(len(photographs))) * 40))
    assert sum(answered) > 0
    assert len(set(alone)) == len(photographs)


def test_a_bounded_queue_wakes_up_for_a_request_that_came_while_the_model_was_busy(server):
    """With a queue policy of Triton's, the second of two requests followed by silence often waits half a second."""
    arm, sent = ARMS["image"], image.photographs((1920,))[:1]
    single = offered(server.url, Arm(IMAGE, "server", Mode("sequential")), [0] * 5, sent)
    alone = np.median([sample.done - sample.began for sample in single]) / 1e6
    seconds = []
    for _ in range(8):
        pair = offered(server.url, arm, [0, 0.002], sent)
        assert [sample.status for sample in pair] == [COMPLETED] * 2
        seconds.append(max(sample.latency for sample in pair) * 1e3)
        threading.Event().wait(0.3)
    assert np.percentile(seconds, 75) < 2 * alone + 250


def test_an_arm_is_offered_calm_then_multiples_of_its_capacity_then_calm():
    made = {each.name: each for each in make_overloads(capacity=50, seconds=20, seed=1)}
    assert list(made) == [*(f"{factor}x" for factor in FACTORS), "spike"]
    for factor in FACTORS:
        each = made[f"{factor}x"]
        during = ((each.times >= each.begin) & (each.times < each.end)).sum()
        assert during / (each.end - each.begin) == pytest.approx(50 * factor, rel=0.2)
        assert (each.times < each.begin).sum() / each.begin == pytest.approx(50 * CALM, rel=0.4)
        assert np.all(np.diff(each.times) >= 0)


def test_the_figures_of_an_overload_are_those_of_its_own_arrivals():
    """Seconds 1 to 3 are the overload; latency is 10 ms but for a late answer in it, one just after and one at last."""
    records = np.zeros(10, RECORD)
    records["due"] = np.array([0.5, 1, 1.5, 2, 2.5, 3.2, 3.6, 4, 5, 5.5]) * 1e9
    records["sent"] = records["due"]
    records["done"] = records["due"] + np.array([10, 10, 900, 5, 10, 700, 10, 10, 10, 700]) * 1_000_000
    records["status"] = STATUSES.index(COMPLETED)
    records["status"][3] = STATUSES.index(REJECTED)
    found = summarise(records, Overload("2x", records["due"] / 1e9, 1.0, 3.0), slo=500)
    assert (found["offered"], found["answered"], found["goodput"], found["refused"]) == (2, 1.5, 1, 0.5)
    assert found["refusal"] == pytest.approx(5)
    assert found["recovery"] == pytest.approx(0.2)
    assert found["lost"] == 0
    assert summarise(records[:8], Overload("2x", records["due"] / 1e9, 1.0, 3.0), slo=500)["recovery"] is None


def test_a_silence_is_no_recovery():
    """After it only slow ones come, seldom; then one in time, and for two seconds none that is slow."""
    records = np.zeros(8, RECORD)
    records["due"] = np.array([0.5, 2, 3.5, 6.5, 9.5, 12.5, 13.5, 15.5]) * 1e9
    records["sent"], records["status"] = records["due"], STATUSES.index(COMPLETED)
    records["done"] = records["due"] + np.array([10, 900, 900, 900, 900, 900, 10, 10]) * 1_000_000
    overload = Overload("2x", records["due"] / 1e9, 1.0, 3.0)
    assert summarise(records, overload, slo=500)["recovery"] == pytest.approx(9.5)
    assert summarise(records[:6], overload, slo=500)["recovery"] is None


def test_that_a_server_admits_by_another_slo_than_it_is_judged_by_is_said_in_one_line():
    line = compare_slos(10_000, 2000)
    assert line.startswith("the server admits what it expects to answer within 10000 ms, and is judged by 2000 ms: ")
    assert line.endswith("`crossover up --slo 2000` makes them one")
    assert compare_slos(0, 2000).startswith("the server refuses nothing, and is judged by 2000 ms")
    # The same SLO, or a server of which it is not known, as on another machine.
    assert compare_slos(2000, 2000) == compare_slos(None, 2000) == ""
