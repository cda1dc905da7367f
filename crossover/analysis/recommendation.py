"""The rule by which a comparison ends in a recommendation. It is fixed here, before any data are seen.

1. *Better by more than the margin*: one arm is quicker by more than the margin, for certain. Take the quicker arm.
2. *Non-inferior and cheaper*: one arm is cheaper by more than the margin, for certain, and slower by at most the
   margin, for certain. Take the cheaper arm. (Non-inferiority: Piaggio et al. 2012, JAMA 308:2594, an extension of
   CONSORT.)
3. *Equivalent*: neither arm is slower by more than the margin, for certain. Take either. (Two one-sided tests:
   Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657.)
4. *Undecided* otherwise, with the time that would decide it where that can be said.

*For certain* is a one-sided bound of the ratio, at the confidence that crossover.analysis.looks gives this look: 96 %
at the first one. Every truth lies on one side of a margin, and only bounds on that side can make a verdict false. So
whichever of the rules applies, and however often the user has looked before, the verdict is false in at most 5 % of
comparisons. Both bounds together are the 92 % interval at a first look; the two-sided interval that is printed beside
the ratio is wider, as it has to hold the truth against errors on both sides.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log1p

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from crossover.analysis import looks
from crossover.analysis.costs import Costs
from crossover.analysis.estimate import Estimate

MARGIN = 0.05
"""Of latency and of cost: what is smaller is not worth a decision."""
LONGEST = 8
"""Times the measuring so far: more than that is not advised, as too much changes meanwhile."""
ONE_SIDED = 2 * looks.ALPHA
"""The error of a two-sided interval whose bounds are each false in ALPHA of comparisons."""
HALF = 0.5
PRIOR = 0.1
"""Standard deviation of the log ratios that placements have, before anything is measured: most differ by less than
20 %. It is used for nothing but the advice: without it every large estimate, which is large by chance as well, would
promise a decision soon."""
STEPS = 12
"""Of the times that are tried: each is a fifth longer than the one before."""
QUANTILES = norm.ppf((np.arange(400) + 0.5) / 400)

BETTER, CHEAPER, EQUIVALENT, UNDECIDED = KINDS = ("better", "non-inferior and cheaper", "equivalent", "undecided")


@dataclass(frozen=True)
class Recommendation:
    """What the rule says."""

    kind: str
    """One of KINDS."""
    choice: str
    """'baseline' or 'candidate'; empty if equivalent or undecided."""
    ratio: float
    """Of latency, candidate / baseline, with its two-sided interval."""
    low: float
    high: float
    confidence: float
    """Of this look's interval; with the other looks' it holds in 95 % of comparisons."""
    at_least: float
    """One-sided bounds of the ratio, which decide; over all looks each holds in 95 % of comparisons."""
    at_most: float
    margin: float
    look: int
    cheaper: str
    """'baseline' or 'candidate' if one costs less by more than the margin, for certain; else empty."""
    quicker: str
    """The same for latency, by however little: it says more where the kind is 'undecided'."""
    more_seconds: float | None
    """If undecided: after so many seconds more of measuring about half of such comparisons are decided; None: no such
    time is within LONGEST times what was measured."""

    def as_dict(self) -> dict:
        """Return the fields, for JSON."""
        return asdict(self)


def recommend(
    latency: Estimate, measured: Sequence[float], costs: Costs | None = None, margin: float = MARGIN
) -> Recommendation:
    """Apply the rule to the logarithm of the latency ratio, candidate / baseline.

    `measured` has for each look so far, this one included, the seconds of measuring that it rested on; they must grow.
    `costs` are None where the arms' costs are not known. Raises ValueError for a margin that is not above 0, and as
    looks.confidence does.
    """
    if not margin > 0:
        raise ValueError(f"the margin must be above 0, not {margin}")
    sure, bounded = looks.confidence(measured), looks.confidence(measured, ONE_SIDED)
    low, high = latency.interval(sure)
    cheaper, limit = find_cheaper(costs, sure, margin), log1p(margin)
    bounds = [np.array([each]) for each in latency.interval(bounded)]
    kind, choice = (str(each[0]) for each in decide(bounds[0], bounds[1], cheaper, limit))
    return Recommendation(
        kind,
        choice,
        latency.ratio,
        *latency.ratios(sure),
        sure,
        *latency.ratios(bounded),
        margin,
        look=len(measured),
        cheaper=cheaper,
        quicker="baseline" if low > 0 else "candidate" if high < 0 else "",
        more_seconds=advise(latency, measured, cheaper, margin) if kind == UNDECIDED else None,
    )


def decide(low: np.ndarray, high: np.ndarray, cheaper: str, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (kinds, choices) by one-sided bounds of the log ratio; `limit` is the logarithm of 1 + margin."""
    # The first that applies is taken: a quicker arm is not given up for a cheaper one.
    baseline, candidate = low > limit, high < -limit
    cheap = {"candidate": high <= limit, "baseline": low >= -limit}.get(cheaper, np.zeros(len(low), bool))
    equal = (low >= -limit) & (high <= limit)
    kinds = np.select([baseline | candidate, cheap, equal], [BETTER, CHEAPER, EQUIVALENT], UNDECIDED)
    return kinds, np.select([baseline, candidate, cheap], ["baseline", "candidate", cheaper], "")


