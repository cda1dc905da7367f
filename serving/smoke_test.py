"""One real inference through each ensemble. Nothing counts as up before both have answered with sense.

Triton's `/v2/health/ready` says 200 with a dead Python stub, and numpy 2 feeds the models garbage without an error;
a photograph that comes out as a thousand finite logits cannot be had that way.
"""

import io
import json
import math
import struct
import time
import wave
from pathlib import Path

from serving import Failure
from serving.triton_api import Rest

JPEG = Path(__file__).with_name("canary.jpg")


def chirp(seconds: float = 0.5, rate: int = 16000) -> bytes:
    """A WAV file (16 kHz, mono, 16 bits) of a tone that rises from 200 Hz."""
    times = [n / rate for n in range(int(seconds * rate))]
    samples = [int(12000 * math.sin(2 * math.pi * (200 + 900 * t) * t)) for t in times]
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


def sing(rest: Rest, timeout: float = 60.0) -> None:
    """Raises Failure, naming the ensemble, unless both answer in the promised shape with finite numbers.

    Each has `timeout` seconds.
    """
    check("image", rest.infer("image", JPEG.read_bytes(), timeout), [1, 1000])
    sound = rest.infer("audio", chirp(), timeout)
    check("audio", sound, [1, 24, 32])
    if "transcript" not in sound:
        raise Failure("audio answered without a transcript")


def sung(rest: Rest, seconds: float) -> bool:
    """Whether all models are ready and both ensembles have answered somebody within so many seconds.

    For whoever asks often: a server that is measured is not disturbed, an idle one gets an inference now and then.
    Raises Failure if the server is not ready.
    """
    rest.call("/v2/health/ready", timeout=10)
    for ensemble in ("image", "audio"):
        [statistics] = json.loads(rest.call(f"/v2/models/{ensemble}/stats", timeout=10)[0])["model_stats"]
        if statistics["last_inference"] / 1000 < time.time() - seconds:
            return False
    return True


def check(ensemble: str, outputs: dict, shape: list[int]) -> None:
    found, raw = outputs.get("logits", ([], b""))
    if found != shape:
        raise Failure(f"{ensemble} answered logits of shape {found}, expected {shape}")
    logits = struct.unpack(f"<{math.prod(shape)}f", raw)
    if not all(map(math.isfinite, logits)) or min(logits) == max(logits):
        raise Failure(f"{ensemble} answered logits that are all alike or not finite")
