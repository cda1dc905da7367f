"""`preprocess.audio` against librosa and transformers; `python -m tests.preprocess.test_audio_parity` shows how far."""

import io
import struct
from functools import lru_cache
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from preprocess.audio import waveform
from preprocess.limits import MAX_SAMPLES, MAX_SECONDS
from tests import sounds

LIMIT = 1e-4
CLIPS = Path(__file__).parents[2] / "workloads" / "clips"
SPOKEN = sorted(clip for clip in CLIPS.rglob("*") if clip.suffix in {".wav", ".flac", ".mp3", ".ogg"})
RATES = (8_000, 16_000, 22_050, 44_100, 48_000)
ENCODINGS = {
    "WAV 8-bit": ("WAV", "PCM_U8"),
    "WAV 16-bit": ("WAV", "PCM_16"),
    "WAV 24-bit": ("WAV", "PCM_24"),
    "WAV 32-bit": ("WAV", "PCM_32"),
    "WAV float": ("WAV", "FLOAT"),
    "WAV double": ("WAV", "DOUBLE"),
    "WAV mu-law": ("WAV", "ULAW"),
    "FLAC": ("FLAC", "PCM_16"),
    "FLAC 24-bit": ("FLAC", "PCM_24"),
    "OGG": ("OGG", "VORBIS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
}
EQUAL = [encoding for encoding in ENCODINGS if encoding != "MP3"]
"""Those that librosa's own decoder reads to their end; MP3 is decoded by FFmpeg."""
UNREAD = {
    "FLAC 12-bit": lambda samples, rate: sounds.flac(samples, 12, rate),
    "FLAC 20-bit": lambda samples, rate: sounds.flac(samples, 20, rate),
    "FLAC 32-bit": lambda samples, rate: sounds.flac(samples, 32, rate),
    "FLAC, unknown length": lambda samples, rate: sounds.flac(samples, 16, rate, announced=0),
    "FLAC in Ogg": lambda samples, rate: sounds.flac_in_ogg(samples, rate),
    "WAV, unfinished": lambda samples, rate: sounds.riff(
        sounds.fmt(channels=samples.shape[1], rate=rate), sounds.chunk(b"data", sounds.pcm(samples), size=0), size=0
    ),
}
"""What librosa does not read: its reference is the same samples in a WAV of 64-bit floats."""
DEPTHS = {"FLAC 12-bit": 12, "FLAC 20-bit": 20, "FLAC 32-bit": 32}


@lru_cache
def speech(rate, channels):
    """Two seconds of a spoken sentence, (samples, channels); the second channel is later and softer."""
    spoken, _ = librosa.load(CLIPS / "sentences" / "river-44k-mono.mp3", sr=rate, duration=2)
    return np.stack([np.roll(spoken, 40 * channel) / (1 + channel) for channel in range(channels)], axis=1)


def encoded(samples, rate, encoding="WAV float"):
    file = io.BytesIO()
    container, subtype = ENCODINGS[encoding]
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def reference(file):
    from transformers import Wav2Vec2FeatureExtractor  # takes a second, which every test worker would wait for

    samples, rate = librosa.load(io.BytesIO(file), sr=16_000, mono=True, res_type="soxr_hq")
    features = Wav2Vec2FeatureExtractor(sampling_rate=16_000, do_normalize=True)(samples, sampling_rate=rate)
    return features["input_values"][0]


def distance(file):
    """Maximum |difference| from the reference; a difference in length is an error."""
    return np.abs(waveform(file) - reference(file)).max()


def distance_of_unread(kind, rate, channels):
    steps = 2 ** (DEPTHS.get(kind, 16) - 1)
    samples = speech(rate, channels).astype(np.float64)
    rounded = np.round(samples * (steps - 1)) / steps
    file = UNREAD[kind](samples, rate)
    return np.abs(waveform(file) - reference(encoded(rounded, rate, "WAV double"))).max()


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", UNREAD)
def test_what_librosa_does_not_read_gives_the_waveform_of_its_samples(kind, rate, channels):
    assert distance_of_unread(kind, rate, channels) <= LIMIT


@pytest.mark.parametrize("channels", [1, 2, 8], ids=["mono", "stereo", "7.1"])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("encoding", EQUAL)
def test_what_librosa_reads_to_its_end_is_equal_to_it(encoding, rate, channels):
    assert distance(encoded(speech(rate, channels), rate, encoding)) == 0


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_opus_is_equal_to_librosa(rate):
    assert distance(sounds.encoded(speech(rate, 2), "OGG", "OPUS", rate)) == 0


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_waveform_of_the_reference(encoding, rate, channels):
    file = encoded(speech(rate, channels), rate, encoding)
    assert waveform(file).dtype == np.float32
    assert distance(file) <= LIMIT


@pytest.mark.parametrize("clip", SPOKEN, ids=lambda clip: clip.name)
def test_every_clip_gives_the_waveform_of_the_reference_and_says_its_text(clip):
    assert distance(clip.read_bytes()) <= LIMIT
    assert clip.with_suffix(".txt").read_text().strip()


def test_16_khz_mono_is_not_resampled():
    spoken = speech(16_000, 1)[:, 0]
    expected = (spoken - spoken.mean()) / np.sqrt(spoken.var() + 1e-7)
    assert np.array_equal(waveform(encoded(spoken, 16_000)), expected)


def test_a_waveform_has_zero_mean_and_unit_variance():
    result = waveform(encoded(speech(44_100, 2), 44_100))
    assert abs(result.mean()) < 1e-6
    assert abs(result.var() - 1) < 1e-4


def test_silence_stays_silence():
    assert not waveform(encoded(np.zeros(16_000), 16_000)).any()


def test_stereo_is_the_mean_of_its_channels():
    both = speech(48_000, 2)
    halves = encoded(both.mean(axis=1), 48_000)
    assert np.abs(waveform(encoded(both, 48_000)) - waveform(halves)).max() <= LIMIT


@pytest.mark.parametrize(("rate", "shortest"), [(8_000, 200), (16_000, 400), (48_000, 1_198)])
def test_25_ms_is_the_shortest_sound(rate, shortest):
    spoken = speech(rate, 1)
    assert len(waveform(encoded(spoken[:shortest], rate))) == 400
    with pytest.raises(ValueError, match="too short: 39"):
        waveform(encoded(spoken[: shortest - 1], rate))


def test_a_minute_is_the_longest_sound():
    assert len(waveform(encoded(np.zeros(MAX_SECONDS * 16_000), 16_000, "FLAC"))) == MAX_SECONDS * 16_000
    with pytest.raises(ValueError, match=f"longer than {MAX_SECONDS} s"):
        waveform(encoded(np.zeros(MAX_SECONDS * 16_000 + 1), 16_000, "FLAC"))


def test_channels_count_towards_the_length():
    too_many = np.zeros((MAX_SAMPLES // 8 + 1, 8))
    with pytest.raises(ValueError, match=f"than {MAX_SAMPLES} samples"):
        waveform(encoded(too_many, 192_000, "FLAC"))


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"<html>404 not found</html>",
        np.random.default_rng(0).bytes(5000),
        encoded(speech(48_000, 2), 48_000)[:30],
        encoded(speech(48_000, 2), 48_000, "FLAC")[:50_000],
        encoded(speech(48_000, 2), 48_000, "OGG")[:2_000],
        encoded(np.zeros((0, 1)), 48_000),
        encoded(np.where(np.arange(16_000) == 5, np.nan, 0.1), 16_000),
        encoded(np.full(16_000, 1e300), 44_100, "WAV double"),
    ],
    ids=["nothing", "text", "noise", "WAV header cut", "FLAC cut", "OGG cut", "no samples", "NaN", "beyond float32"],
)
def test_what_is_no_sound_is_refused_in_one_line(file):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        waveform(file)


def test_a_wav_that_was_streamed_and_never_told_its_length_is_read_to_its_end():
    whole = encoded(speech(16_000, 1), 16_000, "WAV 16-bit")
    data = whole.index(b"data")
    streamed = whole[: data + 4] + struct.pack("<I", 0xFFFFFFFF) + whole[data + 8 :]
    assert np.array_equal(waveform(streamed), waveform(whole))


if __name__ == "__main__":
    print(f"{'maximum |difference|':24}" + "".join(f"{rate:>10} Hz" for rate in RATES))
    for encoding in ENCODINGS:
        for channels, name in ((1, "mono"), (2, "stereo")):
            cells = (distance(encoded(speech(rate, channels), rate, encoding)) for rate in RATES)
            print(f"{encoding + ', ' + name:24}" + "".join(f"{cell:13.1e}" for cell in cells))
    for kind in UNREAD:
        for channels, name in ((1, "mono"), (2, "stereo")):
            cells = (distance_of_unread(kind, rate, channels) for rate in RATES)
            print(f"{kind + ', ' + name:24}" + "".join(f"{cell:13.1e}" for cell in cells))
    for clip in SPOKEN:
        print(f"{clip.name:24}{distance(clip.read_bytes()):13.1e}")
