"""Makes an exception's message fit for a client: one line, without addresses of objects or paths."""

import re

OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")  # as in "cannot identify image file <_io.BytesIO object at 0x7f...>"
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
FOLDERS = re.compile(r"(?<![\w.])/(?:[\w.+@-]+/)+")  # of an absolute path; the file's own name stays


def one_line(error):
    """Return the message of an exception, or a text, in one line; the exception's name if nothing is left."""
    text = OBJECT.sub("", str(error))
    text = FOLDERS.sub("", ADDRESS.sub("", text))
    return " ".join(text.split()) or type(error).__name__
