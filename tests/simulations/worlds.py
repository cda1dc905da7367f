"""A machine whose speed wanders, and two placements of the same pipeline on it.

The network runs on the server's core. The client decodes on its own core, or the server does so on the network's. Each
core's log speed is an Ornstein-Uhlenbeck process of its own, of standard deviation `speed` and correlation time
`memory`, which multiplies what is done on it. The truth is the same estimator's mean over a run of many hours.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

CLIENT, SERVER = 0, 1


@dataclass(frozen=True)
class World:
    """Seconds of work at mean speed; the baseline decodes on the client, the candidate on the server."""

    network: float = 0.08
    decoding: float = 0.007
    slower: float = 1.0
    """Factor by which the candidate's network is slower, without more CPU seconds: it waits for something."""
    dearer: float = 1.0
    """Factor by which the candidate's placement makes the network dearer, in CPU seconds and so in time: it loses its
    caches."""
    same: bool = False
    """Both arms decode on the client: A/A."""
    speed: float = 0.15
    memory: float = 6.0
    together: bool = False
    """One speed for both cores."""
    scatter: float = 0.03
    """Log standard deviation of each request's own noise; one in a hundred takes half as long again."""

    @property
    def apart(self) -> float:
        """The share of a request's time that the placements spend on different cores."""
        return 0.0 if self.same else self.decoding / (self.decoding + self.network)

    def wander(self, rng: np.random.Generator, speeds: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Log speeds (comparisons, 2 cores) after so many seconds (comparisons,): exact, however long they are."""
        kept = np.exp(-seconds / self.memory)[:, None]
        return kept * speeds + np.sqrt(1 - kept**2) * self.start(rng, len(speeds))

    def start(self, rng: np.random.Generator, comparisons: int) -> np.ndarray:
        drawn = rng.normal(0, self.speed, (comparisons, 2))
        return drawn[:, [SERVER, SERVER]] if self.together else drawn

    def noise(self, rng: np.random.Generator, comparisons: int) -> np.ndarray:
        return np.exp(rng.normal(0, self.scatter, comparisons)) * np.where(rng.random(comparisons) < 0.01, 1.5, 1)

    def on_server(self, candidate: np.ndarray) -> np.ndarray:
        return candidate & (not self.same)


def unloaded(world: World, comparisons: int, seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of requests, one at a time: (ms of shape (comparisons, 2 arms, pairs), instants (comparisons, pairs)).

    As many pairs as the slowest comparison fits into the time; the order of the arms is drawn for each pair.
    """
    rng = np.random.default_rng([seed, 1])
    speeds, now, rows = world.start(rng, comparisons), np.zeros(comparisons), np.arange(comparisons)
    pairs, instants = [], []
    while True:
        size, first = np.exp(rng.normal(0, 0.3, comparisons)), rng.random(comparisons) < 0.5
        ms, began = np.empty((comparisons, 2)), now
        for turn in (0, 1):
            candidate = first ^ bool(turn)
            own, there = np.exp(speeds).T
            decode = world.decoding * size * np.where(world.on_server(candidate), there, own)
            network = world.network * there * np.where(candidate, world.slower * world.dearer, 1)
            took = (decode + network) * world.noise(rng, comparisons)
            ms[rows, candidate.astype(int)] = took * 1e3
            speeds, now = world.wander(rng, speeds, took + 0.002), now + took + 0.002
        if now.max() > seconds:
            return np.stack(pairs, -1), np.stack(instants, -1)
        pairs.append(ms)
        instants.append(began)


@dataclass(frozen=True)
class Rounds:
    """What `loaded` draws, each array of shape (comparisons, rounds, 2 arms) but for the instants."""

    ratios: np.ndarray
    """(comparisons, rounds): mean log ratio of arrivals and their twins, candidate / baseline."""
    cpu: np.ndarray
    """CPU seconds of the network per inference, with 1.2 % of noise from the clock's ticks."""
    latency: np.ndarray
    """Mean ms from the due time."""
    shared: np.ndarray
    """Mean ms in the network's queue and compute."""
    instants: np.ndarray
    """(comparisons, rounds)."""


def loaded(
    world: World, comparisons: int, rounds: int, seed: int, rate: float = 5.5, seconds: float = 2.2, gap: float = 0.25
) -> Rounds:
    """Rounds of two trials: Poisson arrivals at a single-server queue, the same ones for both arms, in drawn order.

    Each trial begins with an empty queue and lasts until the last answer; `gap` seconds lie between two of them.
    """
    rng = np.random.default_rng([seed, 2])
    most, rows = int(rate * seconds + 5 * np.sqrt(rate * seconds) + 3), np.arange(comparisons)
    speeds, now, drawn = world.start(rng, comparisons), np.zeros(comparisons), []
    for _ in range(rounds):
        due = np.cumsum(rng.exponential(1 / rate, (comparisons, most)), 1)
        due[:, 0] = np.minimum(due[:, 0], seconds)
        there, size = due <= seconds, np.exp(rng.normal(0, 0.3, (comparisons, most)))
        first, began, count = rng.random(comparisons) < 0.5, now, there.sum(1)
        logs, cpu, whole, shared = (np.zeros((comparisons, 2)) for _ in range(4))
        for turn in (0, 1):
            candidate = first ^ bool(turn)
            arm, decodes = candidate.astype(int), world.on_server(candidate)
            free, seen = np.zeros(comparisons), np.zeros(comparisons)
            for i in range(most):
                on, at = there[:, i], np.maximum(due[:, i], free)
                speeds = world.wander(rng, speeds, np.where(on, at - seen, 0))
                seen = np.where(on, at, seen)
                mine, server = np.exp(speeds).T
                decode = world.decoding * size[:, i]
                dearer = np.where(candidate, world.dearer, 1)
                network = world.network * server * world.noise(rng, comparisons) * dearer
                network *= np.where(candidate, world.slower, 1)
                ready = due[:, i] + np.where(decodes, 0, decode * mine)
                here = np.where(decodes, decode * server, 0)
                start = np.maximum(ready, free) + here
                done = start + network
                free = np.where(on, done, free)
                for kept, value in (
                    (logs, np.log(done - due[:, i])),
                    (whole, (done - due[:, i]) * 1e3),
                    (shared, (done - ready - here) * 1e3),
                    (cpu, world.network * server * dearer * np.exp(rng.normal(0, 0.02, comparisons))),
                ):
                    kept[rows, arm] += np.where(on, value, 0) / count
            length = np.maximum(seconds, free)
            speeds, now = world.wander(rng, speeds, length - seen + gap), now + length + gap
        cpu *= np.exp(rng.normal(0, 0.012, cpu.shape))
        drawn.append((logs[:, 1] - logs[:, 0], cpu, whole, shared, began))
    return Rounds(*(np.stack(each, 1) for each in zip(*drawn, strict=True)))


def network(world: World, comparisons: int, seconds: float, seed: int, scatter: float = 0.02) -> list[np.ndarray]:
    """Log ratios of the network's CPU seconds in unloaded pairs, for each comparison: both requests of a pair meet
    nearly the same speed."""
    rng = np.random.default_rng([seed, 3])
    apart = np.sqrt(2 * scatter**2 + 2 * world.speed**2 * (1 - np.exp(-world.network / world.memory)))
    pairs = int(seconds / 2 / (world.network + world.decoding))
    return list(np.log(world.dearer) + rng.normal(0, apart, (comparisons, pairs)))


@cache
def unloaded_truth(world: World, seconds: float = 300.0) -> float:
    """The mean log ratio over 300 runs of five minutes: known to about 0.03 %."""
    ms, _ = unloaded(world, 300, seconds, 10_000)
    return float(np.log(ms[:, 1] / ms[:, 0]).mean())


@cache
def loaded_truth(world: World, rate: float = 5.5, seconds: float = 2.2) -> float:
    """The mean log ratio of 40,000 rounds, adjusted for the difference in speed that is left in them."""
    drawn = loaded(world, 400, 100, 20_000, rate, seconds)
    speeds, ratios = np.log(drawn.cpu[..., 1] / drawn.cpu[..., 0] / world.dearer).ravel(), drawn.ratios.ravel()
    return float(ratios.mean() - np.cov(ratios, speeds)[0, 1] / speeds.var() * speeds.mean())


AA = World(same=True)
WORLDS = {
    "photographs": World(),
    "photographs, decoding a sixth": World(decoding=0.012, network=0.075),
    "A/A": AA,
    "server 10 % slower": replace(AA, slower=1.1),
    "network 6 % dearer": replace(AA, dearer=1.06),
    "network 2 % dearer": World(dearer=1.02),
    "one speed for both cores": World(together=True),
    "quiet, sd 5 %": World(speed=0.05),
}
