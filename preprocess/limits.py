"""What is too much: the one place where it is said.

All of it is read from a file's header, before anything is decoded; the length of a sound is counted while it is
decoded, too, as headers do not always tell it.

Each limit is far above what a photograph or a spoken sentence needs, and bounds the memory or the time that a few bytes
of a stranger's can cost. The clients' arms and the server's steps refuse by the same ones, with ValueError and with
HTTP 400. How many samples one request may hold is each model's `max_batch_size`.
"""

MAX_BYTES = 32 * 2**20
"""Bytes of one encoded file: a minute of 48 kHz stereo in float takes 23 MB, a JPEG of 60 megapixels 20 to 30 MB."""

MAX_PIXELS = 2**26
"""Width x height of one image, and of all images that are decoded in one run: 192 MiB of RGB, some 400 MiB and 1.5 s
in DALI, 900 MiB for a lossless WebP in Pillow. A 61-megapixel camera stays below, as does Pillow's own warning about
decompression bombs."""

MAX_REENCODED = 2**24
"""Pixels of a CMYK JPEG or a 16-bit PNG, which are decoded twice: some 400 MiB and 1.5 s, as above."""

MAX_SIDE = 65_535
"""Pixels along one side: the most that a JPEG can say. The resize computes with 256 x side in 32 bits."""

MAX_SCANS = 100
"""Scans of one JPEG: encoders write 1 to 12, and each one costs a pass over the whole picture, whatever its bytes."""

MAX_SCANNED = 2**30
"""Scans x pixels of one JPEG, some 1.5 s: 30 kB can ask for a thousand scans of a large picture."""

MAX_SECONDS = 60
"""Of one sound: the network's attention is quadratic; wav2vec2-base takes 1.3 GB for 30 s, 3.1 GB for a minute."""

RATES = (1_000, 192_000)
"""Hz, lowest and highest: beyond them are no microphones, but resampling filters of any length."""

MAX_CHANNELS = 8
"""Of one sound: 7.1."""

MAX_SAMPLES = 2 * 192_000 * MAX_SECONDS
"""Samples of one sound, of all channels, as decoded: a minute of stereo at 192 kHz, 88 MiB in float32."""


MAX_JOINED = 100
"""Sounds that are joined in one FLAC or Ogg file: each one costs a decoder of its own, whatever its length."""


def one_line(error):
    """Return the message of an exception in one line, or its name if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
