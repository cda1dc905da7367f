"""Encoded sound -> the waveform that wav2vec 2.0 was trained on.

The rule is ``transformers.Wav2Vec2FeatureExtractor`` on what ``librosa.load(sr=16000)`` returns: decode to float32,
mean of the channels, resample to 16 kHz (``soxr_hq``; at 16 kHz nothing is touched), then zero mean and unit variance
per clip, ``(x - mean) / sqrt(var + 1e-7)`` with the population variance.

Formats: WAV, FLAC, OGG and MP3. `preprocess.audio_decode` says which decoder reads what, and how far. WAV, FLAC and OGG
are equal to librosa's, MP3 is within 1e-4. What is beyond ``limits`` is refused before it is decoded, or while it is.
Decoding and resampling release the GIL.
Importing this module takes seconds, as librosa compiles itself: better here than under the first request.
"""

import math
from contextlib import contextmanager

import librosa
import numpy as np

from preprocess.audio_decode import decode
from preprocess.audio_mono import Refused

RATE = 16_000
SHORTEST = 400  # samples: the receptive field of the network's first frame, 25 ms
NOT_FINITE = "the sound has samples that are not finite: NaN, infinity, or beyond float32"


def waveform(encoded):
    """Return the samples of an encoded sound: float32 (samples,), 16 kHz mono, zero mean, unit variance.

    ValueError, in one line, for what is no sound of an accepted format, is beyond `limits`, is damaged or cut short
    where the format tells, has fewer than 400 samples at 16 kHz, or any that is not finite.
    """
    with refusing(encoded):
        return _normalize(resample(*decode_sound(encoded)))


def decode_sound(encoded):
    """Return (float32 (frames,), rate in Hz) of a sound that can be resampled. Raises within `refusing`."""
    mono, rate = decode(encoded)
    count = math.ceil(len(mono) * RATE / rate)
    if count < SHORTEST:
        raise Refused(f"the sound is too short: {count} samples at 16 kHz, expected {SHORTEST} (25 ms) or more")
    if not np.isfinite(mono).all():
        raise Refused(NOT_FINITE)
    return mono, rate


@contextmanager
def refusing(encoded):
    """Within it, whatever a sound provokes in the libraries becomes a ValueError in one line."""
    try:
        yield
    except Refused:
        raise
    except ValueError as error:
        raise Refused(f"cannot decode {len(encoded)} bytes as sound: {error}") from None
    except Exception as error:  # whatever hostile bytes provoke in the decoders; its text can hold an object's address
        raise Refused(f"cannot decode {len(encoded)} bytes as sound: {type(error).__name__}") from None


def resample(mono, rate):
    """Return float32 (frames,) at that rate in Hz as samples at 16 kHz; what is at 16 kHz already is left as it is."""
    return librosa.resample(mono, orig_sr=rate, target_sr=RATE, res_type="soxr_hq")


def _normalize(samples):
    """In float32, as the reference; in float64 where the squares of a very loud float file overflow float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, variance = samples.mean(), samples.var()
    if not np.isfinite(variance):
        samples = samples.astype(np.float64)
        mean, variance = samples.mean(), samples.var()
        if not np.isfinite(variance):
            raise Refused(NOT_FINITE)  # the resampler's overshoot was too much
    return ((samples - mean) / np.sqrt(variance + 1e-7)).astype(np.float32, copy=False)


resample(np.zeros(SHORTEST, np.float32), 8_000)
