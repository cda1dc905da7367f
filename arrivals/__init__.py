"""When requests arrive: a schedule of absolute due times, made before the run from a seed.

A process knows gaps, or due times, and nothing else. `parse("poisson:rate=20").schedule(seconds=60, seed=1)`
gives the due times; the same specification, length and seed give the same schedule on every machine, and a
longer run begins like a shorter one. Times are in seconds, rates in arrivals per second.

    crossover arrivals gamma:rate=20,cv=3 --seconds 60 --seed 1
"""

from arrivals.catalogue import EXAMPLES, Closed, parse
from arrivals.modulated import MMPP, OnOff
from arrivals.renewal import Constant, Gamma, Pareto, Poisson, Uniform
from arrivals.schedule import Arrivals, Schedule
from arrivals.time_varying import Ramp, Sine, Spike, Step
from arrivals.trace import Trace
from arrivals.video import Video

__all__ = [
    "EXAMPLES",
    "MMPP",
    "Arrivals",
    "Closed",
    "Constant",
    "Gamma",
    "OnOff",
    "Pareto",
    "Poisson",
    "Ramp",
    "Schedule",
    "Sine",
    "Spike",
    "Step",
    "Trace",
    "Uniform",
    "Video",
    "parse",
]
