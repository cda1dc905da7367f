"""The conclusion of the client modes: a sentence for each question, about every placement and every workload."""

from collections.abc import Mapping

from common.figures import ratio
from crossover.analysis.verdict import is_equivalent
from crossover.analysis.wording import join
from crossover.experiments.burst_shapes import CAMERAS

MARGIN = 0.05
"""Ratios between 1 / (1 + MARGIN) and 1 + MARGIN count as equivalent: of so many intervals some miss 1 by chance."""
EQUIVALENT, UNDECIDED, TOO_FEW = "equivalent", "undecided", "too few rounds"
SUBJECTS = {
    "sequential /": "Sending one request at a time, instead of asynchronously,",
    "threads:": "Threads that wait for their answers ({}), instead of asynchronous sending,",
    "async:": "More workers that preprocess ({} instead of {})",
    "Poisson / uniform, async": "Poisson arrivals, instead of uniform ones of the same mean rate,",
    "random phase": f"Video of {CAMERAS} cameras of random phase, instead of Poisson arrivals,",
    "synchronised": f"Video of {CAMERAS} synchronised cameras, instead of Poisson arrivals,",
}
"""How a question begins -> the beginning of its sentence."""


def verdict(contrast: Mapping) -> str:
    """Return what a ratio with its 95 % interval shows.

    `more` or `less` if the interval does not hold 1 and the ratio is beyond MARGIN; `equivalent` if the whole interval
    is within it; else `undecided`, or `too few rounds` without an interval.
    """
    value, low, high = contrast["value"], contrast["low"], contrast["high"]
    if low is None or high is None:
        return TOO_FEW
    if is_equivalent(low, high, MARGIN):
        return EQUIVALENT
    if low > 1 and value > 1 + MARGIN:
        return "more"
    return "less" if high < 1 and value < 1 / (1 + MARGIN) else UNDECIDED


def verdicts(contrast: Mapping, tail: str) -> str:
    """Return the verdicts of p50 and tail: one word if they agree."""
    p50, other = (verdict(contrast[key]) for key in ("p50", "tail"))
    return p50 if p50 == other else f"p50: {p50}; {tail}: {other}"


def conclude(workloads: Mapping) -> list[str]:
    """Return a sentence for each question about the workloads of study.json; none for one that was not measured."""
    sentences = []
    for begins, subject in SUBJECTS.items():
        found = [
            (about, contrast)
            for about in workloads.values()
            for contrast in about["contrasts"]
            if contrast["question"].startswith(begins)
        ]
        if found:
            sides = found[0][1]["question"].split(" / ")
            sentences.append(f"{subject.format(*sides)} {describe_effect(found)}.")
    return sentences


def describe_effect(found: list[tuple[Mapping, Mapping]]) -> str:
    """Write the end of a sentence: what a contrast made longer or shorter, what not by 5 %, and what is undecided.

    `found` holds (its workload, the contrast) for every workload and placement.
    """
    made: list[str] = []
    alike: list[tuple[str, str, str]] = []
    undecided: list[tuple[str, str, str]] = []
    judged = False
    for about, contrast in found:
        for metric in ("p50", "tail"):
            name, word = metric.replace("tail", f"p{about['tail']}"), verdict(contrast[metric])
            judged |= word != TOO_FEW
            if word in ("more", "less"):
                cell = f"the {name} of {about['subject']} ({contrast['placement']})"
                made.append(f"{cell} {'longer' if word == 'more' else 'shorter'} ({times(contrast[metric])})")
            else:
                cells = alike if word == EQUIVALENT else undecided
                cells.append((about["subject"], contrast["placement"], name))
    if not judged:
        return "cannot be judged from so few rounds"
    parts = [f"made {join(made)}"] if made else []
    parts += [f"made no difference over {MARGIN * 100:.2g} % to {group(alike)}"] if alike else []
    parts += [f"had an undecided effect on {group(undecided)}"] if undecided else []
    return "; ".join(parts)


def group(cells: list[tuple[str, str, str]]) -> str:
    """List cells (subject, placement, percentile): `p50 and p99 of photographs (client and server)`."""
    percentiles: dict[tuple[str, str], list[str]] = {}
    for subject, placement, name in cells:
        percentiles.setdefault((subject, placement), []).append(name)
    placements: dict[tuple[str, str], list[str]] = {}
    for (subject, placement), names in percentiles.items():
        placements.setdefault((subject, join(names)), []).append(placement)
    return join([f"{names} of {subject} ({join(each)})" for (subject, names), each in placements.items()])


def times(contrast: Mapping) -> str:
    """Write a ratio with its interval: `1.32 [1.1, 1.5]`."""
    return ratio(contrast["value"], contrast["low"], contrast["high"])
