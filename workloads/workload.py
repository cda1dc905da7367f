"""What is asked: the two pipelines as a client sees them, each with its input in two forms."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np

import preprocess.image

Preprocessor = Callable[[bytes], np.ndarray]


@dataclass(frozen=True)
class Target:
    """A served model as a client sees it: one input, the outputs asked for."""

    model: str
    input: str
    outputs: tuple[str, ...] = ("logits",)


@dataclass(frozen=True)
class Workload:
    """One question asked two ways: the same bytes, the same answer, two places to preprocess."""

    name: str
    client: Target
    server: Target
    steps: tuple[str, ...]
    """The models a request may pass through, in order; their statistics are reported."""
    libraries: dict[str, Callable[[], Preprocessor]]
    """Makers of client-side preprocessors; each is called once per worker thread."""
    suffixes: tuple[str, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """All that a server must have for it."""
        return tuple(dict.fromkeys((*self.steps, self.client.model, self.server.model)))


IMAGE = Workload(
    name="image",
    client=Target("resnet50", "pixels"),
    server=Target("image", "encoded"),
    steps=("image_preprocess", "resnet50"),
    libraries=preprocess.image.LIBRARIES,
    suffixes=(".jpg", ".jpeg", ".png", ".webp"),
)
AUDIO = Workload(
    name="audio",
    client=Target("wav2vec2", "waveform"),
    server=Target("audio", "encoded"),
    steps=("audio_preprocess", "wav2vec2", "ctc_decode"),
    libraries={"librosa": lambda: import_module("preprocess.audio").waveform},
    suffixes=(".wav", ".flac", ".ogg", ".mp3"),
)
WORKLOADS = {workload.name: workload for workload in (IMAGE, AUDIO)}


