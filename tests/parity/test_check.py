"""`crossover check` on the real server: which placements compute the same thing, and in what the others differ."""

import json
import socket

import pytest

from crossover.parity import answers
from loadgen.arm import Arm, Mode
from tests.commands import conduct
from workloads.image import IMAGE
from workloads.payloads import Payload

FILE = """
import io
import numpy as np
from PIL import Image
from crossover import Payload, Placement, Workload, per_thread
from preprocess.image import LIBRARIES
from workloads.image import photographs

def shrink(encoded):
    image, smaller = Image.open(io.BytesIO(encoded)).convert("RGB"), io.BytesIO()
    image.resize((40, 30)).save(smaller, "JPEG", quality=20)
    return np.frombuffer(smaller.getvalue(), np.uint8)

def make_bgr():
    decode = LIBRARIES["pillow"]()
    return lambda encoded: decode(encoded)[::-1]

WORKLOAD = Workload(
    name="detector", payloads=lambda: photographs((320, 640)),
    placements={
        "phone": Placement("resnet50", prepare=per_thread(LIBRARIES["pillow"])),
        "cloud": Placement("image"),
        "bgr": Placement("resnet50", prepare=per_thread(make_bgr)),
        "thumbnail": Placement("image", prepare=shrink, lossy="re-encoded as a small JPEG"),
    },
)
"""
SPEECH = """
import numpy as np
from crossover import Placement, Workload, files
from workloads.audio import clips

def cut(encoded):
    return np.frombuffer(encoded[: len(encoded) // 2], np.uint8)

WORKLOAD = Workload(
    name="words", payloads=lambda: [each for each in clips() if each.name.endswith(".wav")],
    placements={
        "text": Placement("audio", outputs=("transcript",)),
        "all": Placement("audio"),
        "half": Placement("audio", prepare=cut, outputs=("transcript",)),
        "numbers": Placement("audio", outputs=("logits",)),
    },
)
"""


@pytest.fixture
def check(server, tmp_path, capsys):
    """`crossover check` of a file with this text: (exit code, output, errors)."""

    def run(text, *arguments):
        (tmp_path / "own.py").write_text(text)
        return conduct(capsys, "check", tmp_path / "own.py", "--url", server.url, *arguments)

    return run


def test_the_built_in_placements_compute_the_same_and_so_do_their_tensors(server, capsys):
    code, output, errors = conduct(capsys, "check", "--url", server.url)
    assert (code, errors) == (0, "")
    assert "image client and server: the same computation" in output
    assert "audio client and server: the same computation" in output
    assert "pixels (image_preprocess alone): " in output and "waveform (audio_preprocess alone): equal in 5" in output


def test_opencv_is_a_library_whose_distance_is_reported_as_a_loss(server, capsys):
    code, output, errors = conduct(capsys, "check", "image", "--library", "opencv", "--url", server.url)
    assert (code, errors) == (0, "")
    assert (
        "declared (client: decoded and resized by OpenCV, whose filter is another one; up to 2.6 of 255 " in output
    )
    assert "pixels (image_preprocess alone): differs by " in output


def test_every_pair_is_compared_and_one_that_differs_is_exit_code_2(check):
    code, output, errors = check(FILE, "--json")
    assert (code, errors.count("DIFFERENT")) == (2, 2)  # what is printed goes there
    found = {tuple(pair["names"]): pair for pair in json.loads(output)["workloads"]["detector"]}
    assert {names: pair["verdict"] for names, pair in found.items()} == {
        ("phone", "cloud"): "same",
        ("phone", "bgr"): "different",
        ("phone", "thumbnail"): "lossy",
        ("cloud", "bgr"): "different",
        ("cloud", "thumbnail"): "lossy",
        ("bgr", "thumbnail"): "lossy",
    }
    [tensor] = found["phone", "cloud"]["tensors"]
    assert tensor["output"] == "pixels (image_preprocess alone)" and tensor["agrees"] and tensor["payloads"] == 4
    assert not found["cloud", "bgr"]["tensors"][0]["agrees"]
    assert not found["phone", "bgr"]["tensors"]  # neither asks an ensemble
    [logits] = found["phone", "bgr"]["outputs"]
    assert logits["worst"].endswith(".jpg") and logits["mean"] > 0.07 and 0 <= logits["top1"] <= 1


def test_what_is_declared_is_reported_and_no_fault(check):
    code, output, _ = check(FILE, "--arms", "cloud,thumbnail")
    assert code == 0
    assert "cloud and thumbnail: not the same, as declared (thumbnail: re-encoded as a small JPEG)" in output
    assert "top-1 the same in" in output


def test_text_must_be_equal_and_what_only_one_has_is_named(check):
    code, output, _ = check(SPEECH)
    assert code == 2
    lines = output.splitlines()
    assert "words text and all: the same computation" in lines
    assert "  not compared: logits, which only all has" in lines
    assert "words text and half: DIFFERENT answers" in lines
    assert any(line.startswith("  transcript: equal in ") and "(not in " in line for line in lines)
    # The only output of each side is compared, whatever it is called.
    assert any(line.startswith("  transcript/logits: ") and "one is text" in line for line in lines)


def test_a_payload_that_one_placement_does_not_answer_is_named_and_exit_code_1(check):
    damaged = FILE.replace("photographs((320, 640))", "[*photographs((320,)), Payload('bad.jpg', b'no JPEG')]")
    code, output, _ = check(damaged, "--arms", "phone,cloud")
    assert code == 1
    assert "phone and cloud: the same computation" in output and "no answer: bad.jpg by phone: " in output
    assert "logits: " in output and "2 of 2" in output


def test_a_placement_that_does_not_answer_is_asked_once(monkeypatch):
    monkeypatch.setattr(answers, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asker = answers.Asker(f"http://127.0.0.1:{silent.getsockname()[1]}", Arm(IMAGE, "server", Mode("sequential")))
        reasons = [asker.ask(Payload(name, b"x")).reason for name in ("a.jpg", "b.jpg", "c.jpg")]
        asker.close()
    late = "not asked after a.jpg, which had no answer within 0.2 s"
    assert reasons == ["no answer within 0.2 s", late, late]


def test_a_wrong_call_is_one_line_and_nothing_is_sent(check, tmp_path):
    for text, arguments, says in (
        (FILE, ("--arms", "cloud"), "there must be two"),
        (FILE, ("--arms", "cloud,nowhere"), "unknown placement 'nowhere'"),
        (FILE.replace('"image")', '"image", lossy=1)'), (), "lossy of the placement of image says what is lost"),
        (FILE.replace('Placement("image")', 'Placement("missing")'), (), "has no model missing"),
    ):
        code, output, errors = check(text, *arguments)
        (tmp_path / "own.py").unlink()
        assert (code, output, errors.count("\n")) == (2, "", 1) and says in errors, errors
        from workloads import catalogue

        catalogue.read_file.cache_clear()


def test_without_a_server_it_is_one_line(capsys):
    code, output, errors = conduct(capsys, "check", "image", "--url", "localhost:9")
    assert (code, output) == (1, "") and "no Triton server answers at http://localhost:9" in errors
