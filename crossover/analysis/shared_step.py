"""The difference without the step that both placements share.

The network takes most of the time and does the same work in both arms. What it takes varies with the machine, and
drowns a difference of some milliseconds in what the client and the server do around it. Without it the difference is
often decided at once. It does not stand for the whole: where the server decodes on the network's cores, it slows the
network, too, which is an effect of the placement. `shared` shows that part, and the whole stands beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from crossover.analysis.estimate import Estimate
from crossover.analysis.jackknife import jackknife
from crossover.analysis.unloaded_pairs import CORRELATION


@dataclass(frozen=True)
class StageRound:
    """One round, or one pair of requests: what each arm's requests took, and the shared step's part of it."""

    baseline_ms: np.ndarray
    """(requests,) ms of the whole; or of shape (1,), their mean."""
    candidate_ms: np.ndarray
    baseline_shared_ms: np.ndarray
    """(requests,) ms in the shared step, as the server tells: its queue and its compute; or of shape (1,), the mean."""
    candidate_shared_ms: np.ndarray
    instant: float
    """Seconds, on any clock."""
    requests: int = 0
    """How many it has in each arm, where the arrays hold means; 0: as many as they hold."""


@dataclass(frozen=True)
class WithoutSharedStep:
    """Both arms without the shared step."""

    milliseconds: Estimate
    """candidate - baseline, of the means over requests."""
    ratio: Estimate | None
    """The logarithm of candidate / baseline; None where an arm has nothing left, as its clocks disagree."""
    baseline_ms: float
    candidate_ms: float
    """Means over requests of what is left of each arm."""
    shared: Estimate
    """The logarithm of the shared step's ratio: above 0, it is slower in the candidate's arm."""
    rounds: int

    def as_dict(self) -> dict:
        """Return the fields as JSON holds them, each estimate as a dict or None."""
        estimates = {name: getattr(self, name) for name in ("milliseconds", "ratio", "shared")}
        return {**asdict(self), **{name: each and each.as_dict() for name, each in estimates.items()}}


def compare_without_shared_step(rounds: Sequence[StageRound], correlation: float = CORRELATION) -> WithoutSharedStep:
    """Compare what is left of two arms: round by round the mean of the whole less the mean of the shared step.

    Each round counts by its requests, so that the means are those of requests, as in the tables that stand beside; the
    intervals are the jackknife's over rounds. With fewer rounds than jackknife.LEAST_ROUNDS the errors are infinite.
    The shared step's ratio alone is a mean over rounds. Requests without a good answer (nan) are the caller's to leave
    out, with their round. Raises ValueError for no rounds, a nan, or a shared step that took no time.
    """
    if not rounds:
        raise ValueError("there are no rounds to compare")
    rounds = sorted(rounds, key=lambda each: each.instant)
    names = ("baseline_ms", "candidate_ms", "baseline_shared_ms", "candidate_shared_ms")
    first, second, shared_first, shared_second = (
        np.array([np.mean(getattr(each, name)) for each in rounds]) for name in names
    )
    if not np.isfinite([first, second, shared_first, shared_second]).all():
        raise ValueError("a request without an answer has no stages: leave its round out")
    if min(shared_first.min(), shared_second.min()) <= 0:
        raise ValueError("the shared step took no time in some round")
    # Round by round, as what slows the network in a round slows it within the whole as well.
    left_first, left_second = first - shared_first, second - shared_second
    instants = np.array([each.instant for each in rounds])
    counts = np.array([each.requests or len(each.baseline_ms) for each in rounds])
    weights = counts / counts.mean()

    def compare(statistic: Callable, values: np.ndarray, others: np.ndarray | None = None) -> Estimate:
        return jackknife(statistic, values, instants, others, correlation)

    # The server's clock may run on while the answer is with the client already, and leave less than nothing.
    baseline, candidate = (float(np.average(each, weights=weights)) for each in (left_first, left_second))
    return WithoutSharedStep(
        milliseconds=compare(mean_per_request, (left_second - left_first) * weights, weights),
        ratio=compare(log_ratio, left_second * weights, left_first * weights) if min(baseline, candidate) > 0 else None,
        baseline_ms=baseline,
        candidate_ms=candidate,
        shared=compare(np.mean, np.log(shared_second / shared_first)),
        rounds=len(rounds),
    )


def mean_per_request(weighted: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean over all requests, from each round's weighted mean and its weight."""
    return float(weighted.sum() / weights.sum())


def log_ratio(candidate: np.ndarray, baseline: np.ndarray) -> float:
    """Return the logarithm of the ratio of two arms' sums; nan where one of them is not above 0."""
    sums = candidate.sum(), baseline.sum()
    return float(np.log(sums[0] / sums[1])) if min(sums) > 0 else float("nan")
