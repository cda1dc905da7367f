"""The limits that docs/statistics.md tells are those that the simulation prints, and they are limits indeed."""

from scipy import stats

from tests.conftest import ROOT
from tests.simulations import limits


def misses(found, least: float = 0.93) -> bool:
    """Whether the intervals hold the truth less often than they should, for certain."""
    return stats.binom.cdf(found.hits, found.total, least) < 1e-3


def test_what_wanders_for_long_and_what_happens_in_one_round_of_twenty_is_beyond_the_intervals():
    assert misses(limits.drift(100, 30.0)) and not misses(limits.drift(100, 6.0), 0.9)
    assert misses(limits.outliers(100, 20))


def test_the_command_that_prints_the_limits_is_told():
    text = (ROOT / "docs" / "statistics.md").read_text()
    assert "`python -m tests.simulations.limits`" in text
