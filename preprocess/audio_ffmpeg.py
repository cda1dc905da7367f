"""MP3, and what libsndfile does not read or not to its end -> samples, by FFmpeg's libraries (PyAV).

FFmpeg is told which format it reads and may open that one only, with the codecs named here, from memory and in one
thread: it guesses nothing, and no file can lead it to another file or to the network.
"""

import io

import av
import numpy as np

MPEG = ("mp3float", "mp3", "mp2float", "mp2", "mp1float", "mp1")
CODECS = {"mp3": MPEG, "flac": ("flac",), "ogg": ("flac",), "wav": ("gsm_ms",)}
"""Format -> decoders, both by FFmpeg's names."""
GATHERED = 64
"""Frames, of some 1,000 samples each, that are mixed in one go."""


def read(encoded, container, mono, strict):
    """Decode `encoded` into `mono`.

    A frame that cannot be decoded ends it with ValueError if `strict`; else it is left out, as players do, unless
    those that can be decoded are fewer.
    """
    try:
        with av.open(io.BytesIO(encoded), format=container, options=_only(container), metadata_errors="ignore") as file:
            _decode(file, container, mono, strict)
    except av.error.FFmpegError:
        raise Unreadable(f"no {NAMES[container]} can be read from it: it is damaged or cut short") from None


class Unreadable(ValueError):
    """Nothing of the expected format is found."""


NAMES = {"mp3": "MP3", "flac": "FLAC", "ogg": "FLAC in Ogg", "wav": "GSM in WAV"}


def _only(container):
    return {"format_whitelist": container, "codec_whitelist": ",".join(CODECS[container]), "protocol_whitelist": ""}


def _decode(file, container, mono, strict):
    stream = next(iter(file.streams.audio), None)
    decoder = stream and stream.codec_context
    if decoder is None or decoder.name not in CODECS[container]:
        raise Unreadable(f"no {NAMES[container]} is found in it")
    decoder.thread_type, decoder.thread_count = "NONE", 1
    decoder.options = {"err_detect": "crccheck+explode"} if strict else {}
    frames = Frames(mono)
    bad = good = 0
    for packet in file.demux(stream):
        try:
            decoded = decoder.decode(packet if packet.size else None)
        except av.error.FFmpegError:
            if strict:
                raise
            bad += 1
            continue
        for frame in decoded:
            frames.add(frame)
        good += len(decoded)
    frames.flush()
    if container == "mp3" and good < FEWEST:
        raise Unreadable(f"no {NAMES[container]} is found in it, only what looks like {good} of its frames")
    if bad > good:
        raise ValueError(f"damaged: most frames of the {NAMES[container]} cannot be decoded")


FEWEST = 2
"""Frames of an MP3: the header of one is 11 set bits and little more, which any bytes can hold."""


class Frames:
    """Hands FFmpeg's frames on to `mono`, many at once, as they are short.

    PyAV's own queue (AudioFifo) reads beyond a frame that has fewer channels than the first: it is not used.
    """

    def __init__(self, mono):
        self.mono = mono
        self.layout, self.gathered = None, []

    def add(self, frame):
        """Gather a decoded frame; mix those before it first if its rate, channels or format differ."""
        layout = frame.sample_rate, frame.layout.nb_channels, frame.format.name
        if layout != self.layout or len(self.gathered) == GATHERED:
            self.flush()
            self.layout, self.planar = layout, frame.format.is_planar
        self.gathered.append(frame.to_ndarray())

    def flush(self):
        """Hand the frames that are gathered to the mixer, as one block."""
        if not self.gathered or self.layout is None:
            return
        rate, channels, _ = self.layout
        samples = np.concatenate(self.gathered, axis=1)
        self.gathered = []
        samples = samples.T if self.planar else samples.reshape(-1, channels)
        if samples.dtype.kind == "i":
            samples = samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.itemsize))
        self.mono.add(samples, rate)
