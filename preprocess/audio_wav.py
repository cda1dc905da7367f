"""The structure of a WAV: which chunk says the encoding, which one holds the samples, and how many there are."""

import re
import struct
from dataclasses import dataclass

from preprocess.audio_headers import WAV_MAGIC, find_end

ENCODINGS = {
    0x0001: "PCM",
    0x0002: "MS ADPCM",
    0x0003: "float",
    0x0006: "A-law",
    0x0007: "mu-law",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
}
"""Format tag -> name, of those that are accepted; an extensible header holds one of them, too."""
UNCLEAR = {("PCM", 4): range(17, 25), ("float", 8): range(1, 33)}
"""(Encoding, bytes of a sample by the header's block) -> bits of a sample with which decoders disagree: to libsndfile
samples of 24 bits in four bytes stand side by side in three, to FFmpeg they are of floating point."""
OTHERS = {0x0050: "MPEG layer I or II", 0x0055: "MP3", 0x00FF: "AAC", 0x0161: "WMA", 0x674F: "Vorbis"}
EXTENSIBLE = 0xFFFE
MAX_CHUNKS = 1000
MAX_LISTS = 20
LIST = re.compile(rb"LIST....(?:INFO|adtl)", re.DOTALL)
"""Texts about the whole sound, and labels of its places, as programs write them behind the samples."""
CHUNK_NAME = re.compile(rb"[ -~]{4}")
ZEROS = re.compile(rb"\0*")


@dataclass
class Chunks:
    """The chunks that matter: byte order, the whole fmt chunk, offset of the data chunk and the size it says."""

    order: str
    form: bytes
    at: int
    size: int


def find_chunks(encoded):
    """Find the fmt and the data chunk of a WAV. ValueError if one is missing."""
    order = ">" if encoded.startswith(b"RIFX") else "<"
    at, form = 12, None
    for _ in range(MAX_CHUNKS):
        if len(encoded) < at + 8:
            raise ValueError("a WAV in which no data chunk is found: its header is damaged, or it holds no samples")
        name, size = struct.unpack_from(f"{order}4sI", encoded, at)
        if name == b"data":
            if form is None:
                raise ValueError("a WAV that does not say its encoding before its samples (no fmt chunk)")
            return Chunks(order, form, at, size)
        if name == b"fmt " and form is None and 16 <= size <= 4096:
            form = encoded[at : at + 8 + size + (size & 1)]
        at += 8 + size + (size & 1)
    raise ValueError(f"a WAV with more than {MAX_CHUNKS} chunks before its samples")


def name_encoding(chunks):
    """Name the encoding of the samples. ValueError, naming it, if it is not accepted."""
    (tag,) = struct.unpack_from(f"{chunks.order}H", chunks.form, 8)
    (bits,) = struct.unpack_from(f"{chunks.order}H", chunks.form, 22)
    if tag == EXTENSIBLE and len(chunks.form) >= 34:
        (tag,) = struct.unpack_from(f"{chunks.order}H", chunks.form, 32)
    if tag not in ENCODINGS:
        other = OTHERS.get(tag, f"the encoding 0x{tag:04x}")
        raise ValueError(f"a WAV that holds {other}: {', '.join(ENCODINGS.values())} are accepted")
    if ENCODINGS[tag] == "PCM" and bits > 32:
        raise ValueError(f"a WAV of {bits}-bit PCM: 8 to 32 bits are accepted")
    channels, _, _, block = struct.unpack_from(f"{chunks.order}HIIH", chunks.form, 10)
    room = block / channels if channels else 0
    if bits in UNCLEAR.get((ENCODINGS[tag], room), ()):
        raise ValueError(f"a WAV that says {bits} bits and {room:.0f} bytes a sample: expected bytes for the bits")
    return ENCODINGS[tag]


def canonicalize(encoded, chunks):
    """Return the WAV with nothing but its fmt chunk, its samples and their true size.

    No decoder can read it in two ways, or fail at what somebody noted in it. One that is so already is returned as it
    is.
    """
    size = _actual_size(encoded, chunks)
    start = chunks.at + 8
    end = start + size
    _refuse_more_samples(encoded, end, chunks.order)
    if start == 20 + len(chunks.form) and size == chunks.size and end == len(encoded) and encoded[:4] != b"RF64":
        return encoded
    magic = b"RIFX" if chunks.order == ">" else b"RIFF"
    head = struct.pack(f"{chunks.order}4sI", b"data", size)
    sizes = struct.pack(f"{chunks.order}I", 4 + len(chunks.form) + 8 + size)
    return b"".join((magic, sizes, b"WAVE", chunks.form, head, memoryview(encoded)[start:end]))


def _refuse_more_samples(encoded, at, order):
    """Raise ValueError if a second data chunk or WAV is among the chunks behind the samples; zeros may be between."""
    for _ in range(MAX_CHUNKS):
        if zeros := ZEROS.match(encoded, at):
            at = zeros.end()
        if not CHUNK_NAME.match(encoded, at) or len(encoded) < at + 8:
            return
        name, size = struct.unpack_from(f"{order}4sI", encoded, at)
        if name == b"data":
            raise ValueError("a WAV with two data chunks: expected one sound")
        if name in WAV_MAGIC:
            raise ValueError("a WAV with more samples behind its own: expected one sound")
        at += 8 + size
        if size & 1 and not CHUNK_NAME.match(encoded, at):
            at += 1


def _actual_size(encoded, chunks):
    """Count the bytes of samples: as the header says if they are there, else all of the rest but the tags at its end.

    A size of 0 is believed if nothing but chunks is behind it.
    """
    start = chunks.at + 8
    size = chunks.size
    if encoded.startswith(b"RF64") and encoded[12:16] == b"ds64" and size == 0xFFFFFFFF:
        size = int.from_bytes(encoded[28:36], "little") or size
    elif size == 0:
        (riff,) = struct.unpack_from(f"{chunks.order}I", encoded, 4)
        believed = riff + 8 == len(encoded) and _holds_chunks_only(encoded, start, chunks.order)
        size = 0 if believed else len(encoded)
    return size if start + size <= len(encoded) else max(0, _find_tags(encoded, start, chunks.order) - start)


def _find_tags(encoded, start, order):
    """Return where the samples of unknown number end: at the tags that a program wrote behind them, or the file's end.

    Tags are a LIST of texts or labels whose size, with those of the chunks behind it, leads exactly to the end of the
    file. That samples are such by chance takes more than eight bytes that fit, at one place of 2 ** 64.
    """
    end = find_end(encoded)
    whole = memoryview(encoded)[:end]
    lists = [found.start() for found in LIST.finditer(whole, start)][-MAX_LISTS:]
    return next((at for at in lists if _holds_chunks_only(whole, at, order)), end)


def _holds_chunks_only(encoded, at, order):
    """Do chunks, and nothing else, fill the file from `at` to its end?"""
    for _ in range(MAX_CHUNKS):
        if at >= len(encoded):
            return at <= len(encoded) + 1  # a last pad byte may be missing
        if len(encoded) < at + 8 or not CHUNK_NAME.match(encoded, at):
            return False
        (size,) = struct.unpack_from(f"{order}I", encoded, at + 4)
        at += 8 + size + (size & 1)
    return True
