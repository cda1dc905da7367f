"""One mean load in many shapes, from evenly spaced arrivals to very bursty ones, and schedules that offer just it."""

from collections.abc import Callable

from arrivals import Arrivals, Gamma, Schedule, Video

CAMERAS = 16
CVS = (0, 1, 2, 4)


def bursts() -> dict[str, tuple[Callable[[float], Arrivals], float]]:
    """Name -> the process for a rate (per second), and the coefficient of variation of its gaps."""
    shapes = {f"cv {cv}": (lambda rate, cv=cv: Gamma(rate, cv), float(cv)) for cv in CVS}
    return {**shapes, "video": (lambda rate: Video(CAMERAS, rate / CAMERAS, "synchronised"), (CAMERAS - 1) ** 0.5)}


def exactly(make: Callable[[float], Arrivals], rate: float, n: int, seed: int) -> Schedule:
    """Schedule n arrivals in n / rate seconds of the process that `make` gives for a rate.

    The rate is set so that the seed's arrival n + 1 would be the first beyond the end. Of Poisson arrivals that is the
    process given its count; a bursty one's count would otherwise be off by cv / sqrt(n), and so would the load.
    """
    seconds = 2.0 * n
    while len(times := make(1.0).schedule(seconds, seed).times) <= n:
        seconds *= 2
    end = times[n] - 1e-6 * max(times[n] - times[n - 1], 1e-3)
    return make(rate * end / n).schedule(n / rate, seed)