def find_cheaper(costs: Costs | None, confidence: float, margin: float) -> str:
    """Return the arm that costs less by more than the margin, for certain; empty where that is not known."""
    if costs is None or not costs.server_known:
        return ""
    if costs.ratio is None:  # one of them costs nothing
        if min(costs.baseline, costs.candidate) > 0 or costs.baseline == costs.candidate:
            return ""
        return "baseline" if costs.baseline < costs.candidate else "candidate"
    low, high = costs.ratio.interval(confidence)
    return "candidate" if high < -log1p(margin) else "baseline" if low > log1p(margin) else ""


def advise(latency: Estimate, measured: Sequence[float], cheaper: str, margin: float) -> float | None:
    """Return how many more seconds decide a comparison like this with probability 1/2, rounded to half minutes.

    The probability is predictive (Spiegelhalter, Freedman & Blackburn 1986, Controlled Clinical Trials 7:8): the truth
    is not taken to be the estimate, which is the fault of a sample size computed from it, but to lie about it as the
    estimate's error and PRIOR allow. None where LONGEST times the measuring does not reach one half.
    """
    if not np.isfinite(latency.error) or latency.error <= 0:
        return None
    # The chance need not grow with the time (a ratio just beyond the margin), so the first time that will do is sought.
    for factor in np.geomspace(1.15, LONGEST, STEPS):
        if predict(latency, measured, cheaper, margin, float(factor)) >= HALF:
            seconds = measured[-1] * (factor - 1)  # in half minutes: nobody measures 217 s
            return float(30 * np.ceil(seconds / 30))
    return None


def predict(latency: Estimate, measured: Sequence[float], cheaper: str, margin: float, factor: float) -> float:
    """Return the probability that `factor` times the measuring, looked at then for the first time after now, decides.

    The truth is normal about m with variance v = 1 / (1 / error^2 + 1 / PRIOR^2), m = v value / error^2. What is
    measured from now on has error^2 / (factor - 1) of noise about it, and a weight of 1 - 1 / factor.
    """
    sure = looks.confidence([*measured, measured[-1] * factor], ONE_SIDED)
    half = student.ppf((1 + sure) / 2, latency.freedom * factor) * latency.error / np.sqrt(factor)
    variance, weight = 1 / (latency.error**-2 + PRIOR**-2), 1 - 1 / factor
    middle = latency.value / factor + weight * variance * latency.value / latency.error**2
    spread = weight * np.sqrt(variance + latency.error**2 / (factor - 1))
    drawn = middle + spread * QUANTILES
    kinds, _ = decide(drawn - half, drawn + half, cheaper, log1p(margin))
    return float((kinds != UNDECIDED).mean())
