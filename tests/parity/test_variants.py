"""Every optional placement computes what it declares: the same as the workload's own, or less, and how far from it."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from crossover.measurement.extra_models import ExtraModels
from crossover.parity.check import check_placements
from crossover.parity.wording import describe_pair, note_loss
from preprocess import audio_reencode
from preprocess.audio_decode import decode
from preprocess.image import APPROXIMATE, LIBRARIES, STD
from preprocess.image_recompress import recompress
from serving.server import Server
from serving.triton_api import Refused, TritonAPI
from workloads import optional
from workloads.audio import AUDIO
from workloads.image import IMAGE, fitted, photographs

LARGE = [*photographs((640,)), *fitted(1920, 1080)]
EXACT, NEAR, LESS = "exact", "near", "less"
WHAT = {
    "image client:uint8": EXACT,
    "image client:opencv": NEAR,
    "image client:scaled": NEAR,
    "image client:recompressed": NEAR,
    "image server:python": EXACT,
    "image server:opencv": NEAR,
    "image server:scaled": NEAR,
    "image server:bls": EXACT,
    "image server:top5": LESS,
    "image local": EXACT,
    "image ready": EXACT,
    "image mixed:0.5": EXACT,
    "image mixed:auto": EXACT,
    "audio mixed:0.5": EXACT,
    "audio mixed:auto": EXACT,
    "audio local": EXACT,
    "audio ready": EXACT,
    "audio client:resampled": NEAR,
    "audio client:flac": NEAR,
    "audio client:opus": LESS,
    "audio server:transcript": LESS,
}
"""Arm -> whether it is the computation of its baseline, the same within a declared loss, or less."""


@pytest.fixture(scope="module")
def workloads(server):
    """Both workloads with all of their variants, whose models are loaded meanwhile."""
    extra = ExtraModels(Server.at(server.url, server.state), server.state, lambda line: None)
    try:
        found = {each.name: each.with_arms(optional.list_names(each.bases)) for each in (IMAGE, AUDIO)}
        yield {name: extra.load(each, each.placements) for name, each in found.items()}
    finally:
        extra.unload()


def test_every_variant_is_tried_here():
    """A gateway is a process of a run's, and tried in tests/measurement/test_gateway.py."""
    names = {f"{each.name} {name}" for each in (IMAGE, AUDIO) for name in optional.list_names(each.bases)}
    apart = {f"{each.name} {name}" for each in (IMAGE, AUDIO) for name in (*each.placements, optional.GATEWAY)}
    assert set(WHAT) == names - apart


@pytest.mark.parametrize("arm", WHAT)
def test_a_variant_computes_the_same_or_declares_what_it_loses(arm, workloads, server):
    workload, name = arm.split(" ")
    sent = LARGE if workload == "image" else AUDIO.load()
    [pair] = check_placements(server.url, workloads[workload], ["server", name], "", sent)
    assert not pair.unanswered and pair.payloads == len(sent)
    assert pair.verdict == {EXACT: "same", NEAR: "same", LESS: "lossy"}[WHAT[arm]], describe_pair(arm, pair.as_dict())
    assert bool(pair.lossy) == (WHAT[arm] != EXACT)
    # A declared loss stands in the report, also where the answers agree.
    assert bool(note_loss(pair.as_dict())) == bool(pair.lossy)


@pytest.mark.parametrize("model", ["image_pillow", "image_opencv", "image_scaled", "image_bls", "image_top5"])
def test_what_is_no_photograph_is_the_clients_error(model, workloads, server):
    with pytest.raises(Refused, match="input 'encoded': cannot decode 5 bytes") as refused:
        TritonAPI(server.url.removeprefix("http://")).infer(model, b"hello")
    assert refused.value.code == 400


def test_the_five_highest_are_those_of_the_logits(workloads, server):
    api = TritonAPI(server.url.removeprefix("http://"))
    shape, logits = api.infer("image", LARGE[0].encoded)["logits"]
    answer = api.infer("image_top5", LARGE[0].encoded)
    classes, scores = np.frombuffer(answer["classes"][1], np.int32), np.frombuffer(answer["scores"][1], np.float32)
    logits = np.frombuffer(logits, np.float32)
    assert shape == [1, 1000] and list(classes) == list(np.argsort(-logits, kind="stable")[:5])
    np.testing.assert_array_equal(scores, logits[classes])


