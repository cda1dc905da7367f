"""The search for an arm's capacity: on queues whose capacity is known, on probes that err, and on the real server."""

import json
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from crossover.experiments.burst_shapes import bursts, exactly
from crossover.experiments.capacity import result as capacity_result
from crossover.experiments.capacity.probe import TRIES, Hopeless, Prober, abort_when
from crossover.experiments.capacity.run import LOADS, estimate, list_plans, parse_loads
from crossover.experiments.capacity.search import (
    CLIENT_RULES,
    HALVINGS,
    RESOLUTION,
    Outcome,
    allowed_over,
    bracket,
    judge_trial,
    probe_requests,
    search,
)
from crossover.measurement.retry import Retries
from crossover.measurement.trial import Trial, read_trials
from loadgen.arm import Arm, Mode
from loadgen.arrivals import Gamma, Poisson, Uniform, Video
from loadgen.samples.early_stopping import lowest_passing_limit, required_requests
from loadgen.samples.validity import RULES
from tests.commands import again, goes_on, interrupted, only, refuses, run, says_that_no_server_answers, start
from tests.trials_on_disk import about, trial
from workloads.catalogue import BUILT_IN

MU = 100.0  # of the simulated servers, per second


def times_in_queue(due: np.ndarray, service: np.ndarray) -> np.ndarray:
    """Lindley's recursion: one server, first come, first served."""
    ends, free = np.empty(len(due)), 0.0
    for i, (arrival, needs) in enumerate(zip(due, service, strict=True)):
        free = ends[i] = max(free, arrival) + needs
    return ends - due


def queue(kind: str, slo: float, percentile: float, seed: int):
    """A probe of an M/M/1 or M/D/1 queue; each try has arrivals of its own."""

    def once(rate: float) -> Outcome:
        probe.seed += 1
        n = probe_requests(rate, slo, percentile)
        due = exactly(Poisson, rate, n, probe.seed).times
        rng = np.random.default_rng([probe.seed, 7])
        service = rng.exponential(1 / MU, n) if kind == "M/M/1" else np.full(n, 1 / MU)
        over = int((times_in_queue(due, service) * 1e3 > slo).sum())
        return Outcome(rate, "server" if over > allowed_over(n, percentile) else "", over=over)

    def probe(rate: float) -> Outcome:
        first = once(rate)
        return first if first.passed else once(rate)

    probe.seed = 1000 * seed
    return probe


def sharp(capacity: float, limit: str = "server"):
    """A probe that passes at most at that rate."""
    return lambda rate: Outcome(rate, limit if rate > capacity else "")


@pytest.mark.parametrize("capacity", [0.3, 7.3, 10, 10.01, 80, 999, 5000])
def test_the_capacity_lies_between_the_two_ends_and_they_are_close(capacity):
    low, high = bracket(search(sharp(capacity), 10))
    assert low.rate <= capacity < high.rate <= low.rate * (1 + RESOLUTION)


def test_a_search_is_short():
    assert len(search(sharp(999), 10)) <= 8 + 5


def test_an_arm_that_cannot_carry_anything_is_given_up():
    outcomes = search(sharp(0), 10)
    assert len(outcomes) == HALVINGS + 1
    assert bracket(outcomes)[0] is None


def test_a_search_ends_also_where_everything_passes():
    low, high = bracket(search(sharp(np.inf), 10))
    assert low.rate > 1e6
    assert high is None


def test_what_ended_the_search_is_kept():
    assert bracket(search(sharp(50, "client"), 10))[1].limit == "client"


@pytest.mark.parametrize("seed", range(20))
def test_a_flaky_probe_ends_the_search_within_its_doubtful_range(seed):
    """Between 40 and 60 it passes by the toss of a coin."""
    rng = np.random.default_rng(seed)

    def probe(rate: float) -> Outcome:
        return Outcome(rate, "" if rate < 40 or (rate < 60 and rng.random() < 0.5) else "server")

    outcomes = search(probe, 10)
    low, high = bracket(outcomes)
    assert 40 / (1 + RESOLUTION) <= low.rate < 60
    assert low.rate < high.rate <= low.rate * (1 + RESOLUTION)
    assert len({outcome.rate for outcome in outcomes}) == len(outcomes) < 15


