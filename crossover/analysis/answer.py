"""What a comparison answers: both designs, the difference without the shared step, costs and the recommendation.

It turns what lies on the disk, trials and unloaded pairs, into what the designs take. Everything is made again from
there whenever a report is: the looks that were paid for stand in run.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossover.analysis import looks
from crossover.analysis.costs import Costs, Prices, Spent, compare_costs
from crossover.analysis.loaded_pairs import LoadedPairs, LoadedRound, compare_loaded
from crossover.analysis.metrics import count_bytes
from crossover.analysis.passed_steps import (
    TrialPair,
    compare_network,
    find_own_steps,
    find_same_steps,
    find_shared_steps,
)
from crossover.analysis.recommendation import Recommendation, recommend
from crossover.analysis.shared_step import StageRound, WithoutSharedStep, compare_without_shared_step
from crossover.analysis.unloaded_pairs import UnloadedPairs, compare_unloaded
from crossover.measurement.pairs import Pairs
from crossover.measurement.trial import Trial

SEAM = 1.0
"""Seconds that lie between the pairs of two runs that continue each other, whatever lay between them in truth. Pairs at
the seam are taken for neighbours, which can only widen the interval."""


@dataclass(frozen=True)
class Answer:
    """What two arms' trials and pairs say; a part is None where there are no data for it."""

    unloaded: UnloadedPairs | None
    loaded: LoadedPairs | None
    without_shared_step: WithoutSharedStep | None
    shared_steps: tuple[str, ...]
    """The models that both arms' requests pass, with the same work in both: the network."""
    own_steps: tuple[tuple[str, ...], tuple[str, ...]]
    """The models that only the baseline's requests pass, and only the candidate's."""
    costs: Costs | None
    recommendation: Recommendation | None
    """None without a round under load, and where an arm does not carry it."""
    looks: tuple[float, ...]
    """Seconds of trials that each look rested on, this one's last."""
    unloaded_looks: tuple[float, ...]
    """Seconds of unloaded pairs that each look at their interval rested on, this one's last."""
    baseline_ms: float | None
    """Mean latency of the baseline's requests over the rounds in which every arrival has an answer."""
    candidate_ms: float | None
    """The same of the candidate's requests."""

    def as_dict(self) -> dict:
        """Return it as summary.json holds it: `confidence` and the fields, each a dict or None."""
        parts = ("unloaded", "loaded", "without_shared_step", "costs", "recommendation")
        values = {name: part and part.as_dict() for name in parts for part in (getattr(self, name),)}
        names = ("confidence", "looks", "unloaded_confidence", "unloaded_looks")
        own = {
            name: getattr(self, name) for name in (*names, "shared_steps", "own_steps", "baseline_ms", "candidate_ms")
        }
        return keep_finite({**own, **values})

    @property
    def confidence(self) -> float:
        """Of this look's intervals, but for that of unloaded pairs."""
        return looks.confidence(self.looks) if self.looks else 0.95

    @property
    def unloaded_confidence(self) -> float:
        """Of this look's interval of unloaded pairs: they have one where there are too few rounds for any other."""
        return looks.confidence(self.unloaded_looks) if self.unloaded_looks else 0.95


def find_answer(
    rounds: Sequence[TrialPair],
    measured: Sequence[Pairs],
    steps: Sequence[str],
    earlier: Sequence[float] = (),
    prices: Prices | None = None,
    shared_cores: bool = False,
    earlier_unloaded: Sequence[float] = (),
) -> Answer:
    """Find what trials and pairs of two arms say.

    Args:
        rounds: Both arms' trials of each round, as `pair_trials` returns them.
        measured: Unloaded pairs of the same arms.
        steps: The models that a request may pass.
        earlier: The seconds of trials that looks before this one rested on, ascending; later ones are left out.
        prices: Of CPU and bytes; None: the default ones.
        shared_cores: Whether client and server may run on the same core.
        earlier_unloaded: As `earlier`, the seconds of unloaded pairs.
    """
    loaded = compare_rounds(rounds, steps, measured)
    whole, same = keep_sound(rounds), find_same_steps(rounds, steps, measured)
    costs = find_costs(whole, prices or Prices())
    looked = end_looks(earlier, count_seconds(whole))
    recommendation = None
    if loaded and looked and not loaded.overloaded:
        recommendation = recommend(loaded.ratio, looked, costs)
    return Answer(
        unloaded=compare_pairs(measured, shared_cores),
        loaded=loaded,
        without_shared_step=find_difference_without_shared_step(whole, same),
        shared_steps=same,
        own_steps=find_own_steps(rounds, steps),
        costs=costs,
        recommendation=recommendation,
        looks=looked,
        unloaded_looks=end_looks(earlier_unloaded, sum(each.seconds for each in measured)),
        baseline_ms=mean_latency([baseline for baseline, _ in whole]),
        candidate_ms=mean_latency([candidate for _, candidate in whole]),
    )


def mean_latency(trials: Sequence[Trial]) -> float | None:
    """Return the mean latency in ms of all their requests together, as the tables have it; None without any."""
    return float(np.concatenate([trial.latency for trial in trials]).mean()) if trials else None


def end_looks(earlier: Sequence[float], seconds: float) -> tuple[float, ...]:
    """Return what each look rested on, from what the earlier ones did and this one does; empty if that is nothing."""
    return (*(each for each in earlier if each < seconds), seconds) if seconds else ()


