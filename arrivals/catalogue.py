"""Every arrival process by name, and the closed loop, which is none; parses specifications like `poisson:rate=20`."""

from dataclasses import dataclass
from difflib import get_close_matches

from arrivals import spec as specification
from arrivals.checks import check_between, check_not_negative
from arrivals.modulated import MMPP, OnOff
from arrivals.renewal import Constant, Gamma, Pareto, Poisson, Uniform
from arrivals.schedule import Arrivals, Schedule
from arrivals.time_varying import Ramp, Sine, Spike, Step
from arrivals.trace import Trace
from arrivals.video import Video


@dataclass(frozen=True)
class Closed(Arrivals):
    """A closed loop: each of `users` waits for the answer, thinks for `think` seconds, and asks again.

    The naive baseline, under which a slow server is asked less (Schroeder, Wierman & Harchol-Balter, NSDI '06). It has
    no schedule.
    """

    users: int
    think: float = 0.0

    def __post_init__(self):
        check_between(1, 100_000, users=self.users)
        check_not_negative(think=self.think)

    def schedule(self, seconds: float, seed: int) -> Schedule:
        """Raise ValueError: a closed loop has no schedule."""
        raise ValueError(f"arrivals {str(self)!r} have no schedule: when a user asks again depends on the answers")


EXAMPLES = {
    Constant: "constant:rate=20",
    Uniform: "uniform:min=0.02,max=0.08",
    Poisson: "poisson:rate=20",
    Gamma: "gamma:rate=20,cv=3",
    Pareto: "pareto:rate=20,alpha=1.5",
    OnOff: "onoff:on_rate=100,on=1,off=4",
    MMPP: "mmpp:rates=5/50/200,durations=10/2/0.5",
    Ramp: "ramp:from=5,to=50,over=60",
    Step: "step:rates=5/10/20/40,every=15",
    Spike: "spike:rate=10,peak=100,at=20,lasts=5",
    Sine: "sine:rate=20,amplitude=0.8,period=30",
    Video: "video:cameras=16,fps=30,phase=random,jitter=0.005",
    Trace: "trace:file=arrivals.csv",
    Closed: "closed:users=8,think=0.5",
}
"""Process -> a specification of it."""
PROCESSES = {cls.__name__.lower(): cls for cls in EXAMPLES}


def parse(spec: str) -> Arrivals:
    """Return the process that a specification names, e.g. `poisson:rate=20` or, by position, `uniform:0.02,0.08`.

    Raises ValueError with one line that names the processes and gives an example.
    """
    name, _, text = spec.strip().partition(":")
    if name not in PROCESSES:
        near = get_close_matches(name, PROCESSES, 1) or ["poisson"]
        example = EXAMPLES[PROCESSES[near[0]]]
        raise ValueError(f"unknown arrivals {spec!r}; try one of {', '.join(PROCESSES)}, e.g. {example}")
    try:
        return specification.read(PROCESSES[name], text)
    except ValueError as error:
        raise ValueError(f"arrivals {spec!r}: {error}; e.g. {EXAMPLES[PROCESSES[name]]}") from None
