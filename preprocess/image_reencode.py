"""What DALI gets of a file: never the file as it came, and of some kinds another encoding of their pictures.

DALI truncates the colours under a CMYK image's black ink where the rule rounds, rounds 16-bit samples where the rule
truncates, and makes no promise of what an animation's canvas holds beside its first frame. Whether a JPEG without its
end is complete is known once it is decoded. Such files are decoded by Pillow and handed on as PNG; all others are
rebuilt, not re-encoded.
"""

from preprocess import image_file
from preprocess.image import refusal


def prepare(encoded):
    """Return encoded bytes (or an array of them) as bytes of a JPEG, PNG or WebP that can be read in one way only.

    Raises ValueError, in one line, for what `image_file.read` refuses, before anything is decoded, and for one of the
    few that Pillow decodes here if it is damaged. Other damage is left for DALI to find, which fails the whole run and
    costs a new pipeline.
    """
    data = bytes(encoded)
    try:
        header = image_file.read(data)
        if header.complete and not header.reencoded:
            return header.rebuilt()
        from preprocess import image_pillow  # imported by who needs it: it costs a server 10 MB

        return image_pillow.png(header)
    except ValueError as error:
        raise refusal(data, error) from None
