"""Blocks of decoded samples -> one channel, within the limits. What is refused is said here in whole lines."""

import numpy as np

from preprocess.limits import MAX_CHANNELS, MAX_SAMPLES, MAX_SECONDS, RATES


class Refused(ValueError):
    """A sound that is not accepted; its text is the whole line that the client gets."""


class Mono:
    """Takes a sound block by block and mixes it to one channel.

    It raises `Refused` as soon as the sound is too much, so that a file that claims a little and decodes to an hour
    costs a minute of it at most.
    """

    def __init__(self):
        self.rate = None
        self.frames = self.values = 0
        self._blocks = []

    def expect(self, frames, channels, rate):
        """Refuse what a header announces, before it is decoded: `frames` more samples per channel."""
        if not RATES[0] <= rate <= RATES[1] or not 1 <= channels <= MAX_CHANNELS:
            raise ValueError(
                f"{rate} Hz, {channels} channels: "
                f"{RATES[0]} to {RATES[1]} Hz and 1 to {MAX_CHANNELS} channels are accepted"
            )
        if self.rate not in (None, rate):
            raise Refused(f"the sound changes its rate from {self.rate} to {rate} Hz on the way: expected one rate")
        if self.frames + frames > MAX_SECONDS * rate:
            raise Refused(f"the sound is longer than {MAX_SECONDS} s")
        if self.values + frames * channels > MAX_SAMPLES:
            raise Refused(f"the sound has more than {MAX_SAMPLES} samples in all of its channels")

    def add(self, samples, rate):
        """Mix float32 `samples` of shape (frames, channels); the number of channels may change between blocks."""
        frames, channels = samples.shape
        self.expect(frames, channels, rate)
        self.rate = rate
        self.frames += frames
        self.values += samples.size
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
            self._blocks.append(samples.mean(axis=1))

    def mark(self):
        """Return the state, for `rewind`."""
        return self.rate, self.frames, self.values, len(self._blocks)

    def rewind(self, mark):
        """Forget the blocks that were added after `mark`."""
        self.rate, self.frames, self.values, blocks = mark
        del self._blocks[blocks:]

    def join(self):
        """All of it, float32 (frames,)."""
        if not self._blocks:
            raise ValueError("there are no samples in it")
        return self._blocks[0] if len(self._blocks) == 1 else np.concatenate(self._blocks)
