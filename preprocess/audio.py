"""Encoded sound -> the waveform that wav2vec 2.0 was trained on.

The rule is ``transformers.Wav2Vec2FeatureExtractor`` on what ``librosa.load(sr=16000)`` returns: decode to float32,
mean of the channels, resample to 16 kHz (``soxr_hq``; at 16 kHz nothing is touched), then zero mean and unit variance
per clip, ``(x - mean) / sqrt(var + 1e-7)`` with the population variance.

Formats: WAV, FLAC, OGG and MP3; what else libsndfile reads is refused before it gets there, and so is what is beyond
``limits`` by its header. Decoding and resampling release the GIL.
Importing this module takes seconds, as librosa compiles itself: better here than under the first request.
"""

import io
import math

import librosa
import numpy as np
import soundfile

from preprocess.limits import MAX_BYTES, MAX_CHANNELS, MAX_SAMPLES, MAX_SECONDS, RATES, told

RATE = 16_000
SHORTEST = 400  # samples: the receptive field of the network's first frame, 25 ms
FORMATS = {"WAV", "WAVEX", "FLAC", "OGG", "MP3"}  # as libsndfile names them
MAGIC = (b"RIFF", b"fLaC", b"OggS", b"ID3")  # or an MPEG frame's eleven set bits


def waveform(encoded):
    """Encoded bytes -> float32 (samples,), 16 kHz mono, zero mean, unit variance.

    ValueError, in one line, for what is no sound of an accepted format, is beyond `limits` (by its header, before
    decoding), has fewer than 400 samples at 16 kHz, or any that is not finite.
    """
    try:
        samples, rate = _decode(encoded)
        count = math.ceil(len(samples) * RATE / rate)
        if count < SHORTEST:
            raise Refused(f"the sound is too short: {count} samples at 16 kHz, expected {SHORTEST} (25 ms) or more")
        mono = samples.mean(axis=1)
        if not np.isfinite(mono).all():
            raise Refused("the sound has samples that are not finite: NaN, infinity, or beyond float32")
        resampled = _resample(mono, rate)
        return (resampled - resampled.mean()) / np.sqrt(resampled.var() + 1e-7)
    except Refused:
        raise
    except Exception as error:  # whatever hostile bytes provoke in the decoders
        reason = told(error.error_string if isinstance(error, soundfile.LibsndfileError) else error)
        raise Refused(f"cannot decode {len(encoded)} bytes as sound: {reason}") from None


class Refused(ValueError):
    """A sound that is not accepted; its text is the whole line that the client gets."""


def _decode(encoded):
    """Encoded bytes -> (float32 (frames, channels), their rate in Hz)."""
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"{MAX_BYTES} are the most")
    if not (encoded.startswith(MAGIC) or (encoded[:1] == b"\xff" and encoded[1:2] >= b"\xe0")):
        raise ValueError("none of the accepted formats, which are WAV, FLAC, OGG and MP3")
    with soundfile.SoundFile(io.BytesIO(encoded)) as file:
        if file.format not in FORMATS:
            raise ValueError(f"{file.format} is none of the accepted formats, which are WAV, FLAC, OGG and MP3")
        if not RATES[0] <= file.samplerate <= RATES[1] or file.channels > MAX_CHANNELS:
            raise ValueError(
                f"{file.samplerate} Hz, {file.channels} channels: "
                f"{RATES[0]} to {RATES[1]} Hz and {MAX_CHANNELS} channels at most are accepted"
            )
        if file.frames > MAX_SECONDS * file.samplerate or file.frames * file.channels > MAX_SAMPLES:
            raise Refused(f"the sound is longer than {MAX_SECONDS} s, or than {MAX_SAMPLES} samples")
        return file.read(dtype="float32", always_2d=True), file.samplerate


def _resample(mono, rate):
    return librosa.resample(mono, orig_sr=rate, target_sr=RATE, res_type="soxr_hq")


_resample(np.zeros(SHORTEST, np.float32), 8_000)