def pair_trials(trials: Sequence[Trial], mode: str, baseline: str) -> list[TrialPair]:
    """Return (baseline's trial, candidate's trial) of each round in which both were measured to their end, by round.

    With --control it is the arm and its control, in that order. `trials` are of one workload.
    """
    rounds: dict[int, dict[bool, Trial]] = {}
    for trial in trials:
        if trial.mode == mode and trial.facts["complete"]:
            rounds.setdefault(trial.round, {})[trial.placement != baseline or bool(trial.control)] = trial
    pairs = [(each[False], each[True]) for _, each in sorted(rounds.items()) if len(each) == 2]
    # Twins are found by their place in the schedule: without the same schedule there are none.
    return [pair for pair in pairs if pair[0].schedule == pair[1].schedule and len({t.scheduled for t in pair}) == 1]


def keep_sound(rounds: Sequence[TrialPair]) -> list[TrialPair]:
    """Return the rounds that have arrivals, each with a good answer in both arms."""
    return [pair for pair in rounds if pair[0].scheduled and all(trial.sound for trial in pair)]


def count_seconds(rounds: Sequence[TrialPair]) -> float:
    """Return the seconds of both arms' schedules over these rounds: how much has been measured."""
    return float(sum(trial.seconds for pair in rounds for trial in pair))


def find_instant(pair: TrialPair) -> float:
    """Return the seconds at which a round began, on a clock that goes on between runs."""
    if all(trial.began for trial in pair):
        return min(trial.began for trial in pair)
    # Trials of older versions do not say it: one round after the other, then.
    return pair[0].round * 2 * pair[0].seconds


def compare_rounds(
    rounds: Sequence[TrialPair], steps: Sequence[str], measured: Sequence[Pairs] = ()
) -> LoadedPairs | None:
    """Compare the latencies of both arms under load, arrival by arrival; None without rounds that have arrivals.

    Unloaded pairs of the same arms, `measured`, show what the placements do to the network itself.
    """
    shared = find_shared_steps(rounds, steps)

    def cpu(trial: Trial) -> float | None:
        known = bool(shared) and all(step in trial.step_cpu for step in shared)
        return sum(trial.step_cpu[step] for step in shared) if known else None

    def make_round(baseline: Trial, candidate: Trial) -> LoadedRound:
        def mean(name: str) -> float | None:
            known = [getattr(trial, name) for trial in (baseline, candidate) if getattr(trial, name) is not None]
            return float(np.mean(known)) if known else None

        return LoadedRound(
            baseline.twins,
            candidate.twins,
            find_instant((baseline, candidate)),
            cpu(baseline),
            cpu(candidate),
            mean("others"),
            mean("client_others"),
            (baseline.earlier, candidate.earlier),
        )

    made = [make_round(*pair) for pair in rounds if pair[0].scheduled]
    return compare_loaded(made, compare_network(measured, shared)) if made else None


def is_precise(found: Sequence[LoadedPairs | None], share: float) -> bool:
    """Return whether the interval of every ratio is within +- this share."""
    return all(each is not None and each.ratio.half_width() <= np.log1p(share) for each in found)


def compare_pairs(measured: Sequence[Pairs], shared_cores: bool = False) -> UnloadedPairs | None:
    """Compare the service times of unloaded pairs; None without one that both arms answered."""
    measured = [each for each in measured if len(each.records)]
    if not measured:
        return None
    times, begins = np.concatenate([each.service_ms for each in measured]), 0.0
    instants: list[np.ndarray] = []
    for each in measured:
        instants.append(begins + each.instants)
        begins = float(instants[-1].max()) + SEAM
    if not np.isfinite(times).all(axis=1).any():
        return None
    # Where both use one core, its speed governs the whole request, and no part of it is apart.
    apart = None if shared_cores else find_share_apart(measured)
    return compare_unloaded(times[:, 0], times[:, 1], np.concatenate(instants), apart)


def find_share_apart(measured: Sequence[Pairs]) -> float:
    """Return the share of a request's time, 0 to 1, that the arms spend on different cores.

    It is what the client takes of a request, until it sends, in one arm less the same in the other.
    """
    records = np.concatenate([each.records[np.isfinite(each.service_ms).all(axis=1)] for each in measured])
    client, whole = (records[end] - records["began"] for end in ("sent", "done"))
    first, second = client.mean(axis=0) / whole.mean(axis=0)
    return float(abs(second - first))


def find_difference_without_shared_step(rounds: Sequence[TrialPair], shared: Sequence[str]) -> WithoutSharedStep | None:
    """Compare what is left of both arms without the shared steps; None where the server does not tell of any.

    `rounds` are those in which every arrival has an answer.
    """

    def spent(trial: Trial) -> np.ndarray:
        return np.array([sum(sum(trial.steps[step]["ms"].values()) for step in shared)])

    made = [
        StageRound(
            np.array([baseline.latency.mean()]),
            np.array([candidate.latency.mean()]),
            spent(baseline),
            spent(candidate),
            find_instant((baseline, candidate)),
            baseline.completed,
        )
        for baseline, candidate in rounds
        if shared and all(step in trial.steps for step in shared for trial in (baseline, candidate))
    ]
    known = bool(made) and all(min(each.baseline_shared_ms[0], each.candidate_shared_ms[0]) > 0 for each in made)
    return compare_without_shared_step(made) if known else None


def find_costs(rounds: Sequence[TrialPair], prices: Prices) -> Costs | None:
    """Compare what requests cost in both arms; None without rounds. In each of them every arrival has an answer."""
    if not rounds:
        return None

    def spent(trial: Trial) -> Spent:
        server = None if trial.server_cpu is None else trial.server_cpu / trial.scheduled
        return Spent(trial.client_cpu / trial.scheduled, server, count_bytes(trial.records) / trial.completed)

    pairs = [(spent(baseline), spent(candidate)) for baseline, candidate in rounds]
    return compare_costs(pairs, [find_instant(pair) for pair in rounds], prices)


def keep_finite(value: Any) -> Any:
    """Return the value with its tuples as lists, and None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: keep_finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [keep_finite(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