FURTHEST = {"scaled": (0.6, 9), "opencv": (2.6, 32)}
"""Library -> the most by which it differs from the rule, in grey levels: mean of a photograph, and any pixel."""


@pytest.mark.parametrize("library", APPROXIMATE)
def test_a_library_is_as_near_to_the_rule_as_its_module_says(library):
    near, rule = APPROXIMATE[library](), LIBRARIES["pillow"]()
    for payload in [*LARGE, *fitted(4032, 3024), *photographs((1920,))]:
        apart = np.abs(near(payload.encoded) - rule(payload.encoded)) * np.array(STD).reshape(3, 1, 1)
        mean, largest = FURTHEST[library]
        assert apart.mean() <= mean and apart.max() <= largest, payload.name
    assert apart.max() > 0


@pytest.mark.parametrize("library", APPROXIMATE)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_sideways_photograph_of_odd_sizes_is_as_near(library, orientation):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x112] = orientation
    Image.open(io.BytesIO(fitted(1283, 1031)[0].encoded)).save(file, "JPEG", exif=exif, quality=90)
    near, rule = APPROXIMATE[library](), LIBRARIES["pillow"]()
    assert np.abs(near(file.getvalue()) - rule(file.getvalue())).mean() * np.mean(STD) < 2.6


@pytest.mark.parametrize("library", APPROXIMATE)
@pytest.mark.parametrize("content", [b"", b"hello", photographs((320,))[0].encoded[:200]], ids=["", "text", "cut"])
def test_what_is_no_photograph_is_refused_in_one_line(library, content):
    with pytest.raises(ValueError, match=r"^cannot decode \d+ bytes as JPEG, PNG or WebP: [^\n]+$"):
        APPROXIMATE[library]()(content)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_recompressed_photograph_is_upright_and_small(orientation):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x112] = orientation
    Image.open(io.BytesIO(photographs((640,))[0].encoded)).save(file, "JPEG", exif=exif)
    small = Image.open(io.BytesIO(recompress(file.getvalue())))
    assert small.size == ((383, 256) if orientation == 1 else (256, 383)) and not small.getexif()
    tiny = io.BytesIO()
    Image.new("L", (40, 30)).save(tiny, "PNG")
    assert Image.open(io.BytesIO(recompress(tiny.getvalue()))).size == (40, 30)


def test_a_sound_of_16_bits_is_the_same_as_flac_and_its_other_encodings_have_16_khz():
    [wav] = [each.encoded for each in AUDIO.load() if each.name == "light-16k-mono.wav"]
    (before, rate), (after, same) = decode(wav), decode(audio_reencode.flac(wav))
    assert rate == same == 16_000
    np.testing.assert_array_equal(before, after)
    for encode in (audio_reencode.wav, audio_reencode.opus):
        for payload in AUDIO.load():
            described = soundfile.info(io.BytesIO(encode(payload.encoded)))
            assert (described.samplerate, described.channels) == (16_000, 1), payload.name


SILENCE, NOT_A_NUMBER = np.zeros(800, np.float32), np.full(800, np.nan, np.float32)


def as_wav(samples):
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.mark.parametrize("encode", [audio_reencode.wav, audio_reencode.flac, audio_reencode.opus])
@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"hello", "cannot decode 5 bytes as sound: "),
        (as_wav(SILENCE[:0]), "the sound is too short: 0 samples at 16 kHz"),
        (as_wav(SILENCE[:399]), "the sound is too short: 399 samples at 16 kHz"),
        (as_wav(NOT_A_NUMBER), "the sound has samples that are not finite"),
    ],
    ids=["no sound", "empty", "short", "not finite"],
)
def test_a_sound_that_the_server_refuses_is_refused_by_a_client_that_encodes_it_again(encode, encoded, reason):
    with pytest.raises(ValueError, match=f"^{reason}[^\n]*$"):
        encode(encoded)
    assert encode(as_wav(SILENCE))
