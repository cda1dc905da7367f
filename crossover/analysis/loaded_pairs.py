"""The loaded comparison: rounds of short trials, in which each arrival has a twin in the other arm.

Both trials of a round have the same due times and payloads, so that arrivals are compared one by one. Nearly all of
what is left is the machine's speed, which differs between two trials some seconds apart: a longer trial does not help,
a further round does. And the speed shows: in the CPU seconds that the network's process spends on an inference. The
regression of a round's mean log ratio on the log ratio of these CPU seconds, read off where both trials had the same
speed, is the adjusted estimate (analysis of covariance: Cochran 1957, Biometrics 13:261). On a real server it was worth
2.5 times the measuring time.

With the same speed the ratio of CPU seconds is 1 only if the placements leave the network the same work. Decoding on
its core may cost it its caches, and then what the placement does to the network must stay in the estimate. The unloaded
pairs show it: both of a pair meet nearly the same speed, and their CPU seconds differ by what the placements do. The
regression is read off there, and the pairs' error is part of its own; without such pairs there is no adjustment. A
difference between two runs (before and after a change) has none either: the change may be in the network.

Not at the covariate's mean: centring would leave the estimate as the speeds made it and take their noise out of the
interval only, which then holds the truth in 55 to 75 of 100 comparisons and finds a winner in four of ten comparisons
of an arm with itself (docs/statistics.md). And not wall-clock compute as the covariate: decoding on the same core
stretches it under load, and it turned 1.113 into 1.033. Where the CPU seconds under load differ from those of the pairs
for certain, the plain estimate is reported.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from scipy.stats import beta

from crossover.analysis.estimate import Estimate
from crossover.analysis.jackknife import correlate, find_slope, jackknife, predict
from crossover.analysis.unloaded_pairs import CORRELATION

LEAST_ADJUSTED = 10
"""Rounds from which the regression is made: with fewer its slope costs more than it takes away."""
USEFUL = 0.5
"""Correlation with the covariate, below which its noise costs about what it takes away: so it was on a busy machine
(-0.2), where preemption slows the network and CPU seconds do not show it."""
MOVED = 0.999
"""Confidence beyond which the covariate differs from the unloaded pairs'. So high because the plain estimate, to which
the comparison then turns, is off in just those comparisons in which the speeds differ by chance."""
UNANSWERED = 0.01
"""Share of an arm's arrivals: above it, for certain, the arm does not carry the load, whatever the rest's latency."""
CERTAIN = 0.95
"""Confidence of the one-sided bound of that share: 1 of 96 is more than 1 %, and may be chance."""
ACCIDENTS = 3
"""Trials, repeated ones included, in which an arm must lose some: a backend that died once does so in one or two."""
BUSY = 0.1
"""Others' share of either side's cores: above it, a placement is slowed and nothing shows by how much."""
ARMS = ("baseline", "candidate")


@dataclass(frozen=True)
class LoadedRound:
    """One round: both arms under the same schedule, one trial each."""

    baseline_ms: np.ndarray
    """(arrivals,) ms from the due time to the answer, in the order of the schedule; nan without a good answer."""
    candidate_ms: np.ndarray
    instant: float
    """Seconds at which the round began, on a clock that goes on between runs: rounds near each other are alike."""
    baseline_cpu: float | None = None
    """CPU seconds of the network's own process per inference during the trial; None where they cannot be had."""
    candidate_cpu: float | None = None
    others: float | None = None
    """Share of the server's cores that other programs used during the round, 0 to 1: the mean of both trials."""
    client_others: float | None = None
    """The same of the client's cores."""
    earlier: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]] = ((), ())
    """Of each arm: (arrivals, how many had no good answer) of its attempts at the trial before this one."""


@dataclass(frozen=True)
class Losses:
    """An arm's arrivals without a good answer."""

    arrivals: int
    lost: int
    trials: int
    """How many trials had any."""
    repeated: int
    """How many of the lost ones were in trials that were then measured again."""
    attempts: int
    """How many trials there were in all."""

    @property
    def share(self) -> float:
        """Of the arrivals, 0 to 1."""
        return self.lost / self.arrivals if self.arrivals else 0.0

    @property
    def is_certain(self) -> bool:
        """Whether the arm loses more than UNANSWERED of its arrivals, beyond chance and not in one accident.

        By the lower bound of Clopper & Pearson (1934, Biometrika 26:404).
        """
        if self.trials < ACCIDENTS:
            return False
        return float(beta.ppf(1 - CERTAIN, self.lost, self.arrivals - self.lost + 1)) > UNANSWERED

    @property
    def are_in_every_trial(self) -> bool:
        """Whether the arm has lost some in each of its trials: nothing shows that it carries the load."""
        return self.trials == self.attempts


