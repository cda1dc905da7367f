"""Laws of the examples with their real weights, which are downloaded and exported: photographs, speech and silence."""

import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.examples.repositories import encode_file
from tests.twins import running
from workloads import audio, image
from workloads.payloads import read

pytestmark = [pytest.mark.export, pytest.mark.timeout(1200)]
SENSIBLE = {
    "china": {"palace", "monastery", "bell cote", "church", "mosque", "castle", "boathouse", "stupa"},
    "flower": {"daisy"},
}
SPEECH = 0.5
"""The probability above which a window of 32 ms is speech."""


@pytest.fixture(scope="module")
def triton(environment, tmp_path_factory):
    """A tritonserver with the repositories of both examples, as a reader has them after `prepare.py`."""
    pytest.importorskip("cv2")
    for name, more in (("imagenet", ["--python", environment]), ("voice", [])):
        command = [sys.executable, ROOT / "examples" / name / "prepare.py", *more]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and f"ready: examples/{name}/model_repository" in done.stdout, done.stderr
    repositories = [ROOT / "examples" / name / "model_repository" for name in ("imagenet", "voice")]
    with running(tmp_path_factory.mktemp("examples"), repositories) as server:
        yield server


def test_the_classifier_names_both_photographs(triton):
    names = (ROOT / "examples/imagenet/model_repository/efficientnet/labels.txt").read_text().splitlines()
    assert len(names) == 1000
    for path in image.photograph_files():
        [logits] = triton.ask("classify", jpeg=encode_file("imagenet", path.read_bytes())).values()
        assert names[np.argmax(logits)] in SENSIBLE[path.stem]


def test_the_detector_hears_speech_in_every_clip_and_none_in_silence(triton):
    clips = [*audio.clips(), *read(audio.CLIPS.parent / "sentences", audio.SUFFIXES)]
    for payload in clips:
        [speech] = triton.ask("voice", recording=encode_file("voice", payload.encoded)).values()
        assert (speech > SPEECH).mean() > SPEECH, payload.name
    silence = (ROOT / "examples" / "voice" / "silence.wav").read_bytes()
    [speech] = triton.ask("voice", recording=encode_file("voice", silence)).values()
    assert not (speech > SPEECH).any() and len(speech) == 157
