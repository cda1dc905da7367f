"""Laws of the open loop and its books. The servers here do what a real one cannot be asked to: stall, die, babble."""

import threading
import time
from contextlib import contextmanager
from itertools import pairwise

import gevent
import numpy as np
import pytest
from gevent.pywsgi import WSGIServer

from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.client.worker_threads import Client, Workers
from loadgen.samples.journal import Journal
from loadgen.samples.sample import COMPLETED, DROPPED, FAILED, REJECTED, TIMED_OUT, UNFINISHED, Sample
from workloads.payloads import Payload
from workloads.workload import Placement, Workload

PAYLOAD = Payload("four.bin", b"\x01\x02\x03\x04")
ANSWER = b'{"model_name":"m","outputs":[{"name":"logits","datatype":"FP32","shape":[1],"data":[1]}]}'


def widen(encoded: bytes) -> np.ndarray:
    if encoded == b"bad":
        raise ValueError("not four bytes")
    if encoded == b"exit":
        raise SystemExit(3)
    return np.frombuffer(encoded, np.uint8).astype(np.float32)


def toy(prepare) -> Workload:
    """A workload of one model, whose client prepares so."""
    of = {"inputs": ("x",), "outputs": ("logits",)}
    placements = {"client": Placement("m", prepare, **of), "server": Placement("m", **of)}
    return Workload(name="toy", placements=placements, payloads=lambda: [PAYLOAD], steps=("m",))


WORKLOAD = toy(widen)


@contextmanager
def server(answer):
    """An HTTP server on a free loopback port; `answer(start_response)` gives the body."""
    wsgi = WSGIServer(("127.0.0.1", 0), lambda environ, start: [answer(start)], log=None, error_log=None)
    wsgi.start()
    try:
        yield f"http://127.0.0.1:{wsgi.server_port}"
    finally:
        wsgi.stop(timeout=0.1)


def good(start, seconds: float = 0):
    gevent.sleep(seconds)
    start("200 OK", [("Content-Type", "application/json")])
    return ANSWER


def offer(url, dues, mode="async", workers=1, cap=512, timeout=5.0, placement="client", payload=PAYLOAD):
    record = []
    loop = OpenLoop(Arm(WORKLOAD, placement, Mode(mode, workers, cap)), url, record.append, timeout, sleep=gevent.sleep)
    loop.run(Plan(np.array(dues), np.zeros(len(dues), int), [payload]))
    return sorted(record, key=lambda sample: sample.index)


ALL_MODES = pytest.mark.parametrize(("mode", "workers"), [("sequential", 1), ("threads", 3), ("async", 2)])


@ALL_MODES
@pytest.mark.parametrize("placement", ["client", "server"])
def test_every_due_time_gets_one_answered_sample_whose_instants_are_in_order(mode, workers, placement):
    dues = [i * 0.01 for i in range(20)]
    with server(good) as url:
        record = offer(url, dues, mode, workers, placement=placement)
    assert [s.index for s in record] == list(range(20))
    assert {s.status for s in record} == {COMPLETED}
    for s in record:
        assert s.due <= s.fired <= s.began <= s.prepared <= s.sent <= s.done
        assert s.bytes_up > 4
        assert s.bytes_down == len(ANSWER)


@ALL_MODES
def test_without_a_server_every_due_time_becomes_a_failed_sample_with_a_reason(mode, workers):
    record = offer("http://127.0.0.1:9", [0.0, 0.01, 0.02], mode, workers)
    assert [s.status for s in record] == [FAILED] * 3
    assert all("refused" in s.reason for s in record)


def test_sequential_starts_the_next_when_the_previous_is_answered_and_counts_the_waiting():
    with server(lambda start: good(start, 0.05)) as url:
        record = offer(url, [0.0] * 4, "sequential")
    for before, after in pairwise(record):
        assert after.began >= before.done
        assert after.latency > before.latency  # all were due at once
        assert after.done - after.due >= after.done - after.began + before.done - before.began


def test_threads_keep_at_most_n_requests_between_began_and_done():
    with server(lambda start: good(start, 0.05)) as url:
        record = offer(url, [0.0] * 9, "threads", 3)
    busy = sorted([(s.began, 1) for s in record] + [(s.done, -1) for s in record])
    assert max(np.cumsum([change for _, change in busy])) == 3


