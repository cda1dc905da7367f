"""What lies between a file and its samples: every sound is read to its end, or refused in words that say why.

The files are made from tones, so that it is known how many samples they hold and which tone follows which.
"""

import re
import struct
import warnings

import numpy as np
import pytest

from preprocess.audio import waveform
from preprocess.audio_decode import decode
from preprocess.limits import MAX_JOINED, MAX_SECONDS
from tests.sounds import (
    ID3V1,
    RATE,
    apev2,
    by_ffmpeg,
    chunk,
    encoded,
    flac,
    flac_in_ogg,
    fmt,
    id3v2,
    mp3,
    page_at,
    pages,
    pcm,
    rf64,
    riff,
    tone,
)

SECOND = tone(RATE)
OTHER = tone(RATE, 880, channels=2)
DATA = pcm(SECOND)
NOISE = np.random.default_rng(0).bytes(5000)
MPEG = 1152
"""Samples of a frame: MP3 without a header of its own begins and ends with the encoder's delay and padding."""


def wav(samples, subtype="PCM_16", rate=RATE, container="WAV"):
    return encoded(samples, container, subtype, rate)


def vorbis(samples, rate=RATE):
    return encoded(samples, "OGG", "VORBIS", rate)


def opus(samples):
    return encoded(samples, "OGG", "OPUS")


def unfinished(riff_size, order="<"):
    return riff(fmt(order=order), chunk(b"data", pcm(SECOND, order=order), order, size=0), size=riff_size, order=order)


def apev2_behind(headed, items=2000):
    """An APE tag with a footer, and a header if `headed`."""
    head, foot = (
        struct.pack("<8sIIII8x", b"APETAGEX", 2000, items + 32, 1, flags) for flags in (0xA0000000, headed << 31)
    )
    return head * headed + bytes(items) + foot


def id3v2_footed(size=300):
    length = bytes([0, 0, size >> 7, size & 0x7F])
    return b"ID3\4\0\x10" + length + bytes(size) + b"3DI\4\0\x10" + length


HISS = np.random.default_rng(1).uniform(-0.9, 0.9, (RATE // 4, 1))
LOUD_FIRST = np.concatenate([HISS, tone(RATE * 8)])
QUIET_FIRST = np.concatenate([np.zeros((RATE * 2, 1)), *[HISS] * 80])

BEHIND = {
    "a zero": b"\0",
    "zeros": bytes(3000),
    "a line break": b"\n",
    "an APE tag": apev2_behind(True),
    "an APE tag without a header": apev2_behind(False),
    "an ID3v2 tag": id3v2(),
    "an ID3v2 tag with a footer": id3v2_footed(),
    "an ID3v1 tag and a line break": ID3V1 + b"\n",
    "an APE and an ID3v1 tag": apev2_behind(True) + ID3V1,
}

INFO = chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"Lavf"))
LABELS = chunk(b"LIST", b"adtl" + chunk(b"labl", b"\0\0\0\1a\0"))


def tagged(*behind, data=DATA, size=0, order="<"):
    """A recording whose number of samples nobody wrote down, with chunks behind them."""
    form = fmt(order=order)
    return riff(form, chunk(b"data", data, order, size=size), *behind, size=size, order=order)


def looks_like_tags(length):
    """Samples that hold the beginning of tags in their middle; the LIST says that it has so many bytes."""
    half = len(DATA) // 2
    return DATA[:half] + b"LIST" + struct.pack("<I", length) + b"INFO" + DATA[half + 12 :]


