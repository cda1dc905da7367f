"""Sound files of random structure, by seed, of which it is known what they hold; and a child that decodes them.

`python -m tests.faults.audio_structure FIRST COUNT` decodes the cases FIRST to FIRST + COUNT - 1, then again in reverse
order, and prints a line of JSON for each of both. A crash ends it, so that the last line tells which case was next.
"""

import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.faults.corpus import mutation
from tests.sounds import (
    ID3V1,
    apev2,
    chunk,
    encoded,
    flac,
    flac_in_ogg,
    fmt,
    id3v2,
    mp3,
    page_at,
    pages,
    pcm,
    rf64,
    riff,
    tone,
)

MPEG = 1152
"""Samples of the longest frame of an MP3. At a seam a decoder may lose two, and three are delay and padding."""


@dataclass
class Case:
    name: str
    file: bytes
    fewest: int
    most: int
    answered: bool = True
    """Whether it must be; else it may be refused, too."""


def case(seed):
    random = np.random.default_rng(seed)
    made = KINDS[seed % len(KINDS)](random)
    if random.random() < 0.3:
        name, file = f"damaged {made.name}", made.file
        return Case(name, mutation(file, random), 0, sys.maxsize, answered=False)
    return made


def wav(random):
    samples, extra = part(random), {}
    order = str(random.choice(["<", ">"]))
    bits = int(random.choice([8, 16, 24, 32]))
    size = str(random.choice(["right", "zero", "all ones", "too large"]))
    data = pcm(samples, bits, order)
    before = chunks(random, order)
    after = chunks(random, order) if size == "right" else []
    if size != "right":
        sizes = {"zero": 0, "all ones": 0xFFFFFFFF, "too large": len(data) + int(random.integers(1, 1 << 20))}
        extra = {"size": int(random.choice([0, 36, 0xFFFFFFFF]))}
        body = chunk(b"data", data, order, size=sizes[size], padded=False)
    else:
        body = chunk(b"data", data, order)
    form = fmt(channels=samples.shape[1], bits=bits, order=order)
    file = riff(*before, form, *chunks(random, order), body, *after, order=order, **extra)
    return Case(f"WAV {order} {bits} bits, size {size}", tagged(random, file), len(samples), len(samples))


def other_wav(random):
    samples = part(random)
    kind = str(
        random.choice(["FLOAT", "DOUBLE", "ULAW", "ALAW", "WAVEX", "RF64", "pipe", "IMA_ADPCM", "MS_ADPCM", "GSM"])
    )
    block = {"IMA_ADPCM": 1024, "MS_ADPCM": 1024, "GSM": 320}.get(kind, 0)
    if block:
        samples = samples[:, :1]
    if kind in ("RF64", "pipe"):
        file = rf64(samples, known=kind == "RF64")
    elif kind == "WAVEX":
        file = encoded(samples, "WAVEX", "PCM_24")
    else:
        file = encoded(samples, "WAV", {"GSM": "GSM610"}.get(kind, kind))
    return Case(f"WAV {kind}", tagged(random, file), len(samples), len(samples) + block)


def flacs(random):
    files, frames, answered = [], 0, True
    for _ in range(random.integers(1, 4)):
        samples, bits = part(random), int(random.choice([8, 12, 15, 16, 20, 24, 32]))
        announced = str(random.choice(["right", "right", "unknown", "less", "more"]))
        says = {"right": 0, "unknown": -len(samples), "less": -int(random.integers(1, 2000)), "more": 1}[announced]
        block, padding = int(random.choice([256, 1000, 4096])), int(random.choice([0, 0, 5000]))
        files.append(flac(samples, bits, block=block, announced=len(samples) + says, padding=padding))
        frames += len(samples)
        answered &= announced != "more"
    file = b"".join(files)
    if random.random() < 0.2:
        file, answered = file + random.bytes(int(random.integers(1, 3000))), False
    return Case(f"FLAC x {len(files)}", tagged(random, file), frames, frames, answered)


