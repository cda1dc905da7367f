"""What an Ogg file says about itself (RFC 3533): which sounds are joined in it, and when each begins and ends.

No sample is looked at. Pages are found by their first bytes; libogg, which decodes, checks their checksums.
"""

import struct
import zlib

MAX_PAGES = 100_000
"""Of an Ogg file: a minute has 24,000 if every page holds the shortest packet that there is."""
CODECS = {b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC"}
OTHER_CODECS = {b"Speex   ": "Speex", b"\x80theora": "Theora", b"fishead\0": "Skeleton", b"BBCD\0": "Dirac"}
UNKNOWN = -1
"""The clock of a page on which no packet ends."""
MILLISECONDS = (10, 20, 40, 60) * 3 + (10, 20) * 2 + (2.5, 5, 10, 20) * 4
"""Of a frame of Opus, by its configuration (RFC 6716, table 2)."""
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def split(encoded):
    """Take the sounds of an Ogg file apart, as several may be joined ("chained"): [(codec, first to last page)].

    ValueError for streams side by side, for a codec that is not accepted, and for a clock that runs backwards, or is
    missing where the sound ends: libsndfile ends where the last clock says.
    """
    links = []  # [codec, start, end]
    opening, clock, clockless, at = False, 0, False, 0
    for _ in range(MAX_PAGES):
        at = encoded.find(b"OggS\0", at)
        if at < 0 or len(encoded) < at + 27:
            break
        body = at + 27 + encoded[at + 26]
        if encoded[at + 5] & 2:
            _check_end(clockless)
            if opening:
                raise ValueError("an Ogg with several streams side by side: expected one sound")
            links.append([_name_codec(encoded[body : body + 8]), at, at])
            opening, clock, clockless = True, 0, False
        elif not links:
            break
        else:
            opening = False
            now = int.from_bytes(encoded[at + 6 : at + 14], "little", signed=True)
            if now != UNKNOWN and now < clock:
                raise ValueError("a damaged Ogg: its clock runs backwards")
            clock, clockless = max(now, clock), now == UNKNOWN and min(encoded[at + 27 : body], default=255) < 255
        at = max(at + 5, body + sum(encoded[at + 27 : body]))
        links[-1][2] = at
    else:
        raise ValueError(f"an Ogg of more than {MAX_PAGES} pages")
    _check_end(clockless)
    if not links or links[0][1]:
        raise ValueError("an Ogg that does not begin with the first page of a stream")
    return [(codec, encoded[start:end]) for codec, start, end in links]


def _check_end(clockless):
    """Raise ValueError if packets end on the last page of a sound and the page does not say when."""
    if clockless:
        raise ValueError("a damaged Ogg: its last page does not say when the sound ends")


def _name_codec(packet):
    for magic, codec in CODECS.items():
        if packet.startswith(magic):
            return codec
    other = next((name for magic, name in OTHER_CODECS.items() if packet.startswith(magic)), "an unknown codec")
    raise ValueError(f"an Ogg that holds {other}: {', '.join(CODECS.values())} are accepted")


def start_at_zero(link):
    """Return a sound in Opus with a clock that begins at 0, as in a piece of a stream it does not.

    libsndfile 1.2.2 would begin too early by the samples that are to be left out (pre-skip), and end as much too early.
    """
    offset = _find_offset(link)
    if offset <= 0:
        return link
    parts, done = [], 0
    for start, _, end, clock in _pages(link):
        parts.append(link[done:start])
        page = link[start:end]
        parts.append(page if clock <= 0 else _seal(page[:6] + struct.pack("<q", max(0, clock - offset)) + page[14:]))
        done = end
    return b"".join([*parts, link[done:]])


def _pages(link):
    """(where a page begins, its body begins, it ends; its clock) of each, as `split` finds them."""
    at = 0
    while (at := link.find(b"OggS\0", at)) >= 0 and len(link) >= at + 27:
        body = at + 27 + link[at + 26]
        end = max(at + 5, body + sum(link[at + 27 : body]))
        yield at, body, end, int.from_bytes(link[at + 6 : at + 14], "little", signed=True)
        at = end


def _find_offset(link):
    """Return the first clock of the sound less the samples (48 kHz) that end there; 0 where it cannot be told."""
    head, packets, samples = b"", 0, 0
    for start, at, _, clock in _pages(link):
        for length in link[start + 27 : at]:
            if len(head) < 2:
                head += link[at : at + min(length, 2)]
            at += length
            if length < 255:
                samples += _count_samples(head) if packets >= 2 else 0  # behind OpusHead and OpusTags
                head, packets = b"", packets + 1
        if samples and clock != UNKNOWN:
            return clock - samples
    return 0


def _count_samples(packet):
    """Return the samples (48 kHz) of a packet of Opus (RFC 6716, 3.1 and 3.2) by its first two bytes; 0 for none."""
    if not packet:
        return 0
    frames = (1, 2, 2, packet[-1] & 63 if len(packet) > 1 else 0)[packet[0] & 3]
    return int(frames * MILLISECONDS[packet[0] >> 3] * 48)


def _seal(page):
    """Return a page with its checksum: a CRC as zlib's, of the bits in the other order, and nothing inverted."""
    page = page[:22] + bytes(4) + page[26:]
    checksum = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return page[:22] + checksum.to_bytes(4, "big").translate(REVERSED) + page[26:]