@dataclass(frozen=True)
class LoadedPairs:
    """What the rounds say. `ratio` is the headline: adjusted if `adjusted`, else equal to `plain`."""

    ratio: Estimate
    """The logarithm of candidate / baseline."""
    plain: Estimate
    adjusted: bool
    why_plain: str
    """One line that says why there is no adjustment; empty with one."""
    covariate: Estimate | None
    """The logarithm of the ratio of the network's CPU seconds under load, expected to be `network`."""
    network: Estimate | None
    """The same of unloaded pairs: what the placements do to the network itself; None where it is not known."""
    correlation: float | None
    """Between the rounds' log ratios and the covariate: how much of the noise is the machine's speed."""
    rounds: int
    left_out: int
    """Rounds in which an arrival of either arm had no good answer."""
    losses: tuple[Losses, Losses]
    """Of each arm, over all rounds and every attempt at them."""
    others: float | None
    """Of the server's cores, mean over rounds; None where it was not recorded."""
    client_others: float | None
    """The same of the client's cores."""

    @property
    def overloaded(self) -> tuple[str, ...]:
        """The arms that do not carry this load: 'baseline', 'candidate'. With one, `ratio` is a survivor's figure."""
        return tuple(arm for arm, losses in zip(ARMS, self.losses, strict=True) if losses.is_certain)

    @property
    def quiet(self) -> bool:
        """False if other programs used so much of either side's cores that the intervals say too little."""
        return all(each is None or each <= BUSY for each in (self.others, self.client_others))

    def as_dict(self) -> dict:
        """Return the fields, `overloaded` and `quiet` as JSON holds them, each estimate as a dict or None."""
        estimates = {name: getattr(self, name) for name in ("ratio", "plain", "covariate", "network")}
        found = {name: each and each.as_dict() for name, each in estimates.items()}
        return {**asdict(self), **found, "overloaded": self.overloaded, "quiet": self.quiet}


def compare_loaded(
    rounds: Sequence[LoadedRound], network: Estimate | None = None, correlation: float = CORRELATION
) -> LoadedPairs:
    """Compare two arms by rounds, in any order.

    `network` is the logarithm of the ratio of the network's CPU seconds in unloaded pairs, None where that is not
    known; `correlation` is that of the machine's speed, in seconds. A round in which an arrival is unanswered is left
    out: the answered ones would be a survivor's. With fewer than jackknife.LEAST_ROUNDS others the estimates have an
    infinite error.
    Raises ValueError where the arms of a round differ in arrivals, a round has none, or there are no rounds.
    """
    for each in rounds:
        if len(each.baseline_ms) != len(each.candidate_ms) or not len(each.baseline_ms):
            raise ValueError(f"a round needs arrivals and their twins: {len(each.baseline_ms), len(each.candidate_ms)}")
    if not rounds:
        raise ValueError("there are no rounds to compare")
    losses = count_losses(rounds, 0), count_losses(rounds, 1)
    whole = [each for each in rounds if not (np.isnan(each.baseline_ms).any() or np.isnan(each.candidate_ms).any())]
    whole.sort(key=lambda each: each.instant)

    def mean(name: str) -> float | None:
        values = [getattr(each, name) for each in whole if getattr(each, name) is not None]
        return float(np.mean(values)) if values else None

    def conclude(
        ratio: Estimate, plain: Estimate, why_plain: str, moved: Estimate | None = None, related: float | None = None
    ) -> LoadedPairs:
        return LoadedPairs(
            ratio,
            plain,
            adjusted=not why_plain,
            why_plain=why_plain,
            covariate=moved,
            network=network,
            correlation=related,
            rounds=len(whole),
            left_out=len(rounds) - len(whole),
            losses=losses,
            others=mean("others"),
            client_others=mean("client_others"),
        )

    if not whole:
        nothing = Estimate(0.0, np.inf, 1)
        return conclude(nothing, nothing, "no round was answered")
    ratios = np.array([np.log(each.candidate_ms / each.baseline_ms).mean() for each in whole])
    instants = np.array([each.instant for each in whole])
    plain = jackknife(np.mean, ratios, instants, correlation=correlation)
    # Whether it adjusts never depends on where an interval lies or which is narrower: that would choose a result.
    cpu = [(each.baseline_cpu, each.candidate_cpu) for each in whole]
    known = [(first, second) for first, second in cpu if first and second]
    if len(known) < len(cpu):
        return conclude(plain, plain, "the shared model's CPU seconds are not known")
    speeds = np.array([np.log(second / first) for first, second in known])
    moved, related = jackknife(np.mean, speeds, instants, correlation=correlation), correlate(ratios, speeds)
    if len(whole) < LEAST_ADJUSTED:
        why = f"{len(whole)} rounds are too few" if len(whole) > 1 else "1 round is too few"
    elif related is None:
        why = "the shared model's CPU seconds do not vary"
    elif network is None or not np.isfinite(network.error):
        why = "unloaded pairs do not show what the placements do to the shared model's CPU seconds"
    elif differ(moved, network):
        why = "the shared model's CPU seconds differ otherwise than in unloaded pairs"
    elif related < USEFUL:
        why = "the shared model's CPU seconds explain too little of the noise"
    else:
        slope = find_slope(ratios, speeds)
        at = jackknife(partial(predict, at=network.value), ratios, instants, speeds, correlation)
        adjusted = Estimate(at.value, float(np.hypot(at.error, slope * network.error)), at.freedom)
        return conclude(adjusted, plain, "", moved, related)
    return conclude(plain, plain, why, moved, related)


def count_losses(rounds: Sequence[LoadedRound], arm: int) -> Losses:
    """Count what arm 0, the baseline, or 1, the candidate, left unanswered, in every attempt at a trial."""
    times = [(each.baseline_ms, each.candidate_ms)[arm] for each in rounds]
    last = [(len(ms), int(np.isnan(ms).sum())) for ms in times]
    before = [(int(arrivals), int(lost)) for each in rounds for arrivals, lost in each.earlier[arm]]
    every = [*last, *before]
    return Losses(
        arrivals=sum(arrivals for arrivals, _ in every),
        lost=sum(lost for _, lost in every),
        trials=sum(lost > 0 for _, lost in every),
        repeated=sum(lost for _, lost in before),
        attempts=len(every),
    )


def differ(first: Estimate, second: Estimate) -> bool:
    """Return whether two independent estimates differ beyond MOVED."""
    both = Estimate(
        first.value - second.value, float(np.hypot(first.error, second.error)), min(first.freedom, second.freedom)
    )
    return abs(both.value) > both.half_width(MOVED)