@pytest.mark.parametrize(
    ("kind", "slo", "percentile", "known"),
    [
        ("M/M/1", 100, 99, MU - np.log(100) / 0.1),  # its time in the system is exponential, with rate mu - lambda
        ("M/M/1", 100, 90, MU - np.log(10) / 0.1),
        ("M/M/1", 200, 90, MU - np.log(10) / 0.2),
        ("M/D/1", 50, 99, 58.0),  # simulated once, over 10^5 requests a rate
        ("M/D/1", 50, 90, 76.0),
    ],
)
def test_the_capacity_of_a_known_queue_is_found_and_hardly_ever_overstated(kind, slo, percentile, known):
    found = [bracket(search(queue(kind, slo, percentile, seed), 10))[0].rate / known for seed in range(20)]
    assert 0.9 < np.median(found) < 1.1
    assert max(found) < 1.26
    assert min(found) > 0.3  # the rule is strict: now and then two probes in a row hold too many long services


def test_a_probe_outlasts_what_an_overload_needs_to_show():
    """p90 takes 81 requests; at 1.5 times what it can carry an M/D/1 queue keeps a long SLO that many."""
    due = exactly(Poisson, 1.5 * MU, 81, 1).times
    assert (times_in_queue(due, np.full(81, 1 / MU)) * 1e3 > 500).sum() <= allowed_over(81, 90)
    n = probe_requests(1.5 * MU, 500, 90)
    due = exactly(Poisson, 1.5 * MU, n, 1).times
    assert (times_in_queue(due, np.full(n, 1 / MU)) * 1e3 > 500).sum() > allowed_over(n, 90)


@pytest.mark.parametrize("percentile", [90, 95, 99])
@pytest.mark.parametrize("n", [30, 81, 165, 459, 838, 2000])
def test_passing_is_mlperfs_early_stopping_estimate_below_the_slo(n, percentile):
    latencies = np.sort(np.random.default_rng(n).exponential(1, n))
    bound = lowest_passing_limit(latencies, percentile)
    assert (allowed_over(n, percentile) < 0) == (bound is None)
    if bound is not None:
        assert (latencies > bound).sum() == allowed_over(n, percentile)


def test_as_many_may_be_over_as_the_number_of_requests_was_made_for():
    for percentile in (90, 95, 99):
        for over in (0, 1, 2, 5):
            assert allowed_over(required_requests(percentile, over), percentile) == over
            assert allowed_over(required_requests(percentile, over) - 1, percentile) == over - 1


@pytest.mark.parametrize(
    "make",
    [
        Poisson,
        *(partial(Gamma, cv=cv) for cv in (0, 1, 2, 4)),
        lambda rate: Uniform(0.5 / rate, 1.5 / rate),
        lambda rate: Video(16, rate / 16, "synchronised"),
        lambda rate: Video(16, rate / 16, "random"),
    ],
)
@pytest.mark.parametrize(("rate", "n"), [(0.7, 48), (33.3, 464), (150, 1600)])
def test_every_shape_offers_exactly_the_same_mean_load(make, rate, n):
    schedule = exactly(make, rate, n, seed=3)
    assert len(schedule) == n
    assert schedule.seconds == n / rate
    assert np.array_equal(schedule.times, exactly(make, rate, n, seed=3).times)


def test_a_schedule_can_be_made_again_from_what_a_trial_says_of_it():
    from loadgen import arrivals

    schedule = exactly(Poisson, 7.3, 459, 5)
    again = arrivals.parse(schedule.spec).schedule(schedule.seconds, schedule.seed)
    assert again.digest == schedule.digest


def test_the_gaps_have_the_cv_that_the_table_says():
    for make, cv in bursts().values():
        gaps = np.diff(exactly(make, 10, 16_000, 2).times)
        assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.1, abs=0.02)


def test_synchronised_cameras_all_send_at_the_same_instant():
    make, _ = bursts()["video"]
    frames = exactly(make, 32, 160, 1).times.reshape(10, 16)
    assert np.ptp(frames, axis=1).max() == 0
    assert np.diff(frames[:, 0]) == pytest.approx(0.5, rel=1e-3)


def test_what_is_hopeless_is_ended_and_what_is_not_is_not():
    looks, began = [], time.monotonic()
    sleep = abort_when(lambda: looks.append(1) or time.monotonic() > began + 0.6)
    with pytest.raises(Hopeless):
        while True:
            sleep(0.01)
    assert time.monotonic() - began > 0.6
    assert len(looks) == 2  # twice a second


def test_rules_that_are_the_clients_doing_are_rules_of_the_verdict():
    assert set(RULES) >= CLIENT_RULES


def test_a_trial_within_the_slo_passes_and_one_beyond_it_fails(tmp_path):
    measured = trial(tmp_path, "image", "client", 1, seconds=30)
    assert judge_trial(measured, 7.5, slo=1e5, percentile=90).passed
    found = judge_trial(measured, 7.5, slo=1, percentile=90)
    assert (found.limit, found.over) == ("server", measured.scheduled)


