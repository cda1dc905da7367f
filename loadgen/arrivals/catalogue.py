"""All processes by name, and the closed loop, which is none: what a specification such as `poisson:rate=20` may say."""

from dataclasses import dataclass
from difflib import get_close_matches

from loadgen.arrivals import spec as specification
from loadgen.arrivals.checks import between, not_negative
from loadgen.arrivals.modulated import MMPP, OnOff
from loadgen.arrivals.renewal import Constant, Gamma, Pareto, Poisson, Uniform
from loadgen.arrivals.schedule import Arrivals
from loadgen.arrivals.time_varying import Ramp, Sine, Spike, Step
from loadgen.arrivals.trace import Trace
from loadgen.arrivals.video import Video


@dataclass(frozen=True)
class Closed(Arrivals):
    """Not a schedule: users who each wait for the answer, think for so many seconds, and ask again.

    The naive baseline: a slow server is asked less (Schroeder, Wierman & Harchol-Balter, NSDI '06).
    """

    users: int
    think: float = 0.0

    def __post_init__(self):
        between(1, 100_000, users=self.users)
        not_negative(think=self.think)

    def schedule(self, seconds, seed):
        """Raises ValueError."""
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
PROCESSES = {cls.__name__.lower(): cls for cls in EXAMPLES}


def parse(spec: str) -> Arrivals:
    """The process a specification names, e.g. `poisson:rate=20` or, positionally, `uniform:0.02,0.08`.

    Raises ValueError with one line that names the good ones and gives an example.
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