def test_async_has_more_in_flight_than_workers():
    with server(lambda start: good(start, 0.2)) as url:
        record = offer(url, [0.0] * 10, "async", 1)
    assert max(s.sent for s in record) < min(s.done for s in record)


def test_async_drops_and_counts_what_exceeds_the_cap():
    with server(lambda start: good(start, 0.3)) as url:
        record = offer(url, [0.0] * 10, "async", 1, cap=4)
    assert [s.status for s in record] == [COMPLETED] * 4 + [DROPPED] * 6
    assert all("4 requests were in flight" in s.reason for s in record[4:])


def test_a_slow_answer_does_not_push_the_next_requests():
    held = []

    def first_is_slow(start):
        held.append(1)
        return good(start, 0.5 if len(held) == 1 else 0)

    with server(first_is_slow) as url:
        record = offer(url, [0.0, 0.1, 0.2], "async", 1)
    assert record[2].done < record[0].done


def test_preprocessing_runs_in_as_many_real_threads_as_there_are_workers():
    seen = set()
    barrier = threading.Barrier(3)

    def slow(encoded):
        seen.add(threading.get_native_id())
        barrier.wait(timeout=120)  # only three OS threads at once get past it
        return widen(encoded)

    workload = toy(slow)
    record = []
    with server(good) as url:
        loop = OpenLoop(Arm(workload, "client", Mode("async", 3)), url, record.append, sleep=gevent.sleep)
        loop.run(Plan(np.zeros(3), np.zeros(3, int), [PAYLOAD]))
    assert len(seen) == 3
    assert threading.get_native_id() not in seen
    assert {s.status for s in record} == {COMPLETED}


@ALL_MODES
def test_a_stalled_server_gives_timed_out_samples_within_the_deadline(mode, workers):
    with server(lambda start: good(start, 3600)) as url:
        record = offer(url, [0.0], mode, workers, timeout=0.2)
    assert [s.status for s in record] == [TIMED_OUT]
    assert record[0].reason == "no answer within 0.2 s"


@pytest.mark.parametrize(
    ("status", "body", "kept", "reason"),
    [
        ("503 Service Unavailable", b'{"error":"queue full"}', REJECTED, "HTTP 503: queue full"),
        ("400 Bad Request", b'{"error":"bad JPEG\\nline two"}', FAILED, "HTTP 400: bad JPEG"),
        ("500 Internal Server Error", b"<html>oops\nmore</html>", FAILED, "HTTP 500: <html>oops"),
        ("500 Internal Server Error", b"", FAILED, "HTTP 500:"),
        ("200 OK", b"not json", FAILED, "unreadable answer"),
        ("200 OK", b"", FAILED, "unreadable answer"),
        ("200 OK", b'{"model_name":"m","outputs":[]}', FAILED, "lacks logits"),
    ],
)
def test_whatever_a_server_answers_becomes_a_sample_with_a_one_line_reason(status, body, kept, reason):
    def answer(start):
        start(status, [("Content-Type", "application/json")])
        return body

    with server(answer) as url:
        [sample] = offer(url, [0.0])
    assert sample.status == kept
    assert reason in sample.reason
    assert "\n" not in sample.reason


def test_input_that_the_client_cannot_preprocess_fails_alone_with_the_reason():
    with server(good) as url:
        [sample] = offer(url, [0.0], payload=Payload("bad.bin", b"bad"))
    assert (sample.status, sample.reason) == (FAILED, "client preprocessing: not four bytes")
    assert sample.sent == 0


@ALL_MODES
def test_a_prepare_that_exits_fails_its_samples_and_ends_no_thread(mode, workers):
    with server(good) as url:
        record = offer(url, [0.0] * 6, mode, workers, payload=Payload("exit.bin", b"exit"))
    reason = "prepare of client raised SystemExit: 3"
    assert [(sample.status, sample.reason) for sample in record] == [(FAILED, reason)] * 6


