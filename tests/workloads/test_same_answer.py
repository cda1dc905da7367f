"""Both placements are one computation: the client's tensor and the server's lead to the same answer."""

from itertools import combinations

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from preprocess.image import LIBRARIES
from workloads.audio import AUDIO, CLIPS
from workloads.image import IMAGE
from workloads.payloads import read

PHOTOGRAPHS = IMAGE.load()
SOUNDS = [*read(CLIPS, AUDIO.suffixes), *read(CLIPS.parent / "sentences", AUDIO.suffixes)]


def named(payload) -> str:
    return payload.name


@pytest.fixture(scope="module")
def client(server):
    return InferenceServerClient(server.address, concurrency=8, network_timeout=120)


def infer(client, model, name, tensor, *outputs):
    kind = {"uint8": "UINT8", "float32": "FP32"}[str(tensor.dtype)]
    batch = InferInput(name, [1, *tensor.shape], kind).set_data_from_numpy(tensor[None])
    return client.infer(model, [batch], outputs=[InferRequestedOutput(output) for output in outputs] or None)


def by_server(client, workload, payload):
    target = workload.placements["server"].target
    tensor = np.frombuffer(payload.encoded, "u1")
    return infer(client, target.model, target.inputs[0].name, tensor, "logits").as_numpy("logits")


def by_client(client, workload, payload, library):
    target = workload.placements["client"].target
    tensor = workload.placements["client"].preprocessor(library)(payload.encoded)
    return infer(client, target.model, target.inputs[0].name, tensor, "logits").as_numpy("logits")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=named)
def test_a_photograph_has_the_same_logits_and_top_five_from_both_placements(client, photograph, library):
    server, own = by_server(client, IMAGE, photograph), by_client(client, IMAGE, photograph, library)
    assert np.abs(server - own).max() < 0.02 * own.std()
    assert list(np.argsort(server[0])[-5:]) == list(np.argsort(own[0])[-5:])


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=named)
def test_with_the_default_library_they_agree_to_the_last_bit(client, photograph):
    library = next(iter(IMAGE.libraries))
    np.testing.assert_array_equal(by_server(client, IMAGE, photograph), by_client(client, IMAGE, photograph, library))


@pytest.mark.parametrize("sound", SOUNDS, ids=named)
def test_a_sound_has_the_same_logits_from_both_placements(client, sound):
    server, own = by_server(client, AUDIO, sound), by_client(client, AUDIO, sound, "librosa")
    np.testing.assert_allclose(server, own, atol=1e-4)


def test_different_inputs_have_different_logits(client):
    """Without this the equalities above could hold for a server that answers everything alike."""
    first, second = (by_server(client, IMAGE, photograph) for photograph in (PHOTOGRAPHS[0], PHOTOGRAPHS[-1]))
    assert np.abs(first - second).max() > 0.5 * first.std()


@pytest.mark.parametrize("wanted", [w for n in (0, 1, 2) for w in combinations(("logits", "transcript"), n)])
def test_the_audio_ensemble_answers_whatever_subset_of_its_outputs_is_asked_for(client, wanted):
    answer = infer(client, "audio", "encoded", np.frombuffer(SOUNDS[0].encoded, "u1"), *wanted)
    names = {output["name"] for output in answer.get_response()["outputs"]}
    assert names == set(wanted or ("logits", "transcript"))


@pytest.mark.parametrize("workload", [IMAGE, AUDIO], ids=lambda workload: workload.name)
def test_concurrent_requests_of_different_lengths_all_get_the_answer_they_get_alone(client, workload):
    payloads = (PHOTOGRAPHS if workload is IMAGE else SOUNDS)[:8]
    alone = [by_server(client, workload, payload) for payload in payloads]
    pending = []
    for payload in payloads:
        encoded = np.frombuffer(payload.encoded, "u1")
        batch = InferInput("encoded", [1, *encoded.shape], "UINT8").set_data_from_numpy(encoded[None])
        pending.append(client.async_infer(workload.placements["server"].model, [batch]))
    for expected, answer in zip(alone, pending, strict=True):
        np.testing.assert_allclose(answer.get_result().as_numpy("logits"), expected, atol=1e-4)