def oggs(random):
    files, names, frames, answered = [], [], 0, True
    for _ in range(random.integers(1, 5)):
        name = str(random.choice(["VORBIS", "OPUS", "FLAC"]))
        samples = part(random, most_channels=2)
        files.append(flac_in_ogg(samples) if name == "FLAC" else encoded(samples, "OGG", name))
        names.append(name)
        frames += len(samples)
    if random.random() < 0.2:
        files.append(random.bytes(int(random.integers(1, 3000))))
        answered = "FLAC" not in names
    return Case("Ogg " + " ".join(names), tagged(random, b"".join(files)), frames, frames, answered)


def misplaced_oggs(random):
    """A page is missing, comes twice, or says another position."""
    samples = part(random, least=20_000, most_channels=2)
    parts = pages(encoded(samples, "OGG", str(random.choice(["VORBIS", "OPUS"]))))
    at = int(random.integers(len(parts)))
    kind = str(random.choice(["missing", "twice", "position"]))
    if kind == "missing":
        del parts[at]
    elif kind == "twice":
        parts.insert(at, parts[at])
    else:
        parts[at] = page_at(parts[at], int(random.choice([-1, 0, 1, 100, 10**6, 2**62, random.integers(40_000)])))
    return Case(f"Ogg, page {at} {kind}", b"".join(parts), 0, sys.maxsize, answered=False)


def mp3s(random):
    files, frames, count = [], 0, random.integers(1, 5)
    for _ in range(count):
        samples = part(random, least=8000, most_channels=2)
        between = [b"", ID3V1, id3v2(int(random.integers(2000))), bytes(int(random.integers(2000))), apev2(300)]
        counted, variable = bool(random.random() < 0.5), bool(random.random() < 0.7)
        files += [mp3(samples, counted=counted, variable=variable), between[random.integers(len(between))]]
        frames += len(samples)
    lies = int(random.integers(100)) if random.random() < 0.3 else 0
    fronts = [b"", id3v2(500, claimed=500 - lies), bytes(int(random.integers(1, 9000))), b"\n", apev2(300)]
    front = fronts[random.integers(len(fronts))]
    return Case(f"MP3 x {count}", front + b"".join(files), frames - 2 * count * MPEG, frames + 3 * count * MPEG)


def changing_rates(random):
    name = str(random.choice(["MP3", "FLAC", "OGG"]))
    subtype = {"MP3": "MPEG_LAYER_III", "FLAC": "PCM_16", "OGG": "VORBIS"}[name]
    rates = random.choice([8_000, 16_000, 44_100], 2, replace=False)
    parts = [encoded(part(random, least=8000, most_channels=2), name, subtype, int(rate)) for rate in rates]
    file = b"".join(parts)
    return Case(f"{name} of two rates", file, 0, 0, answered=False)


KINDS = (wav, other_wav, flacs, oggs, misplaced_oggs, mp3s, changing_rates)


def part(random, least=3000, most_channels=3):
    frames, channels = int(random.integers(least, least + 9000)), int(random.integers(1, most_channels + 1))
    return tone(frames, int(random.integers(200, 2000)), channels)


def chunks(random, order):
    names = [b"LIST", b"JUNK", b"bext", b"cue ", b"PEAK"]
    sizes = random.integers(0, 300, random.integers(3))
    return [chunk(names[random.integers(len(names))], bytes(int(size)), order) for size in sizes]


def tagged(random, file):
    front = id3v2(int(random.integers(400))) if random.random() < 0.2 else b""
    return front + file + (ID3V1 if random.random() < 0.2 else b"")


def decode(made):
    """{frames of samples, or reason; digest of the answer}."""
    from preprocess.audio import waveform
    from preprocess.audio_decode import decode

    try:
        tensor = waveform(made.file)
    except ValueError as error:
        return {"reason": str(error)}
    samples, rate = decode(made.file)
    digest = hashlib.sha256(tensor.tobytes() + samples.tobytes()).hexdigest()
    return {"frames": len(samples), "rate": rate, "digest": digest, "finite": bool(np.isfinite(tensor).all())}


def main(first, count):
    made = [(seed, case(seed)) for seed in range(first, first + count)]
    for seed, one in (*made, *reversed(made)):
        print(json.dumps({"seed": seed, **decode(one)}), flush=True)
    status = Path("/proc/self/status").read_text()  # ru_maxrss would count the process that started this one, too
    print(json.dumps({"peak": int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