def test_errors_count_as_over(tmp_path):
    measured = trial(tmp_path, "image", "client", 1, seconds=10, broken="connection reset")
    found = judge_trial(measured, 7.5, slo=1e5, percentile=90)
    assert (found.over, found.limit, "errors" in found.why) == (1, "server", True)


def test_what_the_client_spoilt_is_not_the_servers_capacity(tmp_path):
    measured = trial(tmp_path, "image", "client", 1, seconds=30)
    measured.findings = [{"rule": "dispatch lag", "measured": "p99 9 ms"}]
    assert judge_trial(measured, 7.5, slo=1e5, percentile=90).limit == "client"
    measured.findings = [{"rule": "latency rises", "measured": "by 50 %"}]
    assert judge_trial(measured, 7.5, slo=1e5, percentile=90).limit == "server"


def test_a_request_that_mostly_waited_for_the_client_is_the_clients(tmp_path, monkeypatch):
    measured = trial(tmp_path, "image", "client", 1, seconds=30)
    records = measured.records.copy()
    records["began"] = records["done"] - 1
    monkeypatch.setattr(Trial, "records", property(lambda self: records))
    assert judge_trial(measured, 7.5, slo=1, percentile=90).limit == "client"


def test_what_was_not_given_is_planned_from_the_most_telling_to_the_quickest():
    assert list_plans(0, None) == [(99, LOADS), (95, LOADS), (90, LOADS), (90, (0.7,)), (90, ())]
    assert list_plans(95, None) == [(95, LOADS), (95, (0.7,)), (95, ())]
    assert list_plans(0, [0.9]) == [(99, [0.9]), (95, [0.9]), (90, [0.9])]
    assert list_plans(95, []) == [(95, [])]
    seconds = [estimate(0.4, 2000, *plan) for plan in list_plans(0, None)]
    assert seconds == sorted(seconds, reverse=True)


def test_the_estimate_grows_with_the_percentile_and_the_loads():
    assert estimate(0.1, 500, 90, ()) <= estimate(0.1, 500, 95, ()) < estimate(0.1, 500, 99, ())
    assert estimate(0.1, 500, 99, (0.5,)) > estimate(0.1, 500, 99, (0.9,)) > estimate(0.1, 500, 99, ())
    assert parse_loads("") == []


# On the real server ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(server, tmp_path_factory):
    """(output, directory) of one arm's search, with short probes, and its bursts."""
    reports = tmp_path_factory.mktemp("reports")
    code, output = run(
        "capacity", "audio", "--url", server.url, "--state", server.state, "--reports", reports,
        "--percentile", 90, "--slo", 1000, "--loads", 0.9, "--arms", "client", shorter="search.LASTING = 2",
    )  # fmt: skip
    assert code == 0, output
    return output, only(reports)


def test_a_server_has_a_capacity_and_everything_is_on_disk(finished):
    output, directory = finished
    found = json.loads((directory / "capacity.json").read_text())["audio"]
    [best] = found["capacity"]
    assert best["arm"] == "audio client async:1"
    assert best["rate"] < best["not"] <= best["rate"] * (1 + RESOLUTION)
    assert best["bound_ms"] <= best["slo_ms"] == 1000
    assert best["limited_by"] in ("client", "server")
    assert {point["arm"] for point in found["curve"]} == {best["arm"]}
    assert [row["arrivals"] for row in found["burstiness"]] == list(bursts())
    assert json.loads((directory / "run.json").read_text())["complete"]
    kept = read_trials(directory)
    assert len(kept) >= len(best["probes"]) + len(bursts())
    assert not list(directory.rglob("*.journal"))
    assert f"{best['rate']:.3g}" in output
    given_up = [probe for probe in best["probes"] if not probe["complete"]]
    assert sum(not each.facts["complete"] for each in kept) >= len(given_up)


def test_its_report_says_the_same_and_can_be_made_again(finished, monkeypatch, capsys):
    output, directory = finished
    page = directory / "report.html"
    found = json.loads((directory / "capacity.json").read_text())
    [said] = capacity_result.sentences(found)["audio"]
    assert said.replace(" %", "\N{NO-BREAK SPACE}%") in page.read_text()
    before = page.read_text()
    page.unlink()
    code, printed, _ = again(monkeypatch, capsys, directory)
    assert code == 0 and printed.strip() in output
    assert page.read_text() == before


