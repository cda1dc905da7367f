"""WAV, FLAC, and Ogg with Vorbis or Opus -> samples, by libsndfile."""

import io

import soundfile

BLOCK = 1 << 16
"""Samples per channel that are read at once where the length is unknown."""


class Stream(soundfile.SoundFile):
    """A file that is read from its beginning to its end.

    soundfile would seek after every read to where it is already, which fails in a file of unknown length.
    """

    def seekable(self):
        """Return False, so that soundfile reads on without a seek."""
        return False


def read(encoded, mono, name):
    """Decode the samples that the header of `encoded` announces into `mono`; `name` is for the refusal."""
    with _open(encoded, name) as file:
        mono.expect(file.frames, file.channels, file.samplerate)
        mono.add(_read(file, file.frames, name), file.samplerate)


def read_to_the_end(encoded, mono, name, announced):
    """Decode a file of unknown length into `mono`.

    ValueError if it holds fewer than `announced` samples per channel or is damaged. What follows them may be more
    sound, or anything else.
    """
    with _open(encoded, name) as file:
        mono.expect(announced, file.channels, file.samplerate)
        if announced:
            samples = _read(file, announced, name)
            mono.add(samples, file.samplerate)
            if len(samples) < announced:
                raise ValueError(f"the {name} is cut short: {len(samples)} of {announced} samples")
            try:
                samples = file.read(1, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                return
            mono.add(samples, file.samplerate)
        while len(samples := _read(file, BLOCK, name)):
            mono.add(samples, file.samplerate)


def _open(encoded, name):
    try:
        return Stream(io.BytesIO(encoded))
    except soundfile.LibsndfileError:
        reason = "it is damaged, cut short, or of a kind that is not accepted"
        raise ValueError(f"no {name} can be read from it: {reason}") from None


def _read(file, frames, name):
    try:
        return file.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        raise ValueError(f"the {name} is damaged or cut short") from None
