"""Is a 95 % interval one? Coverage on simulated queues whose true ratios are known.

python -m tests.analysis.test_bootstrap        # coverage of every method, false alarms, power: twenty minutes
"""

import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from crossover.analysis import bootstrap
from crossover.analysis.bootstrap import PooledSamples, minimum_rounds, quotient

FEW = 500  # resamples: as good as 2000 for coverage, four times as fast
ALPHA = 1e-3
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}


@dataclass(frozen=True)
class Process:
    """What two arms measure: trials with the same arrivals, which begin with an empty queue."""

    requests: int = 60
    """Of a trial, on average."""
    service: tuple[float, float] = (0.6, 0.5)
    """Mean times of the arms, in mean gaps: the share of time that a server is busy."""
    cv: float = 0.5
    """Of the service times, which are lognormal."""
    alike: float = 0.0
    """How far they are the payload's, the same in both arms: the share of the variance of their logarithms."""
    drift: float = 0.0
    """How much the machine's speed wanders: the standard deviation of its logarithm, AR(1) from trial to trial."""
    memory: float = 0.5
    waits: bool = True
    """False: no queue, every latency independent."""

    def latencies(self, rng: np.random.Generator, comparisons: int, rounds: int) -> np.ndarray:
        """Of shape (comparisons, rounds, 2 arms, requests), nan where a trial has fewer. Lindley's recursion."""
        counts = np.maximum(1, rng.poisson(self.requests, (comparisons, rounds)))
        most, shape = counts.max(), (comparisons, rounds, 2, counts.max())
        gaps, variance = rng.exponential(1, (comparisons, rounds, 1, most)), np.log1p(self.cv**2)
        common = rng.normal(0, np.sqrt(variance * self.alike), (comparisons, rounds, 1, most))
        own = rng.normal(0, np.sqrt(variance * (1 - self.alike)), shape)
        times = np.exp(common + own - variance / 2) * np.array(self.service)[:, None]
        times *= np.exp(self.drift * self.wandering(rng, comparisons, rounds))[..., None]
        if self.waits:
            for i in range(1, most):
                times[..., i] += np.maximum(0, times[..., i - 1] - gaps[..., i])
        return np.where(np.arange(most) < counts[..., None, None], times, np.nan)

    def wandering(self, rng: np.random.Generator, comparisons: int, rounds: int) -> np.ndarray:
        """Two trials per round, one after the other, in an order drawn anew."""
        steps = rng.normal(size=(comparisons, 2 * rounds))
        for i in range(1, 2 * rounds):
            steps[:, i] = self.memory * steps[:, i - 1] + np.sqrt(1 - self.memory**2) * steps[:, i]
        steps = steps.reshape(comparisons, rounds, 2)
        return np.where(rng.random((comparisons, rounds, 1)) < 0.5, steps, steps[..., ::-1])

    def truth(self) -> dict[str, float]:
        """Ratio of each metric, from a million requests."""
        many = self.latencies(np.random.default_rng(0), 1_000_000 // self.requests // 20, 20)
        first, second = (arm[~np.isnan(arm)] for arm in (many[:, :, 0], many[:, :, 1]))
        found = {name: np.percentile(second, q) / np.percentile(first, q) for name, q in PERCENTILES.items()}
        return {**found, "mean": second.mean() / first.mean()}


PROCESSES = {
    "independent": Process(waits=False),
    "queue": Process(),
    "queue, drift": Process(drift=0.1),
    "queue, payloads": Process(alike=0.9, drift=0.05),
}
STRESS = {
    "queue, 200 a trial": Process(requests=200),
    "queue, 500 a trial": Process(requests=500),
    "queue, slow drift": Process(drift=0.1, memory=0.9),
    "80 % busy": Process(service=(0.8, 0.7)),
    "80 % busy, cv 1": Process(service=(0.8, 0.7), cv=1),
}


def arms(metric: str, trials: np.ndarray) -> list:
    """The statistic of each arm, from latencies of shape (rounds, 2, requests)."""
    both = [[trial[~np.isnan(trial)] for trial in trials[:, arm]] for arm in (0, 1)]
    if metric == "mean":
        return [quotient([trial.sum() for trial in arm], [len(trial) for trial in arm]) for arm in both]
    return [PooledSamples(arm).percentile(PERCENTILES[metric]) for arm in both]


def product(first, second, rounds: int) -> tuple[float, float]:
    return bootstrap.ratio_interval(first, second, rounds, 0.95, 1)


def intervals(process: Process, rounds: int, metrics, comparisons: int, seed: int = 1, method=product):
    """Metric -> array (comparisons, 2)."""
    simulated = process.latencies(np.random.default_rng([seed, rounds]), comparisons, rounds)
    return {metric: np.array([method(*arms(metric, trials), rounds) for trials in simulated]) for metric in metrics}


def covered(found: np.ndarray, truth: float) -> int:
    return int(((found[:, 0] <= truth) & (truth <= found[:, 1])).sum())


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", FEW)


@pytest.mark.parametrize("total", [80, pytest.param(250, marks=pytest.mark.long)])
def test_a_95_percent_interval_holds_the_truth_in_93_to_97_percent_of_comparisons(few, total):
    hits = {}
    for seed, (name, process) in enumerate(PROCESSES.items()):
        truth = process.truth()
        for rounds in (8, 12):
            for metric, found in intervals(process, rounds, ("p50", "p95", "mean"), total, seed).items():
                hits[name, rounds, metric] = covered(found, truth[metric])
    for which, hit in hits.items():
        assert stats.binom.cdf(hit, total, 0.93) > ALPHA, f"{which}: only {hit} of {total}"
        assert stats.binom.sf(hit - 1, total, 0.97) > ALPHA, f"{which}: {hit} of {total}, too many"
    assert 0.93 <= np.mean(list(hits.values())) / total <= 0.97


def test_requests_taken_for_independent_would_be_caught(few):
    """Dealt out anew over the rounds, they are what a bootstrap over requests takes them for."""
    rng, total = np.random.default_rng(1), 100
    simulated = PROCESSES["queue"].latencies(rng, total, 8)
    found = np.array([product(*arms("mean", dealt(trials, rng)), 8) for trials in simulated])
    assert stats.binom.cdf(covered(found, PROCESSES["queue"].truth()["mean"]), total, 0.93) < ALPHA


def dealt(trials: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([rng.permutation(trials[:, arm].ravel()).reshape(trials[:, arm].shape) for arm in (0, 1)], 1)


def test_percentile_intervals_of_six_rounds_would_be_caught(few):
    process, total = PROCESSES["queue"], 300
    found = intervals(process, 6, ["mean"], total, method=percentile)["mean"]
    assert stats.binom.cdf(covered(found, process.truth()["mean"]), total, 0.93) < ALPHA


@pytest.mark.parametrize("percent", [0, 50, 95, 99, 100])
def test_weighted_percentiles_are_numpys_of_repeated_samples(percent):
    rng = np.random.default_rng(2)
    rounds = [rng.integers(0, 50, size).astype(float) for size in (1, 7, 30, 0, 12)]  # with ties
    weights = rng.multinomial(5, [0.2] * 5, 200)
    found = PooledSamples(rounds).percentile(percent)(weights)
    for row, value in zip(weights, found, strict=True):
        samples = np.concatenate([np.repeat(each, n) for each, n in zip(rounds, row, strict=True)])
        assert np.isnan(value) if not len(samples) else value == pytest.approx(np.percentile(samples, percent))


def test_quotients_are_of_sums():
    weights = np.array([[1, 1, 1], [3, 0, 0], [0, 1, 2]])
    assert quotient([1, 2, 3], [10, 10, 40])(weights) == pytest.approx([0.1, 0.1, 8 / 90])


def test_intervals_of_the_same_data_and_seed_are_the_same():
    trials = PROCESSES["queue"].latencies(np.random.default_rng(3), 1, 8)[0]
    first, second = (bootstrap.ratio_interval(*arms("p50", trials), 8, 0.95, 4) for _ in range(2))
    assert first == second != bootstrap.ratio_interval(*arms("p50", trials), 8, 0.95, 5)


def test_the_intervals_of_the_inverse_ratio_are_the_inverses():
    first, second = arms("mean", PROCESSES["queue"].latencies(np.random.default_rng(3), 1, 8)[0])
    low, high = bootstrap.ratio_interval(first, second, 8, 0.95, 1)
    assert bootstrap.ratio_interval(second, first, 8, 0.95, 1) == pytest.approx((1 / high, 1 / low))


def test_a_ratio_that_never_varies_has_an_interval_of_no_width():
    first = np.arange(1, 7)
    found = bootstrap.ratio_interval(quotient(first, np.ones(6)), quotient(3 * first, np.ones(6)), 6, 0.95, 1)
    assert found == pytest.approx((3, 3))


def test_the_fewest_rounds_are_those_that_a_sign_test_could_decide():
    assert [minimum_rounds(confidence) for confidence in (0.9, 0.95, 0.99)] == [5, 6, 8]
    for confidence in (0.8, 0.9, 0.95, 0.99):
        n = minimum_rounds(confidence)
        assert stats.binomtest(n, n).pvalue <= 1 - confidence < stats.binomtest(n - 1, n - 1).pvalue


def test_two_thousand_resamples_of_ten_rounds_of_5000_take_less_than_a_second():
    rng = np.random.default_rng(1)
    both = [[rng.exponential(1, 5000) for _ in range(10)] for _ in range(2)]
    began = time.process_time()
    for percent in (50, 95, 99):
        bootstrap.ratio_interval(*(PooledSamples(arm).percentile(percent) for arm in both), 10, 0.95, 1)
    assert time.process_time() - began < 1


def logarithms(first, second, rounds: int):
    """The estimate, its jackknife values and its resamples."""

    def value(weights):
        return np.log(second(weights) / first(weights))

    once = np.ones((1, rounds), int)
    return value(once)[0], value(once - np.eye(rounds, dtype=int)), value(bootstrap.draw_weights(rounds, 1)), value


def percentile(first, second, rounds: int):
    """Efron 1979."""
    return np.exp(np.quantile(logarithms(first, second, rounds)[2], [0.025, 0.975]))


def expanded(first, second, rounds: int):
    """Hesterberg 2015: percentiles further out, as Student's t and the narrowness bias ask for."""
    z = np.sqrt(rounds / (rounds - 1)) * stats.t.ppf([0.025, 0.975], rounds - 1)
    return np.exp(np.quantile(logarithms(first, second, rounds)[2], stats.norm.cdf(z)))


def bca(first, second, rounds: int):
    """Efron 1987."""
    estimate, without, drawn, _ = logarithms(first, second, rounds)
    bias = stats.norm.ppf(np.clip((drawn < estimate).mean() + (drawn == estimate).mean() / 2, 1e-3, 1 - 1e-3))
    off = without.mean() - without
    skew = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    return np.exp(np.quantile(drawn, stats.norm.cdf(bias + z / (1 - skew * z))))


def student(first, second, rounds: int):
    """Hesterberg 2015: Student's t and the bootstrap's standard error, corrected for narrowness bias."""
    estimate, _, drawn, _ = logarithms(first, second, rounds)
    return np.exp(estimate + stats.t.ppf([0.025, 0.975], rounds - 1) * drawn.std() * np.sqrt(rounds / (rounds - 1)))


def studentised(first, second, rounds: int):
    """Bootstrap-t, not symmetric, every resample with a jackknife of its own."""
    estimate, without, drawn, value = logarithms(first, second, rounds)
    weights = bootstrap.draw_weights(rounds, 1)
    nested = value(np.maximum(0, weights[:, None] - np.eye(rounds, dtype=int)).reshape(-1, rounds))
    nested = np.where(weights > 0, nested.reshape(weights.shape), 0)
    middle = (weights * nested).sum(1, keepdims=True) / rounds
    errors = np.sqrt((rounds - 1) / rounds * (weights * (nested - middle) ** 2).sum(1))
    t = np.where(errors > 1e-12, (drawn - estimate) / np.maximum(errors, 1e-12), np.sign(drawn - estimate) * 1e9)
    error = np.sqrt((rounds - 1) * without.var())
    return np.exp(estimate - np.quantile(t, [0.975, 0.025], method="inverted_cdf") * error)


METHODS = {
    "product": product,
    "percentile": percentile,
    "expanded": expanded,
    "BCa": bca,
    "student": student,
    "studentised": studentised,
}


def controls(comparisons: int) -> None:
    """An arm against itself, and against one with service times 10 % longer."""
    heads = f"{'A/A: better':>14}{'equivalent':>12}{'slower: found':>15}"
    print(f"{'payloads alike, drift 2 %; margin 5 %':<40}{'rounds':>7}{'metric':>7}{heads}")
    for requests in (75, 200):
        for rounds in (6, 8, 10, 12, 20, 40):
            same = Process(requests, (0.6, 0.6), alike=0.9, drift=0.02)
            slower = Process(requests, (0.6, 0.66), alike=0.9, drift=0.02)
            aa, slow = (intervals(each, rounds, ("p50", "p95", "mean"), comparisons) for each in (same, slower))
            for metric in aa:
                low, high = aa[metric].T
                equal = (low >= 1 / 1.05) & (high <= 1.05)
                better = ((low > 1) | (high < 1)) & ~equal
                found = (slow[metric][:, 0] > 1) & (slow[metric][:, 1] > 1.05)
                shares = (better.mean() * 100, equal.mean() * 100, found.mean() * 100)
                shown = "{:>13.1f}%{:>11.1f}%{:>14.1f}%".format(*shares)
                print(f"{f'{requests} requests a trial':<40}{rounds:>7}{metric:>7}{shown}", flush=True)


def coverage(comparisons: int) -> None:
    """Of the product's intervals, with the median width of what is above the ratio; and of other methods."""
    heads = "".join(f"{name:>13}" for name in METHODS)
    print(f"\n{'coverage, % (median high / ratio)':<24}{'rounds':>7}{'metric':>7}{heads}")
    for seed, (name, process) in enumerate({**PROCESSES, **STRESS}.items()):
        truth = process.truth()
        for rounds in (6, 8, 12, 20):
            simulated = process.latencies(np.random.default_rng([seed, rounds]), comparisons, rounds)
            for metric in truth:
                shown = []
                for method in METHODS.values():
                    trials = simulated[: comparisons // 10] if method is studentised else simulated
                    found = np.array([method(*arms(metric, each), rounds) for each in trials])
                    hit, wide = covered(found, truth[metric]) / len(trials), np.median(found[:, 1] / found[:, 0]) ** 0.5
                    shown.append(f"{hit * 100:6.1f} ({wide:4.2f})")
                print(f"{name:<24}{rounds:>7}{metric:>7}" + "".join(shown), flush=True)


def main() -> None:
    bootstrap.RESAMPLES = FEW
    comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    controls(comparisons)
    coverage(comparisons)


if __name__ == "__main__":
    main()
