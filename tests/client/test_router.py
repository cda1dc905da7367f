"""Where a split placement sends each arrival, and that every one has an outcome whichever way it goes."""

import numpy as np
import pytest

from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.client.router import Router
from loadgen.samples.sample import CLIENT, COMPLETED, DROPPED, FAILED, SERVER, Sample, tabulate
from loadgen.samples.summary import summarise
from workloads.image import IMAGE, photographs
from workloads.payloads import Payload
from workloads.placement import Split

AUTO = Split(IMAGE.placements["client"], IMAGE.placements["server"], None)


def sample(number, prepared=0.0, answered=0.0, status=COMPLETED):
    """An arrival that took so many seconds to prepare, and so many to be answered."""
    made = Sample(number, 0, 0)
    made.began, made.prepared, made.sent = 1, 1 + round(prepared * 1e9), 1 + round(prepared * 1e9)
    made.done, made.status = made.sent + round(answered * 1e9), status
    return made


def choose(router, one):
    """Let the router choose for an arrival, which is sent then."""
    router.choose(one)
    router.note_sent(one)
    return one.preparer


def learn(router, preparing, exchange, file):
    """Let the router see one arrival of either kind."""
    for number in range(2):
        one = sample(number, preparing, exchange)
        if choose(router, one) == CLIENT:
            router.note_prepared(one)
            router.note_done(one)
        else:
            other = sample(number, answered=file)
            other.preparer = SERVER
            router.note_done(other)


def test_an_arrival_goes_where_less_work_waits():
    router = Router(AUTO, 1)
    learn(router, preparing=0.010, exchange=0.010, file=0.030)
    # 20 against 30 ms, 30 against 30, 40 against 30, then 40 against 60 and 50 against 60.
    chosen = [choose(router, sample(number)) for number in range(2, 7)]
    assert chosen == [CLIENT, CLIENT, SERVER, CLIENT, CLIENT]


def test_more_workers_take_more_of_the_work():
    chosen = []
    for workers in (1, 4):
        router = Router(AUTO, workers)
        learn(router, 0.010, 0.010, 0.030)
        chosen.append(sum(choose(router, sample(number)) == CLIENT for number in range(2, 22)))
    assert chosen[0] < chosen[1]


def test_what_failed_teaches_nothing_and_waits_no_more():
    router = Router(AUTO, 1)
    learn(router, 0.010, 0.010, 0.030)
    for number in range(2, 50):
        lost = sample(number, status=FAILED)
        if choose(router, lost) == CLIENT:
            router.note_prepared(sample(number, 0.010))
        router.note_done(lost)
    assert choose(router, sample(50)) == CLIENT and not router._together


@pytest.mark.parametrize("name", ["mixed:0.6", "mixed:auto"])
@pytest.mark.parametrize("mode", [Mode("async", 1), Mode("threads", 2)], ids=str)
def test_every_arrival_of_a_split_is_answered_by_one_of_both(name, mode, server):
    samples = []
    loop = OpenLoop(Arm(IMAGE.with_arms([name]), name, mode), server.url, samples.append, 30.0)
    loop.run(Plan(np.arange(20) * 0.05, np.arange(20) % 2, photographs((320,))))
    assert [each.status for each in samples] == [COMPLETED] * 20, {each.reason for each in samples}
    prepared = sum(each.bytes_up > 602_112 for each in samples)
    assert 0 < prepared < 20
    assert all((each.bytes_up > 602_112) == (each.preparer == CLIENT) for each in samples)
    # Each share's CPU time, and that of both, make up the process's.
    cpu = loop.split_cpu()
    assert min(cpu.values()) > 0 and sum(cpu.values()) == pytest.approx(loop.cpu)
    if name == "mixed:0.6" and mode.name == "async":
        assert prepared == 12


@pytest.mark.parametrize("mode", [Mode("async", 2), Mode("threads", 2)])
def test_a_run_counts_who_has_prepared_each_arrival(mode):
    workload = IMAGE.with_arms(["mixed:0.25"])
    times, sent = np.linspace(0, 0.1, 40), photographs((320,))
    samples = []
    loop = OpenLoop(Arm(workload, "mixed:0.25", mode, "pillow"), "http://127.0.0.1:9", samples.append, 5.0)
    loop.run(Plan(times, np.zeros(40, int), sent))
    found = fold(samples)["shares"]
    assert {each: share["books"]["scheduled"] for each, share in found.items()} == count(samples)
    assert all(share["books"]["failed"] == share["books"]["scheduled"] for share in found.values())
    # In mode threads each worker has even turns of its own.
    assert sum(count(samples).values()) == 40 and abs(count(samples)[CLIENT] - 10) <= 2 * (mode.name == "threads")
    whole = OpenLoop(Arm(workload, "client", mode, "pillow"), "http://127.0.0.1:9", samples.append, 5.0)
    assert whole.split_cpu() == {}  # an interruption may come before its workers
    whole.run(Plan(times[:1], np.zeros(1, int), sent))
    assert samples[-1].preparer == "" and whole.split_cpu() == {}
    assert fold(samples[-1:])["shares"] is None


def fold(samples):
    records, reasons = tabulate(samples)
    return summarise(records, 0.1, reasons)


def count(samples):
    return {each: sum(one.preparer == each for one in samples) for each in (CLIENT, SERVER)}


@pytest.mark.parametrize("mode", [Mode("async", 1), Mode("async", 1, cap=1), Mode("threads", 1)])
def test_what_is_dropped_belongs_to_a_share_and_what_fails_on_the_client_to_the_clients(mode):
    workload, samples, broken = IMAGE.with_arms(["mixed:0.5"]), [], Payload("broken.jpg", b"no photograph")
    loop = OpenLoop(Arm(workload, "mixed:0.5", mode, "pillow"), "http://127.0.0.1:9", samples.append, 5.0)
    loop.run(Plan(np.zeros(10), np.zeros(10, int), [broken]))
    assert count(samples) == {CLIENT: 5, SERVER: 5}
    assert any(each.status == DROPPED for each in samples) == (mode.cap == 1)
    refused = {each.preparer for each in samples if "preprocessing" in each.reason}
    assert refused == ({CLIENT} if mode.cap > 1 else refused & {CLIENT})