READ = {
    "WAV of an interrupted recording, with tags behind": (tagged(INFO), RATE),
    "WAV of an interrupted recording, with tags and an ID3v1 tag": (tagged(INFO) + ID3V1, RATE),
    "WAV of an interrupted recording, with labels, cues and tags": (
        tagged(LABELS, chunk(b"cue ", bytes(4)), INFO),
        RATE,
    ),
    "WAV of an interrupted recording, with tags, big-endian": (
        tagged(chunk(b"LIST", b"INFO", ">"), data=pcm(SECOND, order=">"), order=">"),
        RATE,
    ),
    "WAV from a pipe, with tags behind": (tagged(INFO, size=0xFFFFFFFF), RATE),
    "WAV of an interrupted recording, samples like tags": (tagged(data=looks_like_tags(4)), RATE),
    "WAV of an interrupted recording, samples like longer tags": (tagged(data=looks_like_tags(10**6)), RATE),
    "WAV of an interrupted recording, samples like tags before tags": (tagged(INFO, data=looks_like_tags(4)), RATE),
    "WAV of an interrupted recording, cut in its tags": (tagged(INFO)[:-3], RATE + (len(INFO) - 3) // 2),
    "WAV of an interrupted recording, all sizes 0": (unfinished(0), RATE),
    "WAV of an interrupted recording, the size of its header": (unfinished(36), RATE),
    "WAV of an interrupted recording, big-endian": (unfinished(0, ">"), RATE),
    "WAV from a pipe, sizes of all bits set": (
        riff(fmt(), chunk(b"data", DATA, size=0xFFFFFFFF), size=0xFFFFFFFF),
        RATE,
    ),
    "WAV that says it has no samples, but is as long as its header says": (
        riff(fmt(), chunk(b"data", DATA, size=0)),
        RATE,
    ),
    "WAV that says it has no samples, silence first": (
        riff(fmt(), chunk(b"data", bytes(2000) + DATA, size=0)),
        RATE + 1000,
    ),
    "WAV that says more than it has": (riff(fmt(), chunk(b"data", DATA, size=10**6)), RATE),
    "WAV with an odd chunk first": (riff(chunk(b"LIST", b"INFOabc"), fmt(), chunk(b"data", DATA)), RATE),
    "WAV with chunks behind": (riff(fmt(), chunk(b"data", DATA), chunk(b"LIST", bytes(50))), RATE),
    "WAV with notes that are not as they should be": (
        riff(chunk(b"bext", b"abc"), fmt(), chunk(b"PEAK", bytes(77)), chunk(b"data", DATA), chunk(b"cue ", b"?")),
        RATE,
    ),
    "WAV with an odd fmt chunk": (riff(chunk(b"fmt ", fmt()[8:] + b"?"), chunk(b"data", DATA), size=0), RATE),
    "WAV, big-endian": (riff(fmt(order=">"), chunk(b"data", pcm(SECOND, order=">"), ">"), order=">"), RATE),
    "WAV of half a sample too many": (riff(fmt(), chunk(b"data", DATA + b"\0")), RATE),
    "WAV of 16 bits, its block too large": (riff(fmt(block=4), chunk(b"data", DATA)), RATE),
    "WAV behind an ID3 tag": (id3v2() + wav(SECOND), RATE),
    "WAV before an ID3v1 tag": (wav(SECOND) + ID3V1, RATE),
    "RF64": (rf64(SECOND), RATE),
    "RF64 from a pipe": (rf64(SECOND, known=False), RATE),
    "WAV, GSM 6.10": (wav(tone(8000, rate=8000), "GSM610", 8000), 8000),
    "WAV, GSM 6.10, an odd number of blocks": (wav(tone(8000 - 320, rate=8000), "GSM610", 8000), 8000 - 320),
    "WAV, IMA ADPCM": (wav(SECOND, "IMA_ADPCM"), (RATE, RATE + 1024)),
    "WAV, MS ADPCM": (wav(SECOND, "MS_ADPCM"), (RATE, RATE + 1024)),
    "WAV, A-law": (wav(SECOND, "ALAW"), RATE),
    "WAV, extensible, float": (wav(OTHER, "FLOAT", container="WAVEX"), RATE),
    "WAV, extensible, mu-law": (wav(OTHER, "ULAW", container="WAVEX"), RATE),
    **{f"FLAC of {bits} bits": (flac(SECOND, bits), RATE) for bits in (8, 12, 15, 16, 20, 24, 32)},
    **{f"FLAC of {bits} bits from a pipe": (flac(SECOND, bits, announced=0), RATE) for bits in (12, 16, 24)},
    "FLAC of 16 bits that says too little": (flac(SECOND, announced=100), RATE),
    "FLAC of 12 bits that says too little": (flac(SECOND, 12, announced=100), RATE),
    "FLAC behind an ID3 tag": (id3v2() + flac(SECOND), RATE),
    "FLAC before an ID3v1 tag": (flac(SECOND) + ID3V1, RATE),
    "FLAC before noise": (flac(SECOND) + NOISE, RATE),
    "FLAC of 20 bits before an ID3v1 tag": (flac(SECOND, 20) + ID3V1, RATE),
    **{
        f"FLAC of {bits} bits from a pipe before {name}": (flac(SECOND, bits, announced=0) + behind, RATE)
        for bits in (12, 16)
        for name, behind in BEHIND.items()
    },
    "FLAC from a pipe, joined, with tags": (
        (flac(SECOND, announced=0) + apev2_behind(True) + ID3V1) * 2,
        2 * RATE,
    ),
    "FLAC joined": (flac(SECOND) + flac(OTHER), 2 * RATE),
    "FLAC from a pipe, joined": (flac(SECOND, announced=0) + flac(SECOND, 12, announced=0), 2 * RATE),
    "FLAC in Ogg": (flac_in_ogg(SECOND), RATE),
    "FLAC in Ogg, joined": (flac_in_ogg(SECOND) + flac_in_ogg(OTHER), 2 * RATE),
    "Vorbis joined": (vorbis(SECOND) + vorbis(SECOND), 2 * RATE),
    "Vorbis joined, other channels": (vorbis(SECOND) + vorbis(OTHER), 2 * RATE),
    "Vorbis before noise": (vorbis(SECOND) + NOISE, RATE),
    "Opus joined": (opus(SECOND) + opus(OTHER), 2 * RATE),
    "Opus, Vorbis and FLAC joined": (opus(SECOND) + vorbis(SECOND) + flac_in_ogg(SECOND), 3 * RATE),
    "MP3": (mp3(SECOND), RATE),
    "MP3 that does not say its length": (mp3(SECOND, counted=False), (RATE, RATE + 3 * MPEG)),
    "MP3 that does not say its length, loud first": (
        mp3(LOUD_FIRST, counted=False),
        (len(LOUD_FIRST), len(LOUD_FIRST) + 3 * MPEG),
    ),
    "MP3 that does not say its length, quiet first": (
        mp3(QUIET_FIRST, counted=False),
        (len(QUIET_FIRST), len(QUIET_FIRST) + 3 * MPEG),
    ),
    "MP3 joined": (mp3(SECOND) + mp3(SECOND), (2 * RATE, 2 * RATE + 6 * MPEG)),
    "MP3 joined, with tags": (
        (id3v2() + mp3(SECOND) + ID3V1) * 2,
        (2 * RATE - MPEG, 2 * RATE + 6 * MPEG),
    ),
    "MP3 joined, other channels": (mp3(SECOND) + mp3(OTHER), (2 * RATE, 2 * RATE + 6 * MPEG)),
    "MP3 with padding behind its tag": (id3v2() + bytes(3000) + mp3(SECOND), (RATE, RATE + 3 * MPEG)),
    "MP3 with a tag shorter than it is": (id3v2(200, claimed=150) + mp3(SECOND), (RATE, RATE + 3 * MPEG)),
    "MP3 before an APE tag": (mp3(SECOND) + apev2(), (RATE, RATE + MPEG)),
    "MP3 before an ID3v1 tag": (id3v2() + mp3(SECOND) + ID3V1, RATE),
    "MP3 cut short": (mp3(SECOND)[:-50], (RATE - 3 * MPEG, RATE)),
    **{
        f"MP3 of {rate} Hz": (mp3(tone(rate, rate=rate), rate), rate)
        for rate in (8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000)
    },
    "MP3 from within a frame on": (mp3(np.concatenate([HISS] * 16))[5000:], (2 * RATE, 4 * RATE)),
    **{
        f"MP3 behind {name}": (front + mp3(SECOND), (RATE - MPEG, RATE + 3 * MPEG))
        for name, front in {
            "a zero": b"\0",
            "thousands of zeros": bytes(5000),
            "a line break": b"\n",
            "a byte order mark": b"\xef\xbb\xbf",
            "an APE tag": apev2(),
            "a long APE tag": apev2(100_000),
            "a line break and a long tag": b"\r\n" + id3v2(100_000),
            "zeros and an APE tag": bytes(9) + apev2(),
        }.items()
    },
    "MPEG layer II": (by_ffmpeg(SECOND, "mp2", "mp2"), (RATE, RATE + 3 * MPEG)),
}
"""Name -> (file, how many samples per channel it holds, or the fewest and the most)."""

REFUSED = {
    "nothing behind a tag": (id3v2(), "no MP3"),
    "a tag longer than the file": (id3v2(9, claimed=10**6), "no MP3"),
    "noise behind a tag": (id3v2() + NOISE, "no MP3"),
    "noise that begins as MP3": (b"\xff\xfb" + NOISE, "no MP3"),
    "text in UTF-16": ("a letter, sent as UTF-16".encode("utf-16"), "no MP3"),
    "AAC": (b"\xff\xf1\x50\x80" + NOISE, "WAV, FLAC, OGG and MP3"),
    "W64": (wav(SECOND, container="W64"), "WAV, FLAC, OGG and MP3"),
    "MP3 of free bit rate": (b"\xff\xfb\x04\xc4" + bytes(2000), "free bit rate"),
    "MP3 in FLV": (b"FLV\1" + bytes(20) + mp3(SECOND), "WAV, FLAC, OGG and MP3"),
    "MP3 behind too many zeros": (bytes(70_000) + mp3(SECOND), "WAV, FLAC, OGG and MP3"),
    "one MPEG frame in text": (b"text" + mp3(SECOND, counted=False)[:200] + b"text" * 999, "WAV, FLAC, OGG and MP3"),
    "noise": (b"?" + NOISE * 20, "WAV, FLAC, OGG and MP3"),
    "MP3 joined, another rate": (mp3(SECOND) + mp3(tone(8_000, rate=8_000), 8_000), "rate from 16000 to 8000 Hz"),
    "Vorbis joined, another rate": (vorbis(SECOND) + vorbis(tone(8_000, rate=8_000), 8_000), "from 16000 to 8000 Hz"),
    "FLAC joined, another rate": (flac(SECOND) + flac(tone(8_000), rate=8_000), "from 16000 to 8000 Hz"),
    "WAV of no samples": (riff(fmt(), chunk(b"data", b""), chunk(b"LIST", bytes(999))), "too short: 0 samples"),
    "WAV that is a header only": (riff(fmt()), "no data chunk is found"),
    "WAV without an encoding": (riff(chunk(b"data", DATA)), "does not say its encoding"),
    "WAV that holds MP3": (riff(fmt(0x55), chunk(b"data", mp3(SECOND))), "holds MP3"),
    "WAV of an unknown encoding": (riff(fmt(0x99), chunk(b"data", DATA)), "encoding 0x0099"),
    "WAV of a thousand chunks": (riff(*[chunk(b"JUNK", b"")] * 1001, fmt(), chunk(b"data", DATA)), "1000 chunks"),
    "WAV with another behind it": (wav(SECOND) * 2, "more samples behind its own"),
    **{
        f"WAV of two data chunks, {name}": (
            riff(fmt(), chunk(b"data", DATA), between, chunk(b"data", DATA)),
            "a WAV with two data chunks",
        )
        for name, between in {
            "side by side": b"",
            "a LIST between": chunk(b"LIST", bytes(50)),
            "an odd LIST between": chunk(b"LIST", bytes(51)),
            "an odd LIST without its pad byte between": chunk(b"LIST", bytes(51), padded=False),
            "padding between": chunk(b"JUNK", bytes(2000)) + chunk(b"PAD ", bytes(8)),
            "zeros between": bytes(2),
        }.items()
    },
    "WAV of two data chunks, big-endian": (
        riff(
            fmt(order=">"),
            chunk(b"data", DATA, ">"),
            chunk(b"LIST", bytes(50), ">"),
            chunk(b"data", DATA, ">"),
            order=">",
        ),
        "a WAV with two data chunks",
    ),
    "WAV of 64-bit integers": (riff(fmt(bits=64), chunk(b"data", DATA)), "WAV of 64-bit PCM"),
    "WAV of 24 bits in four bytes": (
        riff(fmt(bits=24, block=4), chunk(b"data", pcm(SECOND, 32))),
        "24 bits and 4 bytes a sample",
    ),
    "WAV of 20 bits in four bytes, stereo": (
        riff(fmt(channels=2, bits=20, block=8), chunk(b"data", pcm(tone(RATE, channels=2), 32))),
        "20 bits and 4 bytes a sample",
    ),
    "WAV of 24 bits in four bytes, big-endian": (
        riff(fmt(bits=24, block=4, order=">"), chunk(b"data", pcm(SECOND, 32, ">"), ">"), order=">"),
        "24 bits and 4 bytes a sample",
    ),
    "WAV of single in the room of double": (
        riff(fmt(3, bits=32, block=8), chunk(b"data", SECOND.astype("<f8").tobytes())),
        "32 bits and 8 bytes a sample",
    ),
    "BW64": (b"BW64" + rf64(SECOND)[4:], "BW64 is not accepted"),
    "FLAC that says too much": (flac(SECOND, announced=RATE + 1), "cut short: 16000 of 16001"),
    "FLAC of 12 bits that says too much": (flac(SECOND, 12, announced=RATE + 1), "cut short: 16000 of 16001"),
    "FLAC without its header": (b"fLaC" + NOISE, "without its header"),
    "FLAC that ends in its header": (flac(SECOND)[:30], "ends within its header"),
    "FLAC cut short": (flac(SECOND)[:20_000], "damaged or cut short"),
    "FLAC of 12 bits cut short": (flac(SECOND, 12)[:20_000], "FLAC"),
    "FLAC from a pipe cut short before zeros": (flac(SECOND, announced=0)[:20_000] + bytes(99), "damaged or cut short"),
    "FLAC from a pipe before noise": (flac(SECOND, announced=0) + NOISE, "damaged or cut short"),
    "FLAC from a pipe cut short": (flac(SECOND, announced=0)[:20_000], "damaged or cut short"),
    "FLAC of 12 bits with a wrong byte": (flac(SECOND, 12)[:9999] + b"?" + flac(SECOND, 12)[10_000:], "FLAC"),
    "FLAC in Ogg cut short": (flac_in_ogg(SECOND)[:4000], "no FLAC in Ogg can be read"),
    "FLAC in Ogg without its last pages": (
        b"".join(pages(flac_in_ogg(np.concatenate([HISS] * 40)))[:-2]),
        "the FLAC is cut short",
    ),
    "Ogg of two streams side by side": (
        pages(vorbis(SECOND))[0] + pages(opus(SECOND))[0] + NOISE,
        "several streams side by side",
    ),
    "Ogg that holds Speex": (pages(vorbis(SECOND))[0].replace(b"\x01vorbis", b"Speex  "), "holds"),
    "Ogg from its middle on": (b"".join(pages(vorbis(SECOND))[1:]), "does not begin with the first page"),
    "Ogg whose clock runs backwards": (
        b"".join(
            [
                *pages(vorbis(SECOND))[:2],
                *(page_at(page, at) for page, at in zip(pages(vorbis(tone(10 * RATE)))[2:4], (9000, 100), strict=True)),
            ]
        ),
        "clock runs backwards",
    ),
    "Ogg whose end is not told": (
        b"".join([*pages(vorbis(HISS))[:-1], page_at(pages(vorbis(HISS))[-1], -1)]),
        "its last page does not say when the sound ends",
    ),
    "joined Ogg whose first end is not told": (
        b"".join([*pages(opus(SECOND))[:-1], page_at(pages(opus(SECOND))[-1], -1), opus(SECOND)]),
        "its last page does not say when the sound ends",
    ),
    "Ogg of very many": (vorbis(tone(500)) * (MAX_JOINED + 1), f"{MAX_JOINED} are the most"),
}
"""Name -> (file, what the refusal says)."""


@pytest.mark.parametrize("name", READ)
def test_a_sound_is_read_to_its_end(name):
    file, expected = READ[name]
    low, high = expected if isinstance(expected, tuple) else (expected, expected)
    samples, _ = decode(file)
    assert low <= len(samples) <= high
    assert np.abs(samples[len(samples) * 3 // 5 : len(samples) * 4 // 5]).max() > 0.2  # a tone, not silence
    assert np.isfinite(waveform(file)).all()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_why_in_one_line(name):
    file, reason = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(reason)) as error:
        waveform(file)
    assert_clear(str(error.value))


def assert_clear(reason):
    assert "\n" not in reason and len(reason) < 300
    assert not re.search(r"0x[0-9a-f]{5}", reason), reason  # an address
    for words in ("<", "pipe?", "nternal", "must be specified", "unknown format", "Errno", "Error"):
        assert words not in reason, reason


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24, 32])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_flac_of_any_depth_holds_the_samples_that_were_put_in(bits, channels):
    steps = 2 ** (bits - 1) - 1
    samples = tone(9000, channels=channels) * np.linspace(1, 0.3, channels)
    expected = (np.round(samples * steps) / 2 ** (bits - 1)).astype(np.float32).mean(axis=1)
    decoded, _ = decode(flac(samples, bits))
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("later", [1, 48_000, 2**40])
def test_a_piece_of_an_opus_stream_holds_the_same_samples_as_one_that_begins_at_zero(later):
    """By FFmpeg, too; libsndfile alone begins 312 samples early."""
    whole = opus(QUIET_FIRST)
    head, tags, *rest = pages(whole)
    piece = b"".join([head, tags, *(page_at(each, struct.unpack_from("<q", each, 6)[0] + later) for each in rest)])
    assert len(rest) > 1 and piece != whole
    assert np.array_equal(decode(piece)[0], decode(whole)[0])
    between = b"".join([head, tags, b"stray", *pages(piece)[2:]])
    assert np.array_equal(decode(between)[0], decode(whole)[0])


