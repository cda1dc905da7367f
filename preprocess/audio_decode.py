"""Encoded sound -> samples of one channel. Which decoder reads a file follows from its format alone.

| format | decoder |
|---|---|
| WAV: PCM of 8 to 32 bits, float, A-law, mu-law, IMA and MS ADPCM | libsndfile, as librosa |
| FLAC of 8, 16 and 24 bits; Ogg with Vorbis or Opus | libsndfile, as librosa, to the end of the file |
| MP3 (and layers I and II) | FFmpeg: libsndfile ends where the first frames, or a header, suggest |
| FLAC of other depths; Ogg with FLAC; WAV with GSM 6.10 | FFmpeg: libsndfile does not read them, or miscounts |

A header's length is used to refuse what is too long, never to end early: FLAC and MP3 are read until nothing comes,
joined FLAC and Ogg files one after the other; WAV and Ogg say where their sound ends. FLAC has checksums and mostly
says its length: one that is damaged or cut short is refused; tags, zeros and white space behind it are no damage. Of
the others what is there is answered, as by players.
"""

from preprocess import audio_ffmpeg, audio_headers, audio_libsndfile, audio_mpeg, audio_ogg, audio_wav
from preprocess.audio_mono import Mono, Refused
from preprocess.limits import MAX_BYTES, MAX_JOINED


def decode(encoded):
    """Return (float32 (frames,), rate in Hz) of an encoded sound. Raises ValueError for what is refused."""
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"{MAX_BYTES} are the most")
    encoded, tagged = audio_headers.strip_front_tags(encoded)
    mono = Mono()
    name, start = audio_headers.recognize(encoded, tagged)
    READERS[name](encoded[start:], mono)
    return mono.join(), mono.rate


def _wav(encoded, mono):
    chunks = audio_wav.find_chunks(encoded)
    encoding = audio_wav.name_encoding(chunks)
    canonical = audio_wav.canonicalize(encoded, chunks)
    if encoding == "GSM 6.10":
        audio_ffmpeg.read(canonical, "wav", mono, strict=False)
    else:
        audio_libsndfile.read(canonical, mono, f"WAV ({encoding})")


def _flac(encoded, mono):
    end = audio_headers.find_end(encoded)
    for stream in _refuse_many(audio_headers.split_flac(encoded[:end])):
        mark = mono.mark()
        try:
            _flac_stream(stream, mono)
        except Refused:
            raise
        except ValueError:
            if not _flac_before_tags(stream, mono, mark):
                raise


def _flac_before_tags(encoded, mono, mark):
    """Decode a FLAC that was refused once more, without what may be a tag or padding behind it.

    `mark` is where `mono` was before. Return whether it helped.
    """
    for rest in audio_headers.strip_behind(encoded):
        if len(rest) == len(encoded):
            continue
        mono.rewind(mark)
        try:
            _flac_stream(rest, mono)
            return True
        except Refused:
            raise
        except ValueError:
            continue
    return False


def _flac_stream(stream, mono):
    bits, announced = audio_headers.parse_streaminfo(stream)
    if bits in (8, 16, 24):
        audio_libsndfile.read_to_the_end(audio_headers.forget_length(stream), mono, "FLAC", announced)
    else:
        _flac_by_ffmpeg(stream, "flac", announced, mono)


def _flac_by_ffmpeg(encoded, container, announced, mono):
    before = mono.frames
    audio_ffmpeg.read(encoded, container, mono, strict=True)
    if mono.frames - before < announced:
        raise ValueError(f"the FLAC is cut short: {mono.frames - before} of {announced} samples")


def _ogg(encoded, mono):
    for codec, link in _refuse_many(audio_ogg.split(encoded)):
        if codec == "FLAC":
            _, announced = audio_headers.parse_streaminfo(link[link.find(b"fLaC") :])
            _flac_by_ffmpeg(link, "ogg", announced, mono)
        else:
            begun = audio_ogg.start_at_zero(link) if codec == "Opus" else link
            audio_libsndfile.read(begun, mono, f"Ogg with {codec}")


def _mp3(encoded, mono):
    try:
        audio_ffmpeg.read(encoded[: audio_mpeg.find_end(encoded)], "mp3", mono, strict=False)
    except audio_ffmpeg.Unreadable:
        if audio_headers.has_free_bit_rate(encoded):
            raise ValueError("an MP3 of free bit rate: expected one of a standard bit rate") from None
        raise


def _refuse_many(parts):
    if len(parts) > MAX_JOINED:
        raise ValueError(f"{len(parts)} joined sounds: {MAX_JOINED} are the most")
    return parts


READERS = {"WAV": _wav, "FLAC": _flac, "OGG": _ogg, "MP3": _mp3}
