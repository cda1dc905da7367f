"""The result of comparing two arms by one metric: a baseline, and a candidate to take its place."""

from dataclasses import asdict, dataclass

BASELINE, CANDIDATE = "baseline", "candidate"
"""The first and the second arm of a pair: ratios are candidate / baseline."""


def is_equivalent(low: float, high: float, margin: float) -> bool:
    """Return whether the whole interval of a ratio lies between 1 / (1 + margin) and 1 + margin."""
    return low >= 1 / (1 + margin) and high <= 1 + margin


@dataclass(frozen=True)
class Comparison:
    """Both arms' figures and their ratio, with its interval and verdict.

    summary.json holds `as_dict()` of each.
    """

    metric: str
    unit: str
    baseline: float | None
    """Over all rounds: a percentile of the pooled requests, or a quotient of sums. None: not measured."""
    candidate: float | None
    ratio: float | None
    """The second arm's figure over the first's, candidate / baseline."""
    rounds: int
    higher_is_better: bool
    margin: float
    """Ratios between 1 / (1 + margin) and 1 + margin count as equivalent."""
    confidence: float
    names: tuple[str, str] = (BASELINE, CANDIDATE)
    """The arms' names: their placements, or others where an arm is compared with itself."""
    low: float | None = None
    high: float | None = None
    """Limits of the ratio's interval; None where there are too little data for one."""
    unadjusted: float | None = None
    """The ratio as measured, where `ratio` is adjusted for the machine's speed; else None."""
    kind: str = "undecided"
    """'undecided', 'equivalent', or the better arm: 'baseline' or 'candidate'."""
    verdict: str = ""
    """`kind` in words, for the table."""

    @property
    def better(self) -> str:
        """The better arm's name; the first arm's where neither is better."""
        return self.names[self.kind == CANDIDATE]

    def as_dict(self) -> dict:
        """Return the fields as plain JSON values."""
        return asdict(self)
