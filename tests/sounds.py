"""Sound files made from tones, as programs write them in the field: unfinished, joined, tagged, of odd depths.

Each maker takes samples in [-1, 1] of shape (frames, channels) and returns the bytes of a file.
"""

import io
import re
import struct
from fractions import Fraction

import av
import numpy as np
import soundfile

RATE = 16_000


def tone(frames, frequency=440, channels=1, rate=RATE):
    """A sine at half scale, the same in every channel, (frames, channels)."""
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(frames) / rate)
    return np.stack([wave] * channels, axis=1)


def encoded(samples, container, subtype, rate=RATE, **options):
    """By libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype, **options)
    return numbered(file.getvalue()) if container == "OGG" else file.getvalue()


def by_ffmpeg(samples, container, codec, rate=RATE):
    """By FFmpeg, from 16 bits."""
    file = io.BytesIO()
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    integers = np.round(samples * 32767).astype(np.int16).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(integers, "s16", layout)
    frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return file.getvalue()


# WAV


def chunk(name, body, order="<", size=None, padded=True):
    size = len(body) if size is None else size
    return name + struct.pack(f"{order}I", size) + body + b"\0" * (padded and len(body) % 2)


def fmt(tag=1, channels=1, bits=16, rate=RATE, order="<", block=None):
    block = channels * bits // 8 if block is None else block
    return chunk(b"fmt ", struct.pack(f"{order}HHIIHH", tag, channels, rate, rate * block, block, bits), order)


def riff(*chunks, size=None, order="<"):
    body = b"WAVE" + b"".join(chunks)
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(f"{order}I", len(body) if size is None else size) + body


def pcm(samples, bits=16, order="<"):
    """Integers of 8 (unsigned), 16, 24 or 32 bits."""
    scaled = np.round(samples * (2 ** (bits - 1) - 1)).astype(np.int64)
    if bits == 8:
        return (scaled + 128).astype(np.uint8).tobytes()
    wide = scaled.astype(f"{order}i8").view(np.uint8).reshape(-1, 8)
    return wide[:, : bits // 8].tobytes() if order == "<" else wide[:, 8 - bits // 8 :].tobytes()


def rf64(samples, known=True):
    """With a ds64 chunk that says the sizes, or zeros as a pipe leaves them."""
    data = pcm(samples)
    sizes = (72 + len(data), len(data), len(samples)) if known else (0, 0, 0)
    body = chunk(b"ds64", struct.pack("<QQQI", *sizes, 0)) + fmt(channels=samples.shape[1])
    return b"RF64\xff\xff\xff\xffWAVE" + body + chunk(b"data", data, size=0xFFFFFFFF)


# FLAC


def flac(samples, bits=16, rate=RATE, block=4096, announced=None, padding=0):
    """Of any depth from 4 to 32 bits, not compressed; `announced` samples, 0 for unknown."""
    frames, channels = samples.shape
    integers = np.round(samples * (2 ** (bits - 1) - 1)).astype(np.int64)
    announced = frames if announced is None else announced
    packed = rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | announced
    information = struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    blocks = [integers[start : start + block] for start in range(0, frames, block)]
    padded = b"\x81" + padding.to_bytes(3, "big") + bytes(padding) if padding else b""
    head = b"fLaC" + (b"\0" if padding else b"\x80") + b"\0\0\x22" + information + padded
    return head + b"".join(_flac_frame(part, bits, number) for number, part in enumerate(blocks))


def _flac_frame(integers, bits, number):
    frames, channels = integers.shape
    head = bytes([0xFF, 0xF8, 0x70, (channels - 1) << 4]) + chr(number).encode() + struct.pack(">H", frames - 1)
    head += bytes([_crc(head, 0x07, 8)])
    fields = [np.array([0, 0, 0, 0, 0, 0, 1, 0], np.uint8)]  # a subframe of samples as they are
    places = np.arange(bits - 1, -1, -1)
    subframes = [
        part
        for channel in range(channels)
        for part in (*fields, ((integers[:, channel, None] >> places) & 1).astype(np.uint8).ravel())
    ]
    body = head + np.packbits(np.concatenate(subframes)).tobytes()
    return body + struct.pack(">H", _crc(body, 0x8005, 16))


def _table(polynomial, bits):
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table


TABLES = {(polynomial, bits): _table(polynomial, bits) for polynomial, bits in [(7, 8), (0x8005, 16), (0x04C11DB7, 32)]}


def _crc(data, polynomial, bits):
    table, mask, crc = TABLES[polynomial, bits], (1 << bits) - 1, 0
    for byte in data:
        crc = (crc << 8 & mask) ^ table[crc >> (bits - 8) ^ byte]
    return crc


# Ogg


def flac_in_ogg(samples, rate=RATE):
    return numbered(by_ffmpeg(samples, "ogg", "flac", rate))


def pages(ogg):
    """[bytes of each page]."""
    starts = [match.start() for match in re.finditer(rb"OggS\0", ogg)]
    return [ogg[start:end] for start, end in zip(starts, [*starts[1:], len(ogg)], strict=True)]


def page_at(page, granule):
    """The same page with another position."""
    return _sealed(page[:6] + struct.pack("<q", granule) + page[14:])


def numbered(ogg, serial=1):
    """The same file with that serial number: encoders draw one at random."""
    return b"".join(_sealed(page[:14] + struct.pack("<I", serial) + page[18:]) for page in pages(ogg))


def _sealed(page):
    """With its checksum made anew."""
    page = page[:22] + bytes(4) + page[26:]
    return page[:22] + struct.pack("<I", _crc(page, 0x04C11DB7, 32)) + page[26:]


# MP3


def mp3(samples, rate=RATE, counted=True, variable=True):
    """By LAME; not `counted`: without the frame that says how many there are, as a pipe leaves it."""
    mode = "VARIABLE" if variable else "CONSTANT"
    file = encoded(samples, "MP3", "MPEG_LAYER_III", rate, bitrate_mode=mode, compression_level=0.5)
    return file if counted else file[mpeg_frame_length(file) :]


def mpeg_frame_length(file):
    """Bytes of the MPEG layer III frame that `file` begins with."""
    version, rate = file[1] >> 3 & 3, file[2] >> 2 & 3
    rates = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}[version]
    bits = {
        3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    }.get(version, (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160))
    return (144 if version == 3 else 72) * 1000 * bits[file[2] >> 4] // rates[rate] + (file[2] >> 1 & 1)


# Tags


def id3v2(size=100, claimed=None, body=b""):
    claimed = size if claimed is None else claimed
    syncsafe = bytes(claimed >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + syncsafe + body.ljust(size, b"\0")


ID3V1 = b"TAG" + bytes(125)


def apev2(items=2000):
    return b"APETAGEX" + struct.pack("<IIII8x", 2000, 32 + items, 0, 0x80000000) + bytes(items)
