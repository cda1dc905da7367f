"""What a change did to each arm: the trials of two runs with the same schedules, twin by twin.

The runs did not take turns. So their conditions are compared first (crossover.measurement.conditions). The ratios are
never adjusted for the network's CPU seconds per inference, as the change itself may have moved these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from crossover.analysis.answer import Answer, TrialPair, find_answer, keep_sound
from crossover.analysis.comparison import DECIDING, compare, compare_answers, judge, with_interval
from crossover.analysis.estimate import Estimate
from crossover.analysis.recommendation import MARGIN
from crossover.analysis.remarks import describe_trust
from crossover.analysis.unloaded_pairs import mean_over_time
from crossover.analysis.verdict import BASELINE, CANDIDATE, Comparison
from crossover.analysis.wording import count
from crossover.measurement.pairs import Pairs
from crossover.measurement.trial import Trial

NAMES = ("before", "after")
WHY_PLAIN = "the change may be in the shared model's CPU seconds"


@dataclass(frozen=True)
class Change:
    """What a change did to one arm: ratios are after / before."""

    arm: str
    """Where two arms are compared with each other, what their names have in common, and both where they differ."""
    answer: Answer
    comparisons: tuple[Comparison, ...]
    """Latency at the load first, if any round is compared."""
    arms: tuple[str, ...] = ()
    """The two arms, where they are different ones."""

    @property
    def ratio(self) -> Estimate | None:
        """The logarithm of the ratio of latency at the load; None without a round."""
        return self.answer.loaded.ratio if self.answer.loaded and self.answer.loaded.rounds else None

    @property
    def is_judged(self) -> bool:
        """Whether the arm is known to carry the load or not, and if it does, its ratio has an interval."""
        loaded = self.answer.loaded
        return bool(loaded and loaded.overloaded) or (self.ratio is not None and isfinite(self.ratio.error))

    def is_worse(self, share: float) -> bool:
        """Return whether latency is worse by that share or more, and certainly worse at all.

        That is a one-sided question, so the one-sided bound answers it, at this look's confidence. An arm that carried
        the load before and does not after is worse, too.
        """
        loaded = self.answer.loaded
        if loaded and loaded.overloaded == (CANDIDATE,):
            return True
        return self.at_least > 1 and self.ratio is not None and self.ratio.ratio >= 1 + share

    @property
    def at_least(self) -> float:
        """The one-sided lower bound of the ratio; 0 where latencies are not compared."""
        found = self.answer.recommendation
        return found.at_least if found and self.ratio is not None else 0.0

    @property
    def sentence(self) -> str:
        """What happened to the arm, in one sentence."""
        loaded = self.answer.loaded
        if loaded and loaded.overloaded:
            named = " and ".join(NAMES[(BASELINE, CANDIDATE).index(arm)] for arm in loaded.overloaded)
            return f"{self.arm}: it does not carry this load {named}, so that latencies are not compared."
        if self.ratio is None or loaded is None:
            return f"{self.arm}: undecided, as no round has an answer to every arrival in both runs."
        row = self.comparisons[0]
        if row.low is None or row.high is None:
            return (
                f"{self.arm}: undecided: {row.ratio:.3g} over {count(loaded.rounds, 'round')}, too few for an interval."
            )
        ratio = f"latency after/before is {row.ratio:.3g} [{row.low:.3g}, {row.high:.3g}]"
        words = {BASELINE: "slower after the change", CANDIDATE: "quicker after the change"}
        words |= {"equivalent": f"no change of more than {MARGIN * 100:g} %"}
        kind = row.kind
        if row.low <= 1 < self.at_least and kind != "equivalent":
            kind, ratio = BASELINE, f"{ratio} (at least {self.at_least:.3g} with 95 % confidence)"
        trust = describe_trust(self.answer)
        return f"{self.arm}: {words.get(kind, 'undecided')}: {ratio}." + (f" {trust}" if trust else "")


def compare_runs(
    before: Sequence[Trial],
    after: Sequence[Trial],
    workloads: Mapping[str, Mapping],
    pairs: tuple[Mapping[str, Sequence[Pairs]], Mapping[str, Sequence[Pairs]]] = ({}, {}),
) -> list[Change]:
    """Compare each arm with itself in another run, in rounds of one number that had the same schedule.

    Arms and rounds that only one run has are left out. `workloads` are run.json's, for their steps and SLO; `pairs`
    are both runs' unloaded pairs, by workload.
    """
    earlier = {(trial.arm, trial.round): trial for trial in before if trial.facts["complete"]}
    rounds: dict[str, list[TrialPair]] = {}
    for trial in sorted(after, key=lambda trial: trial.round):
        twin = earlier.get((trial.arm, trial.round))
        same = twin and (twin.schedule, twin.scheduled) == (trial.schedule, trial.scheduled)
        if twin and same and trial.facts["complete"]:
            rounds.setdefault(trial.arm, []).append((twin, trial))
    return [compare_arm(arm, each, workloads.get(each[0][0].workload, {}), pairs) for arm, each in rounds.items()]


def compare_arm(
    arm: str,
    rounds: Sequence[TrialPair],
    described: Mapping,
    pairs: tuple[Mapping[str, Sequence[Pairs]], Mapping[str, Sequence[Pairs]]] = ({}, {}),
    names: tuple[str, str] = NAMES,
    arms: tuple[str, ...] = (),
) -> Change:
    """Compare one arm's rounds in two runs, and its unloaded requests.

    `names` are what the two are called. Where they are different arms, `arms` names both.
    """
    answer = find_answer(rounds, (), described.get("steps", ()))
    if answer.loaded:
        answer = replace(answer, loaded=replace(answer.loaded, why_plain=WHY_PLAIN))
    rows = compare_answers(answer, rounds, (), names)
    first = rounds[0][0]
    measured = [each.get(first.workload, ()) for each in pairs]
    if alone := compare_alone([collect_unloaded(each, first) for each in measured], answer.confidence):
        rows.insert(1, alone)
    sound = keep_sound(rounds)
    metrics = compare(sound, described.get("slo_ms"), confidence=answer.confidence, names=names)
    return Change(arm, answer, (*rows, *metrics), arms)


def collect_unloaded(measured: Sequence[Pairs], trial: Trial) -> tuple[np.ndarray, float]:
    """Return (ms of the trial's placement one request at a time, seconds in which they were measured)."""
    # Arms are written `image client sequential`, with a control's name behind it.
    wanted = [trial.workload, trial.placement, "sequential", *([trial.control] if trial.control else [])]
    times = [each.service_ms[:, side] for each in measured for side in (0, 1) if each.arms[side] == " ".join(wanted)]
    every = np.concatenate(times) if times else np.empty(0)
    return every[np.isfinite(every)], sum(each.seconds for each in measured)


def compare_alone(sides: Sequence[tuple[np.ndarray, float]], confidence: float) -> Comparison | None:
    """Return the row of unloaded latency; None where a run has none. The runs' errors add up, as they are unrelated."""
    if not all(len(times) for times, _ in sides):
        return None
    means = [mean_over_time(np.log(times), seconds)[0] for times, seconds in sides]
    error = float(np.hypot(means[0].error, means[1].error))
    ratio = Estimate(means[1].value - means[0].value, error, min(each.freedom for each in means))
    baseline, candidate = (float(np.exp(each.value)) for each in means)
    row = Comparison(
        DECIDING[1],
        "ms",
        baseline,
        candidate,
        ratio.ratio,
        min(len(times) for times, _ in sides),
        False,
        MARGIN,
        confidence,
        names=NAMES,
    )
    return judge(with_interval(row, ratio))
