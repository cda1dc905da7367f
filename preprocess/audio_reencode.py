"""A sound in another encoding, for a link that is slow: one channel, decoded as `preprocess.audio` decodes it.

The server normalises and, where the rate is not 16 kHz, resamples. Samples beyond full scale, which float files and
resampling can have, are limited to it.
"""

import io

import numpy as np
import soundfile

from preprocess.audio import RATE, decode_sound, refusing, resample


def wav(encoded):
    """Return an encoded sound as bytes of a 16 kHz WAV of one channel and 16 bits. Raises ValueError in one line."""
    with refusing(encoded):
        return _write(resample(*decode_sound(encoded)), RATE, "WAV", "PCM_16")


def flac(encoded):
    """Return an encoded sound as bytes of a FLAC of its rate, one channel, 16 bits. Raises ValueError in one line."""
    with refusing(encoded):
        mono, rate = decode_sound(encoded)
        return _write(mono, rate, "FLAC", "PCM_16")


def opus(encoded):
    """Return an encoded sound as bytes of an Opus file of 16 kHz, one channel. Raises ValueError in one line."""
    with refusing(encoded):
        return _write(resample(*decode_sound(encoded)), RATE, "OGG", "OPUS")


def _write(mono, rate, container, encoding):
    file = io.BytesIO()
    soundfile.write(file, np.clip(mono, -1, 1), rate, format=container, subtype=encoding)
    return file.getvalue()
