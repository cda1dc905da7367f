"""What is swept: a quantity, its values, and what a comparison at each of them needs; and what that comes to."""

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from loadgen import blocks, bootstrap, comparison, plots
from loadgen.bootstrap import Pool
from loadgen.network import BYTES
from loadgen.payloads import CLIPS, Payload, photograph_files, read
from loadgen.workloads import AUDIO, IMAGE, WORKLOADS, Workload

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
    return [
        Sweep(title, WORKLOADS[name], "cores", points(name)) for title, points in sides.items() for name in TYPICAL
    ]


SWEEPS = {"size": size, "network": network, "workers": workers, "cores": cores}


def lengths(rates: Sequence[float], arms: int, rounds: int, seconds: float, least: int, most: int) -> list[float]:
    """Seconds of a block at each point, so that all have as many arrivals in the time there is; 0: left out.

    The slowest points are left out until blocks of the others hold at least that many arrivals.
    """
    result = [0.0] * len(rates)
    kept = sorted(range(len(rates)), key=lambda i: rates[i])
    while kept:
        each = arms * rounds * sum(1 / rates[i] for i in kept)  # seconds per arrival in every block
        arrivals = (seconds - arms * rounds * len(kept) * OVERHEAD) / each
        if arrivals >= least:
            for i in kept:
                result[i] = max(1.0, round(min(arrivals, most) / rates[i], 2))
            break
        kept.pop(0)
    return result


OVERHEAD = 0.5  # seconds that a block takes beside its schedule


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


# What a sweep comes to --------------------------------------------------------------------------------------------


def crossing(x: Sequence[float], ratios: Sequence[float], resampled: np.ndarray) -> dict | None:
    """Where log(ratio), straight between the points over log(x), first passes 0, with a 95 % interval; None if nowhere.

    `resampled` are logarithms of ratios, (resamples, points). In each the crossing nearest to the estimate counts;
    where there is none it lies beyond the sweep, on the side that the winner tells, and so may a limit: that is None.
    """
    logs, own = np.log(x), np.log(ratios)
    found = roots(logs, own)
    if not found:
        return None
    at, rises = found[0]
    places = []
    for row in resampled:
        near = [place for place, _ in roots(logs, row)]
        beyond = -np.inf if (row.mean() > 0) == rises else np.inf
        places.append(min(near, key=lambda place: abs(place - at)) if near else beyond)
    limits = np.quantile(places, [0.025, 0.975], method="inverted_cdf")
    low, high = (float(np.exp(limit)) if np.isfinite(limit) else None for limit in limits)
    return {"x": float(np.exp(at)), "low": low, "high": high}


def roots(x: np.ndarray, y: np.ndarray) -> list[tuple[float, bool]]:
    """(where the line through these points passes 0, whether upwards), in order."""
    found = []
    for i in range(len(x) - 1):
        if (y[i] > 0) != (y[i + 1] > 0):
            found.append((float(x[i] + (x[i + 1] - x[i]) * y[i] / (y[i] - y[i + 1])), bool(y[i + 1] > 0)))
    return found


def says(entry: dict) -> str:
    """One sentence. A crossing is one only if an interval lies wholly on either side of 1."""
    points, unit = entry["points"], entry["unit"]
    about = f"{entry['workload']}, {entry['sweep']}, {entry['regime']}"
    if not points:
        return f"{about}: nothing was measured."
    if any(point["low"] is None for point in points):
        return f"{about}: no interval at every point, so no verdict: measure 6 rounds or more."
    sides = {point["x"]: side(point) for point in points}
    ratios = [point["ratio"] for point in points]
    spread = f"server/client p50 {min(ratios):.3g} to {max(ratios):.3g}"
    if cross := entry["crossing"]:
        first = "client" if points[0]["ratio"] > 1 else "server"
        then = "server" if first == "client" else "client"
        low, high = cross["low"], cross["high"]
        limits = f"{f'{low:.3g}' if low else 'before the sweep'} to {f'{high:.3g}' if high else 'after the sweep'}"
        where = f"below {cross['x']:.3g} {unit} (95 %: {limits})"
        return f"{about}: the {first} is quicker {where}, the {then} above; {spread}."
    shown = {side for side in sides.values() if side}
    if len(shown) == 1:
        open_ = [f"{x:.4g}" for x, side in sides.items() if not side]
        where = f"wherever a difference is shown (not at {', '.join(open_)} {unit})" if open_ else "throughout"
        return f"{about}: the {shown.pop()} is quicker {where}; {spread}."
    if shown:
        return f"{about}: it changes more than once or not along the sweep; {spread}."
    return f"{about}: no difference shown anywhere; {spread}."


