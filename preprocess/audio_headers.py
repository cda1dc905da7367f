"""What a sound file says about itself: its format, its tags, its encoding, where joined files begin.

Only what decides which decoder reads a file, and what that decoder would not tell. No sample is looked at.
"""

import re

from preprocess.audio_mpeg import find_frames
from preprocess.format_names import begins_like

ACCEPTED = "none of the accepted formats, which are WAV, FLAC, OGG and MP3"
WAV_MAGIC = (b"RIFF", b"RIFX", b"RF64")
MAX_TAGS = 100
MAX_TAGS_BEHIND = 10
"""Fewer, as the whole file may be searched for the beginning of each."""
MAX_FILLER = 1 << 16
BLANK = b"\0 \t\r\n"
FILLER = re.compile(rb"(?:\xef\xbb\xbf)?[\0\s]{0,65536}(?=ID3|APETAGEX)")
"""What some programs write in front of a tag: a byte order mark, zeros, line breaks."""
FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""The magic, and the header of the metadata block that must follow it: STREAMINFO, 34 bytes."""


def strip_front_tags(encoded):
    """Cut off the ID3v2 and APE tags in front: (the rest, whether there was one)."""
    at = 0
    for _ in range(MAX_TAGS):
        filler = FILLER.match(encoded, at)
        if filler is None:
            break
        start = filler.end()
        if encoded[start : start + 3] == b"ID3":
            if len(encoded) < start + 10:
                break
            footer = 10 if encoded[start + 5] & 0x10 else 0
            at = start + 10 + _synchsafe(encoded[start + 6 : start + 10]) + footer
        else:
            at = start + 32 + int.from_bytes(encoded[start + 12 : start + 16], "little")
    return (encoded[at:] if at else encoded), at > 0


def _synchsafe(four):
    """Read the size in an ID3v2 tag: 7 bits per byte."""
    size = 0
    for byte in four:
        size = size << 7 | byte & 0x7F
    return size


def find_end(encoded):
    """Find where the file ends without an ID3v1 tag behind it: an offset."""
    return len(encoded) - (128 if encoded[-128:-125] == b"TAG" else 0)


def strip_behind(encoded):
    """Cut off the tags (ID3v1, ID3v2, APE), zeros and white space behind a sound.

    There are three rests: the shortest there can be, and those with one and two more of the cut bytes, as the sound
    itself may end with such.
    """
    end = len(encoded)
    for _ in range(MAX_TAGS_BEHIND):
        blank = encoded[max(0, end - MAX_FILLER) : end]
        blanks = len(blank) - len(blank.rstrip(BLANK))
        near = range(end, end - min(blanks, 4) - 1, -1)  # a tag may end with zeros itself, and a line break follow
        tag = next((start for stop in near if (start := _find_tag_behind(encoded, stop)) < stop), None)
        if tag is None and not blanks:
            break
        end = end - blanks if tag is None else tag
    return [encoded[:length] for length in range(end, min(end + 2, len(encoded)) + 1)]


def _find_tag_behind(encoded, end):
    """Find where the tag begins that ends at `end`: `end` if there is none."""
    if encoded[end - 128 : end - 125] == b"TAG" and end >= 128:
        return end - 128
    start = end
    if encoded[end - 32 : end - 24] == b"APETAGEX" and end >= 32:
        size = int.from_bytes(encoded[end - 20 : end - 16], "little")
        start = end - size - (32 if encoded[end - 9] & 0x80 else 0)  # the flag of a header
    elif encoded[end - 10 : end - 7] == b"3DI" and end >= 10:
        start = end - 20 - _synchsafe(encoded[end - 4 : end])
    else:
        at = encoded.rfind(b"ID3", 0, end)
        if at >= 0 and at + 10 + _synchsafe(encoded[at + 6 : at + 10]) == end:
            start = at
    return start if 0 <= start < end else end


def recognize(encoded, tagged):
    """Name the format by the first bytes, and say where it begins: (WAV, FLAC, OGG or MP3; offset).

    What follows a tag and is nothing else is MP3. So is what begins with anything else, but has MPEG frames that follow
    each other within its first 64 KiB: they begin at the offset. ValueError for the rest.
    """
    if encoded.startswith(WAV_MAGIC):
        return "WAV", 0
    if encoded.startswith(b"BW64"):
        raise ValueError(f"BW64 is not accepted: it is {ACCEPTED}")
    if encoded.startswith(b"fLaC"):
        return "FLAC", 0
    if encoded.startswith(b"OggS"):
        return "OGG", 0
    if tagged or (encoded[:1] == b"\xff" and len(encoded) > 1 and encoded[1] >= 0xE0 and encoded[1] & 0x06):
        return "MP3", 0
    start = find_frames(encoded)
    if start is None:
        raise ValueError(f"{ACCEPTED}{begins_like(encoded)}")
    return "MP3", start


def has_free_bit_rate(encoded):
    """Return whether it begins with the header of an MPEG frame that leaves its bit rate open."""
    return encoded[:1] == b"\xff" and len(encoded) > 2 and encoded[1] >= 0xE0 and encoded[2] >> 4 == 0


def split_flac(encoded):
    """Take files that were appended to each other apart: [bytes of each]. ValueError if it begins otherwise."""
    starts = [match.start() for match in FLAC_START.finditer(encoded)]
    if not starts or starts[0]:
        raise ValueError("a FLAC without its header (STREAMINFO)")
    return [encoded[start:end] for start, end in zip(starts, [*starts[1:], len(encoded)], strict=True)]


def parse_streaminfo(encoded):
    """Read from a FLAC's first block (bits per sample, samples per channel or 0 for unknown)."""
    if len(encoded) < 42:
        raise ValueError("a FLAC that ends within its header")
    packed = int.from_bytes(encoded[18:26], "big")  # 20 bits rate, 3 channels - 1, 5 bits per sample - 1, 36 samples
    return (packed >> 36 & 0x1F) + 1, packed & (1 << 36) - 1


def forget_length(encoded):
    """Return the same FLAC with an unknown number of samples, so that a decoder reads it to its end."""
    return encoded[:21] + bytes([encoded[21] & 0xF0, 0, 0, 0, 0]) + encoded[26:]
