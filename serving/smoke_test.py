"""One real inference through each ensemble. The server does not count as up before both have given plausible answers.

Triton's `/v2/health/ready` says 200 with a dead Python stub, and numpy 2 feeds the models garbage without an error. A
photograph that comes out as a thousand different finite logits shows that neither happened.
"""

import io
import math
import struct
import time
import wave
from pathlib import Path

from serving import Failure
from serving.triton_api import TritonAPI

JPEG = Path(__file__).with_name("smoke_test.jpg")
ENSEMBLES = ("image", "audio")


def chirp(seconds: float = 0.5, rate: int = 16000) -> bytes:
    """Return a WAV file (mono, 16 bits, `rate` Hz) of a tone that rises from 200 Hz for so many seconds."""
    times = [n / rate for n in range(int(seconds * rate))]
    samples = [int(12000 * math.sin(2 * math.pi * (200 + 900 * t) * t)) for t in times]
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


def run(api: TritonAPI, timeout: float = 60.0) -> None:
    """Send a photograph and a sound; each answer may take `timeout` seconds.

    Raises Failure, which names the ensemble, unless both answer finite logits of the promised shape that differ.
    """
    check("image", api.infer("image", JPEG.read_bytes(), timeout), [1, 1000])
    sound = api.infer("audio", chirp(), timeout)
    check("audio", sound, [1, 24, 32])
    if "transcript" not in sound:
        raise Failure("audio answered without a transcript")


def recently_answered(api: TritonAPI, seconds: float) -> bool:
    """Return whether an ensemble has answered anybody's request within the last `seconds`.

    A health check that asks this first sends no inference to a server that is being measured, and one now and then to a
    server that is idle. What dies or hangs beside an ensemble that answers is the supervisor's to find. Raises Failure
    if the server is not ready.
    """
    api.call("/v2/health/ready", timeout=10)
    oldest = time.time() - seconds
    return any(api.statistics(model)[model]["last_inference"] / 1000 >= oldest for model in ENSEMBLES)


def check(ensemble: str, outputs: dict[str, tuple[list[int], bytes]], expected: list[int]) -> None:
    """Raise Failure unless the output `logits` (float32) has the expected shape and finite values that differ."""
    shape, raw = outputs.get("logits", ([], b""))
    if shape != expected:
        raise Failure(f"{ensemble} answered logits of shape {shape}, expected {expected}")
    logits = struct.unpack(f"<{math.prod(expected)}f", raw)
    if not all(map(math.isfinite, logits)) or min(logits) == max(logits):
        raise Failure(f"{ensemble} answered logits that are all equal or not finite")
