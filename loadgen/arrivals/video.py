"""Frames of cameras."""

from dataclasses import dataclass

import numpy as np

from loadgen.arrivals.checks import between, bounded, positive
from loadgen.arrivals.schedule import Arrivals

PHASES = ("random", "staggered", "synchronised")


@dataclass(frozen=True)
class Video(Arrivals):
    """Cameras of fps frames a second each, merged.

    Their phases are random (uniform over a frame, independent), staggered (evenly apart) or synchronised (all
    at 0). Every frame is late by a jitter of its own, uniform over [0, jitter) seconds: at most one frame
    long, so that no frame overtakes the one before. A camera draws from its own stream.
    """

    cameras: int
    fps: float
    phase: str = "random"
    jitter: float = 0.0

    def __post_init__(self):
        between(1, 100_000, cameras=self.cameras)
        positive(fps=self.fps)
        if self.phase not in PHASES:
            raise ValueError(f"phase must be one of {', '.join(PHASES)}, not {self.phase!r}")
        between(0, 1 / self.fps, jitter=self.jitter)

    def times(self, rng, seconds):
        bounded(self.cameras * (seconds * self.fps + 1))
        frames, cameras = np.arange(int(seconds * self.fps) + 1) / self.fps, []
        for i, stream in enumerate(rng.spawn(self.cameras)):
            phase = {"random": stream.random(), "staggered": i / self.cameras, "synchronised": 0.0}[self.phase]
            cameras.append(frames + phase / self.fps + stream.uniform(0, self.jitter, len(frames)))
        times = np.sort(np.concatenate(cameras))
        return times[times < seconds]
