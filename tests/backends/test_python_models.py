"""Laws of the models written in Python, `audio_preprocess`, `ctc_decode` and `image_check`, on the real server."""

import json
from pathlib import Path

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from models.artefacts import VOCABULARY
from preprocess.audio import waveform
from preprocess.image_reencode import prepare
from tests.faults import corpus
from tests.sounds import encoded, tone
from tests.twins import EIGHT, config, running

ROOT = Path(__file__).parents[2]
STEPS = ROOT / "model_repository"
CLIPS = [
    path
    for path in sorted((ROOT / "workloads" / "clips").rglob("*"))
    if path.suffix in (".wav", ".flac", ".mp3", ".ogg")
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def vocabulary():
    return {token: number for number, token in enumerate(VOCABULARY)}


@pytest.fixture(scope="module")
def transcribe(server, vocabulary):
    """Token ids, one per frame -> transcript; clips of one length go in one request."""
    tensors = "logits FP32 [ -1, 32 ]", "transcript STRING [ 1 ]", "max_batch_size: 8"
    files = {"model_py": STEPS / "ctc_decode" / "1" / "model.py", "vocab_json": json.dumps(vocabulary)}
    server.load("ctc_decode", config("python", *tensors), **files)

    def transcribe(clips):
        answer = server.ask("ctc_decode", logits=np.eye(32, dtype="f4")[np.array(clips)])
        return [text.decode() for text in answer["transcript"][:, 0]]

    return transcribe


@pytest.mark.parametrize(
    ("frames", "transcript"),
    [
        ("H H E L L O", "HELO"),
        ("H E L <pad> L O", "HELLO"),
        ("<pad> <pad> H <pad> <pad> I <pad>", "HI"),
        ("H I | | Y O U |", "HI YOU"),
        ("A | <pad> | B", "A  B"),
        ("<pad>", ""),
    ],
)
def test_repeats_collapse_before_blanks_drop(transcribe, vocabulary, frames, transcript):
    assert transcribe([[vocabulary[token] for token in frames.split()]]) == [transcript]


def test_the_transcript_is_that_of_the_checkpoints_own_tokenizer(transcribe, vocabulary, tmp_path):
    from transformers import Wav2Vec2CTCTokenizer

    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = Wav2Vec2CTCTokenizer(tmp_path / "vocab.json")
    random = np.random.default_rng(0)
    clips = random.choice([0, 0, 0, 4, *range(32)], (8, 300)).repeat(2, axis=1)
    assert transcribe(clips) == tokenizer.batch_decode(clips, clean_up_tokenization_spaces=False)


def test_one_clip_that_is_no_sound_fails_alone(server):
    tensors = "encoded UINT8 [ -1 ] allow_ragged_batch: true", "waveform FP32 [ -1 ]", EIGHT
    files = {"model_py": STEPS / "audio_preprocess" / "1" / "model.py"}
    server.load("audio_preprocess", config("python", *tensors), **files)
    clips = [CLIPS[number % len(CLIPS)].read_bytes() for number in range(8)]
    clips[3] = b"this is not a sound"
    answers = server.together("audio_preprocess", [{"encoded": np.frombuffer(clip, "u1")[None]} for clip in clips])
    refused = answers.pop(3)
    assert refused.status() == "400" and refused.message().startswith("input 'encoded': cannot decode 19 bytes")
    assert server.batches("audio_preprocess", samples=8) == [8]
    for clip, answer in zip(clips[:3] + clips[4:], answers, strict=True):
        np.testing.assert_array_equal(answer["waveform"][0], waveform(clip))


def test_clips_of_two_lengths_in_one_request_are_refused_by_their_lengths(server):
    tensors = "encoded UINT8 [ -1 ] allow_ragged_batch: true", "waveform FP32 [ -1 ]", "max_batch_size: 8"
    files = {"model_py": STEPS / "audio_preprocess" / "1" / "model.py"}
    server.load("two_lengths", config("python", *tensors), **files)
    long, short = (encoded(tone(frames), "WAV", "PCM_16") for frames in (2_000, 1_600))
    rows = np.stack([np.frombuffer(each.ljust(len(long), b"\0"), "u1") for each in (long, short)])
    with pytest.raises(InferenceServerException, match="not of 1600 to 2000 samples") as refused:
        server.ask("two_lengths", encoded=rows)
    assert refused.value.status() == "400"
    equal = server.ask("two_lengths", encoded=rows[[0, 0]])["waveform"]
    np.testing.assert_array_equal(equal, [waveform(long)] * 2)


def test_the_check_hands_whole_images_on_rebuilt_and_refuses_the_others_alone(server):
    tensors = "encoded UINT8 [ -1 ] allow_ragged_batch: true", "checked UINT8 [ -1 ]", EIGHT
    server.load("image_check", config("python", *tensors), model_py=STEPS / "image_check" / "1" / "model.py")
    files = [*corpus.good()["image"].values()] * 2
    files[2], files[5] = corpus.jpeg_of(65500, 65500), files[5][:-200]
    answers = server.together("image_check", [{"encoded": np.frombuffer(file, "u1")[None]} for file in files])
    assert server.batches("image_check", samples=8) == [8]
    for index, reason in ((5, "a JPEG without its end (EOI)"), (2, "the header says 65500 x 65500; ")):
        refused, file = answers.pop(index), files.pop(index)
        start = f"input 'encoded': cannot decode {len(file)} bytes as JPEG, PNG or WebP: {reason}"
        assert refused.status() == "400" and refused.message().startswith(start)
    assert [answer["checked"].tobytes() for answer in answers] == [prepare(file) for file in files]


@pytest.mark.parametrize("name", corpus.good()["image"])
def test_no_image_that_was_cut_is_prepared(name):
    for file in corpus.truncations(corpus.good()["image"][name]):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            prepare(file)
