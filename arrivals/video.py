"""Frames of several cameras, merged."""

from dataclasses import dataclass

import numpy as np

from arrivals.checks import check_between, check_count, check_positive
from arrivals.schedule import Arrivals

PHASES = ("random", "staggered", "synchronised")


@dataclass(frozen=True)
class Video(Arrivals):
    """`cameras` cameras that send `fps` frames per second each, merged.

    Their phases are random (independent and uniform over a frame), staggered (evenly apart) or synchronised (all 0).
    Every frame is late by a jitter of its own, uniform over [0, jitter) seconds; it is at most one frame long, so that
    no frame overtakes the one before. Every camera draws from a stream of its own.
    """

    cameras: int
    fps: float
    phase: str = "random"
    jitter: float = 0.0

    def __post_init__(self):
        check_between(1, 100_000, cameras=self.cameras)
        check_positive(fps=self.fps)
        if self.phase not in PHASES:
            raise ValueError(f"phase must be one of {', '.join(PHASES)}, not {self.phase!r}")
        check_between(0, 1 / self.fps, jitter=self.jitter)

    def draw_times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Draw every camera's frames and sort them together."""
        check_count(self.cameras * (seconds * self.fps + 1))
        # Phase and jitter only delay frames, so none after these can fall into the run.
        frames, cameras = np.arange(int(seconds * self.fps) + 1) / self.fps, []
        for i, stream in enumerate(rng.spawn(self.cameras)):
            phase = {"random": stream.random(), "staggered": i / self.cameras, "synchronised": 0.0}[self.phase]
            cameras.append(frames + phase / self.fps + stream.uniform(0, self.jitter, len(frames)))
        times = np.sort(np.concatenate(cameras))
        return times[times < seconds]
