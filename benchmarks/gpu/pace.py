"""How long each measurement takes: on a card, in few minutes of one (`--short`), and in a rehearsal (`--quick`)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Durations in seconds, and numbers of repetitions."""

    unloaded: float = 6.5
    """Of one size's unloaded requests, all arms together."""
    rounds: int = 12
    """Of unloaded requests: each holds a block of every arm, and intervals come from them."""
    probe: float = 1.7
    """Of one probe of a rate, at least."""
    closed: float = 1.2
    """Of clients that never pause."""
    around: float = 0.5
    """What a load takes beside its arrivals: clients build their pipelines, last answers come, statistics are read."""
    users: int = 32
    """Clients that never pause, all processes together: as many as a batch may hold."""
    bisections: int = 2
    turns: int = 2
    """Searches of a capacity; after the first they begin where that ended."""
    turns_of_arrivals: int = 1
    repetitions: int = 3
    """Of what has no rounds."""
    arrivals: float = 3.0
    """Of one arrival process at 70 % of capacity."""
    short: float = 0.8
    """Of one load on some cores, of which there are many."""
    shorts: int = 2
    """Repetitions of those."""
    counts: tuple[int, ...] = (1, 2, 4, 8)
    """Cores of the server, and processes of the client."""
    start: float = 4.0
    """Until a server with one model is up."""

    @property
    def load(self) -> float:
        """Of one probe with all that belongs to it."""
        return self.probe + self.around

    @property
    def saturation(self) -> float:
        """Of one load of clients that never pause, with all that belongs to it."""
        return self.closed + self.around


FULL = Pace()
SHORT = Pace(
    unloaded=4.0, rounds=8, probe=1.5, closed=1.0, bisections=1, turns=2, repetitions=3, arrivals=2.5, short=0.6
)  # fmt: skip
QUICK = Pace(
    unloaded=1.5,
    rounds=6,
    probe=0.8,
    closed=0.6,
    around=1.0,
    users=4,
    bisections=1,
    turns=1,
    repetitions=2,
    arrivals=1.0,
    short=0.5,
    counts=(1, 2),
    start=5.0,
)
