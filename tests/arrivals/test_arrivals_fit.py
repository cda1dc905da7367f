"""Goodness of fit: every process has the law it promises, and no impostor passes for it.

Kolmogorov-Smirnov on the gaps (time-rescaled where the rate varies) and on the times, dispersion of counts,
autocorrelation: see tests/laws.py. n >= 10,000 everywhere, fixed seeds, alpha = 0.001.

    python -m tests.arrivals.test_arrivals_fit      # the whole table, then the impostors
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from arrivals import parse
from tests import laws

ALPHA, SEED, N = 0.001, 20, 10_000


def drawn(spec: str, seconds: float, seed: int = SEED) -> np.ndarray:
    return parse(spec).schedule(seconds, seed).times


def first_second(times):
    return times[times < 1]


def late(times):
    """How late one camera's frames are, in its jitter of 8 ms: 100 frames a second."""
    return (times - np.arange(len(times)) / 100) / 0.008


COUNTS = np.random.default_rng(0).integers(0, 1200, 60)
MINUTES = laws.steps([60.0 * i for i in range(len(COUNTS))], COUNTS / 60)

BURSTS = ((200, 20), (0.5, 1.5))
STATES = ((5, 50, 200), (10, 2, 0.5))
CONSTANT, POISSON, RANDOM = "constant:rate=20", "poisson:rate=20", "video:cameras=10000,fps=1,phase=random"
GAMMA, SMOOTH = "gamma:rate=20,cv=2", "gamma:rate=20,burstiness=4"
MODULATED = "onoff:on_rate=200,on=0.5,off=1.5,off_rate=20"
RAMP, SINE = "ramp:from=5,to=50,over=600", "sine:rate=20,amplitude=0.8,period=0.5"
COUNTED = "trace:file=counts.csv,kind=counts"

