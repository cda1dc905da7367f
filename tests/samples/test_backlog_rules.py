"""Laws of the backlog: which overloads are found, and how often a healthy queue is taken for one."""

from itertools import product

import numpy as np
import pytest

from loadgen.samples.backlog_rules import check_backlog, check_backlog_of_rounds
from loadgen.samples.steady_state import estimate_backlog
from loadgen.samples.verdict import Facts

FINE = Facts(cpu_share=0.3, hub_stall=0.01, complete=True)


def short_block(seed: int, n: int, load: float, service: str) -> dict:
    """What a block of about n Poisson arrivals in n / load service times says of its backlog."""
    rng = np.random.default_rng([seed, n])
    length = n / load
    dues = np.sort(rng.uniform(0, length, rng.poisson(n)))
    shape = {"D": np.inf, "E4": 4, "M": 1}[service]
    services = np.ones(len(dues)) if shape == np.inf else rng.gamma(shape, 1 / shape, len(dues))
    free, latencies = 0.0, []
    for due, takes in zip(dues, services, strict=True):
        free = max(free, due) + takes
        latencies.append(free - due)
    return {"backlog": estimate_backlog(dues, np.ones(len(dues), bool), np.array(latencies), length)}


def backlogs(n: int, load: float, service: str, runs: int) -> float:
    return sum(check_backlog(short_block(seed, n, load, service), FINE, 99) is not None for seed in range(runs)) / runs


@pytest.mark.parametrize("service", ["D", "E4", "M"])
@pytest.mark.parametrize("n", [10, 30, 100, 280])
def test_a_healthy_queue_in_a_short_block_is_hardly_ever_taken_for_an_overload(n, service):
    assert backlogs(n, 0.7, service, 1000) < 0.005  # measured over 3,000: at most 0.0007


@pytest.mark.parametrize("service", ["D", "E4", "M"])
@pytest.mark.parametrize(("n", "load", "found"), [(60, 2.2, 0.9), (100, 1.5, 0.75), (180, 2.2, 1), (360, 1.2, 0.85)])
def test_an_overload_in_a_short_block_is_found(n, load, found, service):
    assert backlogs(n, load, service, 200) >= found


def test_a_server_whose_answers_all_take_long_is_not_behind():
    dues = np.linspace(0, 2, 200, endpoint=False)  # 100/s, each answered 0.9 s later by one of many instances
    growth = estimate_backlog(dues, np.ones(200, bool), np.full(200, 0.9), 2)
    assert check_backlog({"backlog": growth}, FINE, 99) is None


SERVICES = {"D": np.inf, "E4": 4, "M": 1}  # the shape of their gamma law


def draw_round(rng, n: int, load: float, arrivals: str, service: str, pause: float = 0) -> tuple:
    """(dues, done, latencies, seconds) of one server that starts empty, in units of the mean gap of n arrivals.

    `pause`: for so long it stands still, at a random instant, once the request that it has then is answered.
    """
    if arrivals == "M":
        dues = np.sort(rng.uniform(0, n, rng.poisson(n)))
    elif arrivals == "on-off":  # at twice the rate in every other part of a block of six, on average
        edges = np.cumsum(rng.exponential(n / 6, 100))
        dues = np.sort(rng.uniform(0, n, rng.poisson(2 * n)))
        dues = dues[np.searchsorted(edges, dues) % 2 == rng.integers(2)]
    else:  # evenly spaced, as many at a time as the name says
        dues = np.repeat(np.arange(0, n, int(arrivals), float), int(arrivals))
    shape = SERVICES[service]
    services = load * (np.ones(len(dues)) if shape == np.inf else rng.gamma(shape, 1 / shape, len(dues)))
    if pause and len(dues):
        services[np.searchsorted(dues, rng.uniform(0, n)) - 1] += pause
    walk = np.concatenate([[0], np.cumsum(services[:-1] - np.diff(dues))]) if len(dues) else dues
    return dues, np.ones(len(dues), bool), walk - np.minimum.accumulate(walk) + services, float(n)


def draw_rounds(seed: int, k: int, n: int, load: float, arrivals: str, service: str, pause: float = 0) -> list[tuple]:
    """k rounds, of which the first one pauses."""
    rng = np.random.default_rng([seed, k, n])
    return [draw_round(rng, n, load, arrivals, service, pause * (turn == 0)) for turn in range(k)]


def invalid_arms(*law, arms: int = 300, pause: float = 0) -> float:
    return sum(check_backlog_of_rounds(draw_rounds(seed, *law, pause)) is not None for seed in range(arms)) / arms


@pytest.mark.parametrize(
    ("k", "n", "arrivals", "service"),
    [
        pytest.param(*shape, *law, marks=[pytest.mark.long] if shape[0] == 20 and law != ("M", "M") else [])
        for shape in ((4, 10), (4, 100), (20, 30))
        for law in product(("M", "1", "on-off"), SERVICES)
    ],
)
def test_rounds_of_a_healthy_queue_are_hardly_ever_taken_for_an_overload(k, n, arrivals, service):
    assert invalid_arms(k, n, 0.7, arrivals, service) <= (0.02 if arrivals == "on-off" else 0.01)  # 0.5 %: of 300, 1.5


@pytest.mark.parametrize(
    ("law", "found"),
    [
        ((2, 30, 1.5, "1", "D"), 1),  # 5/s of 0.3 s each, for 6 s: of single blocks none is found
        ((2, 10, 1.2, "1", "D"), 1),
        ((6, 96, 1.5, "16", "D"), 1),  # 16 at a time, as from synchronised cameras
        ((4, 30, 1.5, "M", "M"), 0.85),
        ((4, 30, 1.5, "M", "E4"), 0.95),
        ((4, 30, 1.2, "1", "E4"), 0.9),
        ((4, 120, 1.2, "M", "M"), 0.85),
        ((20, 10, 1.5, "M", "M"), 0.9),
        ((20, 30, 1.2, "M", "M"), 0.95),
    ],
)
def test_an_overload_that_no_short_block_tells_shows_in_its_rounds(law, found):
    assert invalid_arms(*law, arms=150) >= found


@pytest.mark.parametrize("n", [100, 500])
def test_one_pause_in_one_of_several_rounds_is_no_overload(n):
    assert not invalid_arms(4, n, 0.7, "M", "E4", arms=100, pause=n / 10)


def test_rounds_without_answers_in_both_halves_are_not_judged():
    dues, done, latencies, seconds = draw_round(np.random.default_rng(1), 30, 1.5, "1", "D")
    nothing = dues, ~done, latencies[:0], seconds
    assert check_backlog_of_rounds([nothing, nothing]) is None
    assert check_backlog_of_rounds([(dues, done, latencies, seconds), nothing]) is None  # one is not several
    assert check_backlog_of_rounds([(dues[:0], done[:0], latencies[:0], seconds)] * 3) is None


def test_the_order_of_the_records_is_of_no_matter():
    runs = draw_rounds(1, 3, 30, 1.5, "M", "M")
    mixed = [(dues[::-1], done[::-1], latencies[::-1], seconds) for dues, done, latencies, seconds in runs]
    assert check_backlog_of_rounds(runs) == check_backlog_of_rounds(mixed) is not None
