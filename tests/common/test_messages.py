"""Laws of the texts that are kept and shown: one line, and no address in memory."""

import io
import json

import pytest
from PIL import Image

from common.messages import end_clause, first_line, name_error, one_line, shorten
from loadgen.arm import Arm, Mode
from loadgen.client.worker_threads import Client
from loadgen.samples.sample import FAILED, Sample
from transport.http_answer import judge_answer
from workloads.image import IMAGE
from workloads.payloads import Payload


def no_image() -> Exception:
    """What Pillow says names the object that it was given."""
    with pytest.raises(OSError, match="object at 0x") as refused:
        Image.open(io.BytesIO(b"no image"))
    return refused.value


def test_an_object_is_named_without_its_address_and_lines_become_one():
    assert one_line(no_image()) == "cannot identify image file <_io.BytesIO object>"
    assert one_line("<bound method A.b of <__main__.A object at 0x7F3a>>\n\nagain") == (
        "<bound method A.b of <__main__.A object>> again"
    )


def test_a_reason_is_the_first_line_and_not_long():
    assert first_line("\n  first\nsecond") == "first"
    assert first_line("") == ""
    assert len(first_line("x" * 1000)) == 200


def test_a_long_text_is_cut_between_words():
    assert shorten("one two", 7) == "one two"
    assert shorten("one two three", 12) == "one two..."
    assert first_line("word " * 100) == "word " * 38 + "word..."


def test_an_error_whose_text_says_too_little_has_its_type():
    assert name_error(KeyError("age")) == "KeyError: 'age'" and name_error(AssertionError()) == "AssertionError"
    assert name_error(ValueError("not four bytes")) == "not four bytes"
    assert name_error(json.JSONDecodeError("no value", "", 0)) == "no value: line 1 column 1 (char 0)"


def test_no_sample_keeps_an_address_whoever_wrote_it():
    def fails(encoded: bytes):
        raise no_image()

    sample = Sample(0, 0, 0)
    client = Client(Arm(IMAGE, "client", Mode("sequential")), lambda: 1)
    assert client.prepare(fails, sample, Payload("x", b"x")) is None
    assert (sample.status, sample.reason) == (
        FAILED,
        "client preprocessing: cannot identify image file <_io.BytesIO object>",
    )
    body = json.dumps({"error": str(no_image())}).encode()
    texts = body, str(no_image()).encode()
    answers = [judge_answer(code, {}, text, ()) for code in (400, 503) for text in texts]
    assert all(answer.reason.endswith("<_io.BytesIO object>") for answer in answers)


def test_what_a_terminal_would_obey_or_cannot_print_is_left_out():
    assert one_line("a\x1b[31mred\x07 \udcff café 语") == "a [31mred café 语"


@pytest.mark.parametrize(("text", "ends"), [("is not healthy.", "is not healthy"), ("cut ...", "cut ..."), ("a", "a")])
def test_what_a_semicolon_follows_has_no_full_stop(text, ends):
    assert end_clause(text) == ends