LAWS: dict[str, tuple[float, dict]] = {
    CONSTANT: (1000, {"spacing": laws.exactly(lambda n: np.arange(n) / 20)}),
    "uniform:min=0.02,max=0.08": (
        1000,
        {"KS gaps": laws.gaps_are(stats.uniform(0.02, 0.06)), "independence": laws.independent},
    ),
    POISSON: (
        2000,
        {
            "KS gaps": laws.gaps_are(stats.expon(scale=0.05)),
            "KS times": laws.placed(lambda t: t, 2000),
            "dispersion 0.5 s": laws.dispersed(1, 20, 0.5, 2000),
            "dispersion 5 s": laws.dispersed(1, 20, 5, 2000),
            "independence": laws.independent,
        },
    ),
    GAMMA: (
        2000,
        {
            "KS gaps": laws.gaps_are(stats.gamma(0.25, scale=0.2)),
            "dispersion 10 s": laws.dispersed(4, 20, 10, 2000),
            "independence": laws.independent,
        },
    ),
    SMOOTH: (2000, {"KS gaps": laws.gaps_are(stats.gamma(4, scale=0.0125)), "independence": laws.independent}),
    "pareto:rate=20,alpha=1.5": (
        2000,
        {"KS gaps": laws.gaps_are(stats.pareto(1.5, scale=0.05 / 3)), "independence": laws.independent},
    ),
    "onoff:on_rate=100,on=0.5,off=2": (
        4000,
        {
            "KS gaps": laws.gaps_are(laws.hyperexponential(100, 0.5, 2)),
            "dispersion 0.1 s": laws.dispersed(laws.mmpp_dispersion((100, 0), (0.5, 2), 0.1), 20, 0.1, 4000),
            "independence": laws.independent,
        },
    ),
    MODULATED: (
        4000,
        {f"dispersion {w} s": laws.dispersed(laws.mmpp_dispersion(*BURSTS, w), 65, w, 4000) for w in (0.05, 0.5, 5)},
    ),
    "mmpp:rates=5/50/200,durations=10/2/0.5": (
        20000,
        {f"dispersion {w} s": laws.dispersed(laws.mmpp_dispersion(*STATES, w), 20, w, 20000) for w in (0.1, 1, 10)},
    ),
    RAMP: (1000, laws.poisson_laws(laws.ramp(5, 50, 600), 1000)),
    "step:rates=5/10/20/40,every=150": (800, laws.poisson_laws(laws.steps([0, 150, 300, 450], [5, 10, 20, 40]), 800)),
    "spike:rate=10,peak=100,at=200,lasts=50": (800, laws.poisson_laws(laws.steps([0, 200, 250], [10, 100, 10]), 800)),
    SINE: (1000, laws.poisson_laws(laws.sine(20, 0.8, 0.5), 1000)),
    "sine:rate=20,amplitude=1,period=300": (1000, laws.poisson_laws(laws.sine(20, 1, 300), 1000)),
    RANDOM: (
        3,
        {
            "KS phases": laws.uniform(first_second),
            "KS spacings": laws.spaced(first_second),
            "period": laws.periodic(1),
        },
    ),
    "video:cameras=16,fps=30,phase=staggered": (30, {"spacing": laws.exactly(lambda n: np.arange(n) / 480)}),
    "video:cameras=16,fps=30,phase=synchronised": (30, {"spacing": laws.exactly(lambda n: np.arange(n) // 16 / 30)}),
    "video:cameras=1,fps=100,phase=synchronised,jitter=0.008": (200, {"KS jitter": laws.uniform(late)}),
    COUNTED: (
        3600,
        {
            "counts": lambda times: float(np.array_equal(np.bincount((times // 60).astype(int), minlength=60), COUNTS)),
            "KS within minutes": laws.uniform(lambda times: times / 60 % 1),
            "KS rescaled gaps": laws.rescaled(MINUTES),
        },
    ),
}


def rng():
    return np.random.default_rng(SEED)


def shuffled(spec: str, seconds: float) -> np.ndarray:
    """The same gaps in a random order."""
    return np.cumsum(rng().permutation(np.diff(drawn(spec, seconds), prepend=0)))


def thinned(rate, ceiling: float, seconds: float, seed: int = SEED) -> np.ndarray:
    """Lewis & Shedler (1979): the slow exact reference for a rate that stays below the ceiling."""
    random = np.random.default_rng([seed, 7])
    times = np.cumsum(random.exponential(1 / ceiling, int(2 * ceiling * seconds) + 100))
    times = times[times < seconds]
    return times[random.random(len(times)) < rate(times) / ceiling]


def sine_rate(t):
    return 20 * (1 + 0.8 * np.sin(2 * np.pi * t / 0.5))


def ramp_rate(t):
    return np.minimum(5 + 45 * t / 600, 50)


def gaps_at_the_rate_of_the_last_arrival(seconds: float) -> np.ndarray:
    times, now, random = [], 0.0, rng()
    while now < seconds:
        now += random.exponential(1 / sine_rate(now))
        times.append(now)
    return np.array(times[:-1])


def evenly_within_minutes() -> np.ndarray:
    return np.concatenate([60 * (i + (np.arange(n) + 0.5) / n) for i, n in enumerate(COUNTS) if n])


IMPOSTORS = [
    ("gamma, cv 2", POISSON, "KS gaps", lambda: drawn("gamma:20,2", 2000)),
    ("gamma, cv 2", POISSON, "dispersion 5 s", lambda: drawn("gamma:20,2", 2000)),
    ("gamma, cv 0.9", POISSON, "KS gaps", lambda: drawn("gamma:20,0.9", 2000)),
    ("gamma, cv 0.9", POISSON, "dispersion 0.5 s", lambda: drawn("gamma:20,0.9", 2000)),
    ("Poisson, 5 % fast", POISSON, "KS gaps", lambda: drawn("poisson:21", 2000)),
    ("Poisson-distributed gaps", POISSON, "KS gaps", lambda: np.cumsum(rng().poisson(50, 40_000)) / 1e3),
    ("its gaps sorted", POISSON, "independence", lambda: np.cumsum(np.sort(np.diff(drawn(POISSON, 2000))))),
    ("64 random cameras", POISSON, "dispersion 5 s", lambda: drawn("video:cameras=64,fps=0.3125", 2000)),
    ("ramp of that mean", POISSON, "KS times", lambda: drawn("ramp:10,30,2000", 2000)),
    ("Poisson", GAMMA, "KS gaps", lambda: drawn(POISSON, 2000)),
    ("Poisson", GAMMA, "dispersion 10 s", lambda: drawn(POISSON, 2000)),
    ("gamma, cv and shape mixed up", SMOOTH, "KS gaps", lambda: drawn("gamma:rate=20,cv=4", 2000)),
    ("Poisson", "uniform:min=0.02,max=0.08", "KS gaps", lambda: drawn(POISSON, 2000)),
    ("Poisson", CONSTANT, "spacing", lambda: drawn(POISSON, 2000)),
    ("Pareto type II (Lomax)", "pareto:rate=20,alpha=1.5", "KS gaps", lambda: np.cumsum(rng().pareto(1.5, N) / 40)),
    ("Poisson", "onoff:on_rate=100,on=0.5,off=2", "KS gaps", lambda: drawn(POISSON, 4000)),
    ("its gaps shuffled", MODULATED, "dispersion 0.5 s", lambda: shuffled(MODULATED, 4000)),
    ("its gaps shuffled", MODULATED, "dispersion 5 s", lambda: shuffled(MODULATED, 4000)),
    ("on-off", POISSON, "independence", lambda: drawn(MODULATED, 4000)),
    ("homogeneous Poisson", RAMP, "KS times", lambda: drawn("poisson:34.5", 1000)),
    ("homogeneous Poisson", RAMP, "KS rescaled gaps", lambda: drawn("poisson:34.5", 1000)),
    ("thinned below its peak", RAMP, "KS times", lambda: thinned(ramp_rate, 35, 1000)),
    ("thinned below its peak", SINE, "KS rescaled gaps", lambda: thinned(sine_rate, 25, 1000)),
    ("rate of the last arrival", SINE, "KS rescaled gaps", lambda: gaps_at_the_rate_of_the_last_arrival(1000)),
    ("synchronised cameras", RANDOM, "KS phases", lambda: drawn("video:10000,1,synchronised", 3)),
    ("staggered cameras", RANDOM, "KS spacings", lambda: drawn("video:10000,1,staggered", 3)),
    ("Poisson", RANDOM, "period", lambda: drawn("poisson:10000", 3)),
    (
        "gaussian jitter",
        "video:cameras=1,fps=100,phase=synchronised,jitter=0.008",
        "KS jitter",
        lambda: np.arange(20_000) / 100 + np.clip(rng().normal(0.004, 0.008 / 12**0.5, 20_000), 0, 0.008),
    ),
    ("evenly within minutes", COUNTED, "KS rescaled gaps", evenly_within_minutes),
    ("homogeneous Poisson", COUNTED, "counts", lambda: drawn(f"poisson:{COUNTS.sum() / 3600}", 3600)),
]


def drifting(pairs: np.ndarray) -> float:
    """p-value that the lag (fired - due) does not depend on when it was due: a regression's slope."""
    due, fired = pairs.T
    return stats.linregress(due, fired - due).pvalue


class Clock:
    """Time passes only in sleeps, which overrun by 60 us on average, as an operating system's do."""

    def __init__(self):
        self.ns, self.random = 0, rng()

    def sleep(self, ns: int) -> None:
        self.ns += ns + int(self.random.exponential(60_000))

    def until(self, due: int) -> None:
        if due > self.ns:
            self.sleep(due - self.ns)


DUES = [round(time * 1e9) for time in drawn("constant:rate=200", 60)]


def paced_absolutely() -> np.ndarray:
    from loadgen.client.open_loop import pace

    clock, fired = Clock(), []
    pace(DUES, lambda index: fired.append((DUES[index], clock.ns)), clock.until)
    return np.array(fired, float)


def paced_gap_by_gap() -> np.ndarray:
    clock, fired, before = Clock(), [], 0
    for due in DUES:
        clock.sleep(due - before)
        fired.append((due, clock.ns))
        before = due
    return np.array(fired, float)


@pytest.fixture(scope="module")
def counts_file(tmp_path_factory):
    return written_counts(tmp_path_factory.mktemp("trace"))


def written_counts(folder: Path) -> Path:
    path = folder / "counts.csv"
    path.write_text("\n".join(map(str, COUNTS)))
    return path


def offered(spec: str, counts_file: Path) -> np.ndarray:
    return drawn(spec.replace("counts.csv", str(counts_file)), LAWS[spec][0])


@pytest.mark.parametrize(("spec", "test"), [(spec, test) for spec, (_, tests) in LAWS.items() for test in tests])
def test_every_process_has_the_law_it_promises(spec, test, counts_file):
    times = offered(spec, counts_file)
    assert len(times) >= N
    assert LAWS[spec][1][test](times) >= ALPHA


@pytest.mark.parametrize(("impostor", "sold_as", "test", "times"), IMPOSTORS)
def test_no_impostor_passes_for_it(impostor, sold_as, test, times):
    assert len(times()) >= N
    assert LAWS[sold_as][1][test](times()) < ALPHA


@pytest.mark.parametrize(("spec", "rate", "ceiling"), [(SINE, sine_rate, 36), (RAMP, ramp_rate, 50)])
def test_inversion_has_the_law_of_thinning(spec, rate, ceiling):
    ours, reference = drawn(spec, 1000), thinned(rate, ceiling, 1000)
    assert stats.ks_2samp(np.diff(ours), np.diff(reference)).pvalue >= ALPHA
    assert stats.ks_2samp(ours, reference).pvalue >= ALPHA


def test_two_seeds_are_independent_and_one_seed_is_not():
    counts = [np.histogram(drawn(POISSON, 2000, seed), 4000, (0, 2000))[0] for seed in (1, 2, 2)]
    assert stats.pearsonr(counts[0], counts[1]).pvalue >= ALPHA
    assert stats.pearsonr(counts[1], counts[2]).pvalue < ALPHA


def test_the_pacer_does_not_drift_and_one_that_sleeps_gap_by_gap_does():
    assert drifting(paced_absolutely()) >= ALPHA
    assert drifting(paced_gap_by_gap()) < ALPHA


def main() -> None:
    def line(*columns):
        print("{:<56} {:<18} {:>7} {:>8}  {}".format(*columns))

    def judged(who, test, n, p, good, bad):
        line(who, test, n, f"{p:.2g}", good if p >= ALPHA else bad)

    line("process", "test", "n", "p", f"verdict at alpha = {ALPHA}")
    with tempfile.TemporaryDirectory() as folder:
        counts_file = written_counts(Path(folder))
        for spec, (_, tests) in LAWS.items():
            times = offered(spec, counts_file)
            for test, check in tests.items():
                judged(spec, test, len(times), check(times), "passes", "FAILS")
    judged("pace()", "drift", len(DUES), drifting(paced_absolutely()), "passes", "FAILS")
    line("\nimpostor", "test", "n", "p", "verdict")
    for impostor, sold_as, test, times in IMPOSTORS:
        who, p = f"{impostor}, sold as {sold_as.partition(':')[0]}", LAWS[sold_as][1][test](times())
        judged(who, test, len(times()), p, "GOES UNNOTICED", "caught")
    p = drifting(paced_gap_by_gap())
    judged("sleeping gap by gap, sold as pace()", "drift", len(DUES), p, "GOES UNNOTICED", "caught")


if __name__ == "__main__":
    main()