def test_ctrl_c_while_the_main_thread_prepares_is_no_sample():
    """Unloaded pairs are prepared there. In another thread it would be the user's own code that raises it."""

    def interrupted(encoded: bytes) -> np.ndarray:
        raise KeyboardInterrupt

    client = Client(Arm(toy(interrupted), "client", Mode("async")), lambda: 0)
    with pytest.raises(KeyboardInterrupt):
        client.prepare(interrupted, Sample(0, 0, 0), PAYLOAD)


def test_an_interrupted_run_still_has_a_sample_for_every_due_time():
    record = []
    loop = OpenLoop(Arm(WORKLOAD, "client", Mode("async")), "", record.append, 60, sleep=gevent.sleep)
    with server(lambda start: good(start, 3600)) as url:
        loop.url = url
        running = gevent.spawn(loop.run, Plan(np.array([0.0, 0.1, 3600.0]), np.zeros(3, int), [PAYLOAD]))
        while loop.fired < 2:
            gevent.sleep(0.01)
        running.kill()
    assert sorted(s.index for s in record) == [0, 1]
    assert {s.status for s in record} == {UNFINISHED}
    assert {s.reason for s in record} == {"the run ended first"}


class SlowJournal(Journal):
    """Tells when a sample is being written, and takes its time."""

    def __init__(self, path):
        super().__init__(path)
        self.began = threading.Event()

    def write(self, sample):
        self.began.set()
        time.sleep(0.3)
        super().write(sample)


@pytest.mark.parametrize("interrupted", [False, True], ids=["to its end", "interrupted"])
def test_a_sample_that_is_being_written_as_the_run_ends_is_not_lost(tmp_path, interrupted):
    """It has left those that wait for an answer, and has not come to those that are finished."""
    record: list[Sample] = []
    journal = SlowJournal(tmp_path / "samples.journal")
    loop = OpenLoop(Arm(WORKLOAD, "client", Mode("async")), "", record.append, 60, journal, sleep=gevent.sleep)
    with server(good) as url:
        loop.url = url
        running = gevent.spawn(loop.run, Plan(np.array([0.0]), np.zeros(1, int), [PAYLOAD]))
        while interrupted and not journal.began.is_set():
            gevent.sleep(0.01)
        if interrupted:
            running.kill()
        running.join()
    assert [(sample.index, sample.status) for sample in record] == [(0, COMPLETED)]


def test_a_run_that_is_interrupted_before_its_clock_begins_has_no_samples(monkeypatch):
    @contextmanager
    def interrupted():
        raise KeyboardInterrupt
        yield

    record: list[Sample] = []
    monkeypatch.setattr("loadgen.client.loop.pause_gc", interrupted)
    run = OpenLoop(Arm(toy(widen), "client", Mode("async")), "http://127.0.0.1:9", record.append)
    with pytest.raises(KeyboardInterrupt):
        run.run(Plan(np.zeros(3), np.zeros(3, int), [PAYLOAD]))
    assert (record, run.ended) == ([], 0)


def test_what_the_end_of_a_run_cuts_off_is_unfinished_and_has_not_failed(monkeypatch):
    """Closing a connection wakes who waits for its answer; here before anything is given up."""

    def close_and_wait(workers, close=Workers.close):
        close(workers)
        time.sleep(0.3)

    monkeypatch.setattr(Workers, "close", close_and_wait)
    record = []
    loop = OpenLoop(Arm(WORKLOAD, "client", Mode("async")), "", record.append, 60, sleep=gevent.sleep)
    with server(lambda start: good(start, 3600)) as url:
        loop.url = url
        running = gevent.spawn(loop.run, Plan(np.array([0.0] * 20 + [3600.0]), np.zeros(21, int), [PAYLOAD]))
        while loop.fired < 20 or not all(s.sent for s in list(loop._open.values())):
            gevent.sleep(0.01)
        running.kill()
    assert sorted(s.index for s in record) == list(range(20))
    assert {(s.status, s.reason) for s in record} == {(UNFINISHED, "the run ended first")}


def test_dispatch_is_not_early():
    started = time.monotonic_ns()
    with server(good) as url:
        record = offer(url, [0.05, 0.1], "async")
    assert all(s.fired >= s.due for s in record)
    assert time.monotonic_ns() - started >= 0.1e9