def evaluate(directory: Path, path: str, described: dict) -> list[dict]:
    """crossover.json's entries of one sweep, one for each form that the client sends: a fold over its blocks."""
    own = blocks.read(directory / path)
    found = []
    for form in described["forms"]:
        points, resampled = [], []
        for seed, asked in enumerate(described["points"]):
            here = [block for block in own if block.path.parent.parent.name == asked["label"]]
            if pairs := paired(here, folder(form)):
                points.append({**asked, **estimate(pairs)})
                resampled.append(replicates(pairs, seed))
        entry = {key: described[key] for key in ("workload", "sweep", "unit", "network", "regime")}
        entry["sweep"] += f", {form}" if form else ""
        entry |= {"path": path, "points": points, "crossing": None}
        if {side(point) for point in points} >= {"client", "server"}:
            x, ratios = ([point[key] for point in points] for key in ("x", "ratio"))
            entry["crossing"] = crossing(x, ratios, np.transpose(resampled))
        found.append({**entry, "says": says(entry)})
    return found


def side(point: dict) -> str:
    """Who is quicker by the whole interval; empty if that is open."""
    if point["low"] is None or point["high"] is None:
        return ""
    return "client" if point["low"] > 1 else "server" if point["high"] < 1 else ""


def folder(form: str) -> str:
    """Of a client's blocks."""
    return f"client {form}".strip().replace(" ", "-")


Pairs = list[tuple[blocks.Block, blocks.Block]]


def paired(here: Sequence[blocks.Block], client: str) -> Pairs:
    """(client's, server's) of each round in which both are whole and have answers."""
    rounds: dict[int, dict[str, blocks.Block]] = {}
    for block in here:
        if block.facts["complete"] and block.completed:
            rounds.setdefault(block.round, {})[block.path.parent.name] = block
    return [(each[client], each["server"]) for _, each in sorted(rounds.items()) if {client, "server"} <= set(each)]


def estimate(pairs: Pairs) -> dict:
    found = {each.metric: each for each in comparison.compare(pairs)}
    p50 = found["p50"]
    keys = "ratio", "low", "high"
    others = {name: {key: getattr(found[name], key) for key in keys} for name in ("mean", "client CPU")}
    invalid = [finding for pair in pairs for block in pair for finding in block.findings]
    return {
        "ratio": p50.ratio,
        "low": p50.low,
        "high": p50.high,
        "client_p50": p50.client,
        "server_p50": p50.server,
        "rounds": len(pairs),
        "requests": sum(client.completed for client, _ in pairs),
        **others,
        "invalid": sum(not block.valid for pair in pairs for block in pair),
        "findings": dict(Counter(finding["rule"] for finding in invalid)),
    }


def replicates(pairs: Pairs, seed: int) -> np.ndarray:
    """log(ratio of the medians) in bootstrap draws of rounds, as widely spread as the interval that `comparison` gives:
    Student's t for so few rounds, and not the normal distribution's narrower one."""
    n = len(pairs)
    client, server = (Pool([block.latency for block in arm]).percentile(50) for arm in zip(*pairs, strict=True))
    weights, once = bootstrap.resamples(n, seed), np.ones((1, n), int)
    own, drawn = (np.log(server(each) / client(each)) for each in (once, weights))
    if n < 2:
        return drawn
    return own + (drawn - own) * bootstrap.width(n, 0.95) * np.sqrt(n) / norm.ppf(0.975) * np.sqrt(n / (n - 1))


def table(entry: dict) -> str:
    """As printed: a point a line, and the sentence."""
    lines = [
        f"\n{entry['workload']}: {entry['sweep']}, {entry['network']}; server / client, 95 % intervals over rounds",
        f"{entry['unit']:>12} {'KB file':>8} {'client p50':>11} {'server p50':>11}  {'p50':<21} {'mean':<21}"
        f" {'client CPU':<11} {'rounds':>6} {'requests':>8} invalid",
    ]
    for point in entry["points"]:
        broken = ", ".join(f"{n} {rule}" for rule, n in point["findings"].items()) or "-"
        lines.append(
            f"{point['x']:>12.4g} {point['kilobytes']:>8.0f} {point['client_p50']:>11.4g} {point['server_p50']:>11.4g}"
            f"  {interval(point):<21} {interval(point['mean']):<21} {point['client CPU']['ratio']:<11.3g}"
            f" {point['rounds']:>6} {point['requests']:>8} {broken}"
        )
    return "\n".join([*lines, entry["says"]])


def interval(of: dict) -> str:
    return f"{of['ratio']:.3g}" + (f" ({of['low']:.3g}-{of['high']:.3g})" if of["low"] else " (too few rounds)")


def write(directory: Path) -> list[dict]:
    """crossover.json and a plot of each sweep, from run.json and the blocks."""
    run = json.loads((directory / "run.json").read_text())
    found = [entry for path, described in run["sweeps"].items() for entry in evaluate(directory, path, described)]
    (directory / "crossover.json").write_text(json.dumps(found, indent=2) + "\n")
    for entry in found:
        if entry["points"]:
            form = entry["sweep"].partition(", ")[2].partition(" ")[0]
            plot(entry, directory / entry["path"] / f"{'-'.join(filter(None, ('ratio', form)))}.png")
    return found


def plot(entry: dict, path: Path) -> None:
    figure = Figure((6, 3.6), layout="constrained", dpi=150)
    axes = figure.subplots()
    plots.draw_crossover(axes, entry)
    axes.set_title(f"{entry['workload']}: {entry['regime']}", fontsize=9)
    figure.savefig(path)
