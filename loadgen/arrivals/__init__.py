"""When requests arrive: a schedule of absolute due times, made before the run from a seed.

A process knows gaps, or due times, and nothing else. `parse("poisson:rate=20").schedule(seconds=60, seed=1)`
gives the due times; the same specification, length and seed give the same schedule on every machine, and a
longer run begins like a shorter one. Times are in seconds, rates in arrivals per second.

    crossover arrivals gamma:rate=20,cv=3 --seconds 60 --seed 1
"""

from loadgen.arrivals.catalogue import EXAMPLES, Closed, parse
from loadgen.arrivals.modulated import MMPP, OnOff
from loadgen.arrivals.renewal import Constant, Gamma, Pareto, Poisson, Uniform
from loadgen.arrivals.schedule import Arrivals, Schedule
from loadgen.arrivals.time_varying import Ramp, Sine, Spike, Step
from loadgen.arrivals.trace import Trace
from loadgen.arrivals.video import Video

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