@pytest.mark.long
def test_ctrl_c_leaves_the_probes_that_are_done_and_the_search_goes_on(server, tmp_path):
    given = ["audio", "--url", server.url, "--state", server.state, "--reports", tmp_path, "--percentile", 90]
    given += ["--arms", "client", "--loads", "", "--slo", 1000]
    process = start("capacity", *given, shorter="search.LASTING = 2")
    enough = TRIES + 1  # trials: the first probe has had its last try
    output = interrupted(process, lambda: len(list(tmp_path.glob("*/audio/*/round-*.json"))) >= enough)
    directory = only(tmp_path)
    assert f"go on with --continue {directory}" in output
    before = json.loads((directory / "capacity.json").read_text())["audio"]["capacity"][0]["probes"]
    assert not json.loads((directory / "run.json").read_text())["complete"]
    assert "This run is incomplete." in (directory / "report.html").read_text()
    goes_on("capacity", directory, *given, shorter="search.LASTING = 2")
    [best] = json.loads((directory / "capacity.json").read_text())["audio"]["capacity"]
    assert best["probes"][: len(before)] == before and best["rate"] < best["not"]


def make_prober(directory) -> Prober:
    retries = Retries(lambda: SimpleNamespace(wait=lambda seconds: None), lambda line: None)
    return Prober(retries, ARM, [], directory, 1, slo=1e5, percentile=90, seed=1)


ARM = Arm(BUILT_IN["image"], "client", Mode("async"))


def test_a_probe_of_an_interrupted_run_is_not_measured_again_unless_it_could_have_passed_yet(tmp_path, monkeypatch):
    """Cut short by Ctrl-C, one has what was not answered; given up, it has more answers over the SLO than it may."""
    there = trial(tmp_path, "image", "client", 1, seconds=30)
    folder = tmp_path / "image" / ARM.slug
    folder.exists() or there.path.parent.rename(folder)
    schedule, measured = SimpleNamespace(digest=there.schedule), []
    monkeypatch.setattr(Prober, "offer", lambda self, *_: measured.append(1) or there)
    for complete, slo, times in ((True, 1e5, 0), (False, 1e5, 1), (False, 1, 0)):
        there.facts["complete"], there.path = complete, folder / "round-01.json"
        there.write()
        one = make_prober(tmp_path)
        one.slo = slo
        one.measure_trial(schedule, max_over=2)
        assert measured == [1] * times
        measured.clear()
    one = make_prober(tmp_path)
    one.measure_trial(SimpleNamespace(digest="another"))
    assert measured == [1]


def test_a_probe_on_a_server_that_died_is_repeated_and_tells_nothing_of_its_capacity(tmp_path, monkeypatch):
    kinds = iter(["reset", "reset", ""])

    def offer(self, schedule, path, most, attempt):
        return trial(tmp_path, "image", "client", 1, seconds=30, broken=next(kinds))

    monkeypatch.setattr(Prober, "offer", offer)
    one = make_prober(tmp_path)
    found = one.measure_trial(SimpleNamespace(digest="-"))
    assert found.completed == found.scheduled and one.retries.repeated == 2
    assert len(list(tmp_path.rglob("invalid-*.json"))) == 2


@pytest.mark.parametrize(
    ("client", "server", "says"),
    [
        (138, 116, "up to 138 requests/s preprocessed by the client and up to 116 requests/s preprocessed by the"),
        (138, 116, "1.2 times as many by the client. Above that, the limit is the client in the first case, the"),
        (100, 104, "too close to tell them apart"),
        (None, 7, "at no rate tried preprocessed by the client and up to 7 requests/s preprocessed by the server."),
    ],
)
def test_every_outcome_has_its_sentence(client, server, says):
    limits = {"slo_ms": 51.0, "percentile": 95}
    capacities = [
        {"arm": f"image {where} async:1", "rate": rate, "limited_by": where, **limits}
        for where, rate in (("client", client), ("server", server))
    ]
    sentence = capacity_result.sentence({**about("image"), "capacity": capacities})
    assert says in sentence
    assert sentence.startswith("For photographs, p95 stays within 51 ms (99 % confidence) ")


def test_without_a_server_it_says_so_in_one_line(tmp_path):
    says_that_no_server_answers("capacity", "--reports", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["video"], "unknown workload 'video'; try one of image, audio"),
        (["--arms", "client,cloud"], "unknown placement 'cloud' of image; try some of client, server"),
        (["--slo", "-1"], "--slo must be a positive number of ms"),
        (["--percentile", "100"], "--percentile must lie between 50 and 99.9"),
        (["--loads", "0.5,1.5"], "--loads are shares of the capacity"),
        (["--loads", "half"], "half"),
        (["--seconds", "0"], "seconds must be a positive number"),
        (["--seed", "-3"], "--seed must not be negative"),
        (["--image", "/no/such"], "cannot read payloads"),
        (["--library", "opencv"], "unknown library 'opencv'; image has dali, pillow; audio has librosa"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(arguments, says, monkeypatch, capsys):
    refuses("capacity", arguments, says, monkeypatch, capsys)
