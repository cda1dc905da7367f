"""What one metric's comparison of two arms came to."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Comparison:
    """A figure of both arms and their ratio, with its interval and verdict. summary.json holds `as_dict()` of each."""

    metric: str
    unit: str
    client: float | None
    """Over all rounds: a percentile of the pooled requests, a quotient of sums. None: not known."""
    server: float | None
    ratio: float | None
    """server / client"""
    rounds: int
    higher_is_better: bool
    margin: float
    confidence: float
    names: tuple[str, str] = ("client", "server")
    """What the arms are called in words: otherwise, where one is compared to itself."""
    low: float | None = None
    high: float | None = None
    """The interval of the ratio; None where there is too little data for one."""
    kind: str = "undecided"
    """Or 'equivalent', or the better one: 'client' or 'server'."""
    verdict: str = ""
    more_rounds: int | None = None
    """About how many would decide what is undecided; None where no number can be given."""

    def as_dict(self) -> dict:
        return asdict(self)
