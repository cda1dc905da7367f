"""Is there speech in a recording? The client decodes and resamples it, or Triton's Python backend does."""

import io

import soundfile
import soxr

from crossover import Answer, Placement, Workload, files


def decode(encoded):
    """Do what model_repository/resample does."""
    samples, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, 16_000)


WORKLOAD = Workload(
    name="voice", subject="recordings", payloads=files("../../workloads/clips/*/*.[!t]*"),
    placements={"client": Placement("vad", decode), "server": Placement("voice")},
    answer=Answer("speech", lambda speech: f"speech in {(speech > 0.5).mean():.0%} of it"),
)
