"""Encoded sound -> the waveform that wav2vec 2.0 was trained on.

The rule is ``transformers.Wav2Vec2FeatureExtractor`` on what ``librosa.load(sr=16000)`` returns: decode to float32,
mean of the channels, resample to 16 kHz (``soxr_hq``; at 16 kHz nothing is touched), then zero mean and unit variance
per clip, ``(x - mean) / sqrt(var + 1e-7)`` with the population variance.

Formats: whatever libsndfile reads; WAV, FLAC, OGG Vorbis and MP3 are tested. Decoding and resampling release the GIL.
Importing this module takes seconds, as librosa compiles itself: better here than under the first request.
"""

import io
import math

import librosa
import numpy as np
import soundfile

RATE = 16_000
SHORTEST = 400  # samples: the receptive field of the network's first frame, 25 ms
MAX_SECONDS = 60
MAX_SAMPLES = 2 * 192_000 * MAX_SECONDS  # of all channels, as decoded: a minute of stereo at 192 kHz


def waveform(encoded):
    """Encoded bytes -> float32 (samples,), 16 kHz mono, zero mean, unit variance.

    ValueError, in one line, for what is no sound, is too long (by its header, before decoding), has fewer than 400
    samples at 16 kHz, or any that is not finite.
    """
    samples, rate = _decode(encoded)
    count = math.ceil(len(samples) * RATE / rate)
    if count < SHORTEST:
        raise ValueError(f"the sound is too short: {count} samples at 16 kHz, expected {SHORTEST} (25 ms) or more")
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise ValueError("the sound has samples that are not finite: NaN, infinity, or beyond float32")
    resampled = _resample(mono, rate)
    return (resampled - resampled.mean()) / np.sqrt(resampled.var() + 1e-7)


def _decode(encoded):
    """Encoded bytes -> (float32 (frames, channels), their rate in Hz)."""
    try:
        with soundfile.SoundFile(io.BytesIO(encoded)) as file:
            if file.frames > MAX_SECONDS * file.samplerate or file.frames * file.channels > MAX_SAMPLES:
                raise ValueError(f"the sound is longer than {MAX_SECONDS} s, or than {MAX_SAMPLES} samples")
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"cannot decode {len(encoded)} bytes as sound: {error.error_string}") from None


def _resample(mono, rate):
    return librosa.resample(mono, orig_sr=rate, target_sr=RATE, res_type="soxr_hq")


_resample(np.zeros(SHORTEST, np.float32), 8_000)
