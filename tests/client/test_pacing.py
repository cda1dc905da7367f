"""Laws of the pacer, on a virtual clock."""

import threading
import time

from loadgen.client.open_loop import pace
from loadgen.clock import prioritise_thread, sleep_until

MS = 1_000_000


class Clock:
    """Time passes only while somebody sleeps; every sleep overruns by `late` ns."""

    def __init__(self, late: int = 0):
        self.ns, self.late = 0, late

    def until(self, due: int) -> None:
        if due > self.ns:
            self.ns = due + self.late


def fired(dues, clock, cost: int = 0) -> list[tuple[int, int]]:
    record = []

    def fire(index):
        record.append((index, clock.ns))
        clock.ns += cost

    pace(dues, fire, clock.until)
    return record


def test_every_arrival_is_fired_once_in_order_at_its_due_time():
    dues = [0, 5 * MS, 5 * MS, 20 * MS]
    assert fired(dues, Clock()) == list(enumerate(dues))


def test_a_late_sleep_is_not_carried_into_the_next_gap():
    dues = [i * 10 * MS for i in range(1, 1001)]
    lags = [at - dues[index] for index, at in fired(dues, Clock(late=MS))]
    assert set(lags) == {MS}  # a pacer that sleeps gap by gap would be a second late by the end


def test_a_slow_fire_makes_the_next_late_and_the_pacer_catches_up():
    dues = [0, 10 * MS, 20 * MS, 1000 * MS]
    assert [at for _, at in fired(dues, Clock(), cost=15 * MS)] == [0, 15 * MS, 30 * MS, 1000 * MS]


def test_nobody_wakes_early():
    for ahead in (-MS, 0, MS // 10, MS, 30 * MS):
        due = time.monotonic_ns() + ahead
        assert sleep_until(due)
        assert time.monotonic_ns() >= due


def test_who_no_longer_waits_is_let_go_soon():
    begun = time.monotonic_ns()
    assert not sleep_until(time.monotonic_ns() + 3600 * 10**9, over=lambda: time.monotonic_ns() > begun + 50 * MS)
    assert time.monotonic_ns() < begun + 3000 * 10**9


def test_a_prompt_thread_still_sleeps():
    woken = []

    def wake():
        prioritise_thread()
        woken.append(sleep_until(time.monotonic_ns() + 5 * MS))

    thread = threading.Thread(target=wake)
    thread.start()
    thread.join()
    assert woken == [True]
