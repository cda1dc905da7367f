"""A sound in another encoding, for a link that is slow: one channel, decoded as `preprocess.audio` decodes it.

The server normalises and, where the rate is not 16 kHz, resamples. Samples beyond full scale, which float files and
resampling can have, are limited to it.
"""

import io

import numpy as np
import soundfile

from preprocess.audio import RATE, resample
from preprocess.audio_decode import decode
from preprocess.audio_mono import Refused


def wav(encoded):
    """Return an encoded sound as bytes of a 16 kHz WAV of one channel and 16 bits. Raises ValueError in one line."""
    return _write(_resampled(encoded), "WAV", "PCM_16")


def flac(encoded):
    """Return an encoded sound as bytes of a FLAC of its rate, one channel, 16 bits. Raises ValueError in one line."""
    return _write(_decoded(encoded), "FLAC", "PCM_16")


def opus(encoded):
    """Return an encoded sound as bytes of an Opus file of 16 kHz, one channel. Raises ValueError in one line."""
    return _write(_resampled(encoded), "OGG", "OPUS")


def _decoded(encoded):
    """Return (float32 (frames,), rate in Hz)."""
    try:
        return decode(encoded)
    except Refused:
        raise
    except ValueError as error:
        raise Refused(f"cannot decode {len(encoded)} bytes as sound: {error}") from None


def _resampled(encoded):
    mono, rate = _decoded(encoded)
    return resample(mono, rate), RATE


def _write(sound, container, encoding):
    mono, rate = sound
    file = io.BytesIO()
    soundfile.write(file, np.clip(mono, -1, 1), rate, format=container, subtype=encoding)
    return file.getvalue()
