"""What is swept: a quantity, its values, and what a comparison at each of them needs."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np

from crossover.experiments.sweep.network_link import BYTES
from workloads.payloads import CLIPS, Payload, photograph_files, read
from workloads.workload import AUDIO, IMAGE, WORKLOADS, Workload

SIZES = ((500, 375), (1280, 853), (1920, 1080), (4032, 3024))
LENGTHS, RATES = (2, 5, 15, 30), (16_000, 48_000)
WORKERS = (1, 2, 4)
LINKS = (10, 100, 1000)
NAMES = ("size", "network", "workers", "cores")


@dataclass(frozen=True)
class Place:
    """Where the server runs: on so many cores (0: half of them), and at the far end of a link or not."""

    cores: int = 0
    linked: bool = False


@dataclass(frozen=True)
class Point:
    x: float
    label: str
    sent: Callable[[], list[Payload]]
    place: Place = Place()
    client_cores: int = 0
    """0: all that the server leaves."""
    workers: int = 0
    """0: as many as the client has cores."""
    mbit: float = 0.0


@dataclass(frozen=True)
class Sweep:
    title: str
    workload: Workload
    unit: str
    points: tuple[Point, ...]
    forms: dict[str, Workload] = field(default_factory=dict)
    """What the client may send, by its name in titles; the server's arm is the same for all."""

    @property
    def clients(self) -> dict[str, Workload]:
        return self.forms or {"": self.workload}

    def at(self, place: Place) -> list[Point]:
        return [point for point in self.points if point.place == place]

    @property
    def slug(self) -> str:
        return f"{self.workload.name}-{self.title.replace(' ', '-')}"


def planned(names: Sequence[str], workloads: Sequence[str], cores: int) -> tuple[list[Sweep], list[str]]:
    """(the sweeps, in the order of the names, and why others are left out) on a machine with that many cores."""
    chosen, left_out = [], []
    for name in names:
        if name == "cores" and cores < 3:
            left_out.append(f"client and server cores are not swept: that takes 3 cores or more, here are {cores}")
            continue
        made = [sweep for sweep in SWEEPS[name](cores) if sweep.workload.name in workloads]
        chosen += made
    return chosen, left_out


def size(cores: int) -> list[Sweep]:
    images = tuple(Point(w * h / 1e6, f"{w}x{h}", partial(photographs, w, h)) for w, h in SIZES)
    found = [Sweep("image size", IMAGE, "megapixels", images)]
    for rate in RATES:
        points = tuple(Point(s, f"{s}s-{rate // 1000}k", partial(clips, s, rate)) for s in LENGTHS)
        found.append(Sweep(f"clip length at {rate // 1000} kHz", AUDIO, "seconds", points))
    return found


TYPICAL = {"image": lambda: photographs(1280, 853), "audio": lambda: clips(5, 48_000)}


def workers(cores: int) -> list[Sweep]:
    def points(name: str) -> tuple[Point, ...]:
        return tuple(Point(n, f"workers-{n}", TYPICAL[name], workers=n) for n in WORKERS)

    return [Sweep("client workers", WORKLOADS[name], "threads", points(name)) for name in TYPICAL]


def network(cores: int) -> list[Sweep]:
    def points(name: str) -> tuple[Point, ...]:
        return tuple(Point(m, f"{m}mbit", TYPICAL[name], Place(linked=True), mbit=m) for m in LINKS)

    forms = {"FP32 tensor": IMAGE, "UINT8 tensor": BYTES}
    return [
        Sweep("link rate", IMAGE, "Mbit/s", points("image"), forms),
        Sweep("link rate", AUDIO, "Mbit/s", points("audio"), {"FP32 tensor": AUDIO}),
    ]


def cores(available: int) -> list[Sweep]:
    """One side on 1, 2, 4, ... cores, the other on one."""
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n < available]

    def client(name: str) -> tuple[Point, ...]:
        return tuple(Point(n, f"client-{n}", TYPICAL[name], Place(1), client_cores=n) for n in counts)

    def server(name: str) -> tuple[Point, ...]:
        return tuple(Point(n, f"server-{n}", TYPICAL[name], Place(n), client_cores=1) for n in counts)

    sides = {"client cores": client, "server cores": server}
    return [Sweep(title, WORKLOADS[name], "cores", points(name)) for title, points in sides.items() for name in TYPICAL]


SWEEPS = {"size": size, "network": network, "workers": workers, "cores": cores}


def lengths(rates: Sequence[float], arms: int, rounds: int, seconds: float, least: int, most: int) -> list[float]:
    """Seconds of a trial at each point, so that all have as many arrivals in the time there is; 0: left out.

    The slowest points are left out until trials of the others hold at least that many arrivals.
    """
    result = [0.0] * len(rates)
    kept = sorted(range(len(rates)), key=lambda i: rates[i])
    while kept:
        each = arms * rounds * sum(1 / rates[i] for i in kept)  # seconds per arrival in every trial
        arrivals = (seconds - arms * rounds * len(kept) * OVERHEAD) / each
        if arrivals >= least:
            for i in kept:
                result[i] = max(SHORTEST, round(min(arrivals, most) / rates[i], 2))
            break
        kept.pop(0)
    return result


OVERHEAD = 0.5  # seconds that a trial takes beside its schedule
SHORTEST = 1.0  # seconds of a trial


# Payloads ---------------------------------------------------------------------------------------------------------


@cache
def photographs(width: int, height: int) -> list[Payload]:
    """Both photographs, cropped to the shape and resized with Lanczos, as JPEG of quality 90.

    They are 640 x 427: what is larger is blown up, and has fewer bytes per pixel than a camera's.
    """
    from PIL import Image, ImageOps

    found = []
    for path in photograph_files():
        buffer = io.BytesIO()
        fitted = ImageOps.fit(Image.open(path).convert("RGB"), (width, height), Image.Resampling.LANCZOS)
        fitted.save(buffer, "JPEG", quality=90)
        found.append(Payload(f"{path.stem}-{width}x{height}.jpg", buffer.getvalue()))
    return found


@cache
def speech(rate: int) -> np.ndarray:
    """All built-in clips, one after the other, mono."""
    import librosa

    sounds = [io.BytesIO(payload.encoded) for payload in read(CLIPS, AUDIO.suffixes)]
    return np.concatenate([librosa.load(sound, sr=rate, mono=True)[0] for sound in sounds])


@cache
def clips(seconds: int, rate: int) -> list[Payload]:
    """Two stretches of the built-in clips, repeated as needed, as 16-bit mono WAV."""
    import soundfile

    found = []
    for turn in range(2):
        buffer = io.BytesIO()
        samples = np.resize(np.roll(speech(rate), -turn * seconds * rate), seconds * rate)
        soundfile.write(buffer, samples, rate, subtype="PCM_16", format="WAV")
        found.append(Payload(f"speech-{turn + 1}-{seconds}s-{rate}.wav", buffer.getvalue()))
    return found
