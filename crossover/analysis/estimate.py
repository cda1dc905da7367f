"""An estimated effect with its standard error: what a design of a comparison comes to, and a rule starts from."""

from dataclasses import asdict, dataclass
from math import exp, inf, isfinite

from scipy.stats import t as student


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and degrees of freedom, so that it has an interval at any confidence.

    Of a ratio, `value` is the logarithm of candidate / baseline, and `ratio` and `ratios` take it back. Of a difference
    it is in the data's own unit.
    """

    value: float
    error: float
    """The standard error, with whatever widening its design asks for. Infinite: too little data for any interval."""
    freedom: float
    """Degrees of freedom of Student's t; infinite for a normal distribution, or where the value is known exactly."""

    def half_width(self, confidence: float = 0.95) -> float:
        """Return half the width of the two-sided interval, in the unit of `value`."""
        if self.error == 0 or not isfinite(self.error):
            return self.error
        return float(student.ppf((1 + confidence) / 2, self.freedom)) * self.error

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return (low, high) in the unit of `value`."""
        half = self.half_width(confidence)
        return self.value - half, self.value + half

    @property
    def ratio(self) -> float:
        """The ratio candidate / baseline, where `value` is its logarithm."""
        return exp(self.value)

    def ratios(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval of `ratio`: (0, inf) where there is too little data."""
        low, high = self.interval(confidence)
        # Beyond these a double is 0 or infinite.
        return exp(low) if low > -700 else 0.0, exp(high) if high < 700 else inf

    def as_dict(self) -> dict:
        """Return the fields for summary.json, with None for infinity, as JSON has no number for it."""
        return {name: value if isfinite(value) else None for name, value in asdict(self).items()}