@pytest.mark.parametrize("zeros", [1, 400, 2000, 9000])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_zeros_behind_an_mp3_as_in_a_batch_add_no_samples(rate, counted, zeros):
    for silence in (0, rate // 4):
        file = mp3(np.concatenate([tone(rate, rate=rate), np.zeros((silence, 1))]), rate, counted=counted)
        np.testing.assert_array_equal(decode(file + bytes(zeros))[0], decode(file)[0])


def test_joined_sounds_follow_each_other_and_none_is_missing():
    tones = (300, 500, 800, 1300)
    for make in (mp3, vorbis, opus, flac, flac_in_ogg):
        samples, rate = decode(b"".join(make(tone(RATE, pitch, 1 + pitch % 200 // 100)) for pitch in tones))
        parts = np.array_split(samples, len(tones))
        assert [pitch_of(part, rate) for part in parts] == list(tones), make


def pitch_of(samples, rate):
    """The loudest frequency in the middle half, to 20 Hz."""
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    return int(round(np.abs(np.fft.rfft(middle)).argmax() * rate / len(middle) / 20) * 20)


@pytest.mark.parametrize("make", [mp3, flac, vorbis, flac_in_ogg], ids=lambda make: make.__name__)
def test_a_small_file_of_an_hour_ends_at_the_limit(make):
    """Joined from pieces that each say a moment."""
    piece = make(np.zeros((20 * RATE, 1)))
    with pytest.raises(ValueError, match=f"longer than {MAX_SECONDS} s"):
        waveform(piece * 50)


def float_wav(samples):
    return encoded(samples, "WAV", "FLOAT")


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e18, 1e30, float(np.finfo(np.float32).max)])
def test_float_samples_of_any_size_are_normalised_as_in_float64(scale):
    samples = tone(RATE)[:, 0] * scale
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = waveform(float_wav(samples))
    exact = samples.astype(np.float32).astype(np.float64)
    expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-7)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def test_a_constant_is_silence():
    for value in (0.5, 1e6, float(np.finfo(np.float32).max)):
        assert np.abs(waveform(float_wav(np.full(RATE, value)))).max() < 1e-3


@pytest.mark.parametrize("values", [(np.inf, 0), (np.inf, -np.inf), (np.nan, 1)])
def test_infinity_in_a_float_file_is_refused(values):
    with pytest.raises(ValueError, match="not finite"):
        waveform(float_wav(np.resize(values, RATE)))


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_a_wav_cut_anywhere_gives_the_same_whatever_was_read_before(subtype):
    file = wav(tone(8000, rate=8000), subtype, 8000)
    loud, silent = wav(np.ones((8000, 1)), subtype, 8000), wav(np.zeros((8000, 1)), subtype, 8000)
    for end in np.linspace(len(file) // 4, len(file) - 1, 20, dtype=int):
        answers = []
        for before in (loud, silent, file):
            decode(before)
            answers.append(decode(file[:end])[0])
        assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[1], answers[2])
