"""Names the format of a file that is refused, by its first bytes: whoever sent it mostly knows no other reason.

Nothing is decided by it. The beginnings are those of the formats' specifications, as `file` has them, too.
"""

import re

BEGINNINGS = (
    (rb"GIF8[79]a", "GIF"),
    (rb"BM.{8}", "BMP"),
    (rb"II[*+]\x00|MM\x00[*+]", "TIFF, or a camera's raw format"),
    (rb".{4}ftypavi[fs]", "AVIF"),
    (rb".{4}ftyp(?:hei|hev|mif1|msf1)", "HEIC"),
    (rb".{4}ftypcrx ", "a camera's raw format (CR3)"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"8BPS", "a Photoshop file"),
    (rb"\x00\x00\x01\x00.", "an icon (ICO)"),
    (rb"P[1-7]\s", "PNM"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"qoif", "QOI"),
    (rb"DDS ", "DDS"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG", "PNG"),
    (rb"RIFF.{4}WEBP", "WebP"),
    (rb"(?:RIFF|RIFX|RF64).{4}WAVE", "WAV"),
    (rb"RIFF.{4}AVI ", "AVI"),
    (rb"BW64", "BW64"),
    (rb"riff\x2e\x91\xcf\x11", "Wave64"),
    (rb"OggS", "Ogg"),
    (rb"fLaC", "FLAC"),
    (rb"ID3", "MP3"),
    (rb".{4}ftyp(?:M4[ABP]|F4A)", "M4A (AAC or ALAC in MP4)"),
    (rb".{4}ftyp", "MP4"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC"),
    (rb"#!AMR", "AMR"),
    (rb"FORM.{4}AIF[FC]", "AIFF"),
    (rb"\.snd", "AU"),
    (rb"caff", "CAF"),
    (rb"\x1aE\xdf\xa3", "WebM or Matroska"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA or ASF"),
    (rb"FLV\x01", "FLV"),
    (rb"wvpk", "WavPack"),
    (rb"TTA[12]", "TTA"),
    (rb"MAC ", "Monkey's Audio"),
    (rb"DSD |FRM8", "DSD"),
    (rb"\x0b\x77", "AC-3"),
    (rb"\x00\x00\x01[\xb3\xba]", "MPEG"),
    (rb"MThd", "MIDI"),
    (rb"NIST_1A", "NIST Sphere"),
    (rb"Creative Voice File", "VOC"),
    (rb"%PDF", "PDF"),
    (rb"PK\x03\x04", "a ZIP file"),
    (rb"\x1f\x8b", "gzip"),
    (rb"(?:\xef\xbb\xbf)?\s*<(?:svg|\?xml)", "SVG or XML"),
    (rb"(?:\xef\xbb\xbf)?\s*<(?i:!doctype|html)", "a page in HTML"),
    (rb"\s*[{\[]\s*[\"{\[]", "JSON"),
    (rb"data:\w+/", "a data URL: its bytes are expected, without base64"),
    (rb"(?:/9j/|iVBORw0K|UklGR|SUQz|T2dnU|ZkxhQ)", "base64: its bytes are expected"),
    (rb"version https://git-lfs", "a pointer of Git LFS, in place of the file"),
)
NAMES = [(re.compile(beginning, re.DOTALL), name) for beginning, name in BEGINNINGS]


def begins_like(encoded):
    """Return ", and it begins like GIF", for the end of a reason; "" for no bytes, and for a beginning not known."""
    head = bytes(encoded[:64])
    return next((f", and it begins like {name}" for beginning, name in NAMES if beginning.match(head)), "")
