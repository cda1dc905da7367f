"""One mean load in many shapes, from evenly spaced arrivals to very bursty ones."""

from collections.abc import Callable

from crossover.experiments.capacity.search import ALLOWED
from loadgen.arrivals import Arrivals, Gamma, Video
from loadgen.samples.early_stopping import required_requests

CAMERAS = 16
CVS = (0, 1, 2, 4)


def bursts() -> dict[str, tuple[Callable[[float], Arrivals], float]]:
    """Name -> the process for a rate, and the cv of its gaps."""
    shapes = {f"cv {cv}": (lambda rate, cv=cv: Gamma(rate, cv), float(cv)) for cv in CVS}
    return {**shapes, "video": (lambda rate: Video(CAMERAS, rate / CAMERAS, "synchronised"), (CAMERAS - 1) ** 0.5)}


def burst(percentile: float) -> int:
    """Requests of a block of the burstiness table: whole frames of the cameras."""
    return CAMERAS * -(-required_requests(percentile, ALLOWED) // CAMERAS)
