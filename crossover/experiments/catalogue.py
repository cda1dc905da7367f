"""The experiments that leave a directory, by the name that its run.json has: what a report needs of each."""

from crossover.experiments.capacity.result import KIND as CAPACITY
from crossover.experiments.client_modes.result import KIND as CLIENT_MODES
from crossover.experiments.compare.result import KIND as COMPARE
from crossover.experiments.efficiency.result import KIND as EFFICIENCY
from crossover.experiments.load.result import KIND as LOAD
from crossover.experiments.placements.result import KIND as PLACEMENTS
from crossover.experiments.sweep.result import KIND as SWEEP
from crossover.report.kind import Kind

KINDS = (COMPARE, PLACEMENTS, LOAD, CAPACITY, SWEEP, EFFICIENCY, CLIENT_MODES)
EXPERIMENTS: dict[str, Kind] = {kind.name: kind for kind in KINDS}
"""In the order in which a page shows them."""


def find_kind(name: str) -> Kind:
    """Return the experiment of that name. Raises ValueError if there is none, with the names that there are."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; try one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
