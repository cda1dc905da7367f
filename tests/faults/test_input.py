"""Hostile input on the real server: 200, or 400 with one line that names the cause, and nothing else happens.

Most of it is sent by sixteen threads at once with good requests in between, so that the batcher merges both.
"""

import contextlib
import gc
import http.client
import io
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import PIL.Image
import pytest
import tritonclient.grpc
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from serving import Failure, local, model_loader, smoke_test, wheel
from serving.triton_api import TritonAPI, reason
from tests.conftest import ROOT, ports
from tests.faults import corpus

THREADS, EVERY = 16, 8
"""Requests in flight, and how many hostile ones there are to a good one."""
HANG = 120
"""Seconds without an answer that count as a hang, however slow the machine."""
GROWTH = 2 << 30
"""Bytes that the server's processes may grow by, all together, whatever they are sent."""
STATUS = {str(grpc.StatusCode.INVALID_ARGUMENT): 400, str(grpc.StatusCode.UNAVAILABLE): 503}
INTERNAL = re.compile(r"0x[0-9a-fA-F]{6,}|object at|(?<![\w.])/(?:[\w.+@-]+/)+")
"""An object's address, or the folders of a path."""
FORMATS = [(ensemble, name) for ensemble, formats in corpus.good().items() for name in formats]
BOMBS = [(ensemble, name) for ensemble, bombs in corpus.BOMBS.items() for name in bombs]
PREPROCESSED = {"image": ("image_preprocess", "pixels"), "audio": ("audio_preprocess", "waveform")}


@dataclass
class Answer:
    status: int
    reason: str = ""
    outputs: dict = field(default_factory=dict)
    seconds: float = 0.0


class Asker(threading.local):
    """A connection of each kind per thread. One input per request; an answer's outputs are arrays."""

    def __init__(self, record):
        self.http = http.client.HTTPConnection(*record.address.split(":"), timeout=HANG)
        self.grpc = tritonclient.grpc.InferenceServerClient(f"{record.host}:{record.grpc_port}")

    def ask(self, protocol, model, name, array):
        """Asks again while the server says that it is overloaded (503), as a client should."""
        end = time.monotonic() + HANG
        while True:
            began = time.monotonic()
            answer = getattr(self, f"by_{protocol}")(model, name, array)
            answer.seconds = time.monotonic() - began
            if answer.status != 503 or began > end:
                return answer
            time.sleep(0.2)

    def by_http(self, model, name, array):
        tensor = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        body, size = InferenceServerClient.generate_request_body([tensor])
        self.http.request("POST", f"/v2/models/{model}/infer", body, {"Inference-Header-Content-Length": str(size)})
        response = self.http.getresponse()
        content = response.read()
        if response.status != 200:
            return Answer(response.status, reason(content))
        header = int(response.headers["Inference-Header-Content-Length"])
        return Answer(200, outputs=arrays(InferenceServerClient.parse_response_body(content, header_length=header)))

    def by_grpc(self, model, name, array):
        tensor = tritonclient.grpc.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        try:
            return Answer(200, outputs=arrays(self.grpc.infer(model, [tensor], client_timeout=HANG)))
        except InferenceServerException as error:
            return Answer(STATUS.get(error.status(), 500), f"{error.status()}: {error.message()}")


def arrays(result):
    response = result.get_response()
    names = (
        [o["name"] for o in response["outputs"]] if isinstance(response, dict) else [o.name for o in response.outputs]
    )
    return {name: result.as_numpy(name) for name in names}


def bytes_of(file):
    return np.frombuffer(file, np.uint8)[None]


@pytest.fixture(scope="module")
def asker(server):
    return Asker(server)


@pytest.fixture(scope="module", autouse=True)
def unharmed(server):
    """After all of it the same processes run, both ensembles answer with sense, and memory has not run away."""
    before = local.processes(server.name)
    time.sleep(1)
    before = dict(before.items() & local.processes(server.name).items())  # not what comes and goes
    grown = memory(before)
    yield
    assert before.items() <= local.processes(server.name).items()
    smoke_test.run(TritonAPI(server.address, server.admin_key))
    grown = memory(before) - grown
    print(f"the server grew by {grown >> 20} MiB")
    assert grown < GROWTH


def memory(processes):
    """Bytes, what several of them share counted once (the kernel's proportional set size)."""
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in processes)
    return sum(int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[1]) << 10 for rollup in rollups)


def stubs(server):
    return {pid for pid, program in local.processes(server.name).items() if program.startswith("triton_python")}


def crowd(asker, model, files, protocol="http", good=None, output="logits"):
    """Sends `files` and, after every eighth, a good one; the answers to `files`, those to the good ones checked."""
    good = good or next(iter(corpus.good()[model].values()))
    alone = asker.ask(protocol, model, "encoded", bytes_of(good)).outputs[output]
    queue = [
        (file, hostile)
        for at, one in enumerate(files)
        for file, hostile in [(one, True), (good, False)][: 1 + (at % EVERY == 0)]
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda entry: asker.ask(protocol, model, "encoded", bytes_of(entry[0])), queue))
    for (_, hostile), answer in zip(queue, answers, strict=True):
        if not hostile:
            assert answer.status == 200, answer.reason
            np.testing.assert_allclose(answer.outputs[output], alone, rtol=1e-4, atol=1e-4)
    return [answer for (_, hostile), answer in zip(queue, answers, strict=True) if hostile]


def judge(answers):
    """Counts by status. Each is 200 with finite numbers, or 400 with one line that is no traceback."""
    for answer in answers:
        if answer.status == 200:
            assert all(np.isfinite(array).all() for array in answer.outputs.values() if array.dtype.kind == "f")
            continue
        assert answer.status == 400, answer
        assert answer.reason.strip() and "\n" not in answer.reason and len(answer.reason) < 600, answer
        assert not any(word in answer.reason for word in ("Traceback", "line ", ".py", "not healthy")), answer
        assert not INTERNAL.search(answer.reason), answer
    return Counter(answer.status for answer in answers)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(("ensemble", "name"), FORMATS)
def test_every_percent_of_a_file_is_answered_or_refused(asker, ensemble, name, protocol):
    file = corpus.good()[ensemble][name]
    counts = judge(crowd(asker, ensemble, corpus.truncations(file), protocol))
    assert counts.total() == 100 and counts[400]


@pytest.mark.parametrize(("ensemble", "name"), FORMATS)
def test_damaged_files_are_answered_or_refused(asker, ensemble, name):
    answers = crowd(asker, ensemble, corpus.mutations(corpus.good()[ensemble][name], 200, seed=1))
    assert judge(answers)[400] or name == "MP3"  # of which what can be decoded is answered, wherever it begins


@pytest.mark.parametrize("ensemble", PREPROCESSED)
def test_the_neighbours_of_damaged_files_get_their_own_tensor_to_the_last_bit(server, asker, ensemble):
    model, output = PREPROCESSED[ensemble]
    files = corpus.good()[ensemble]
    good = next(iter(files.values()))
    alone = asker.ask("grpc", model, "encoded", bytes_of(good)).outputs[output]
    hostile = [file for name in files for file in corpus.mutations(files[name], 60, seed=2)]
    queue = [file for pair in zip(hostile, [good] * len(hostile), strict=True) for file in pair]
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda file: asker.ask("grpc", model, "encoded", bytes_of(file)), queue))
    judge(answers)
    for answer in answers[1::2]:
        np.testing.assert_array_equal(answer.outputs[output], alone)


@pytest.mark.parametrize(("ensemble", "name"), BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(server, asker, ensemble, name):
    make, refusal = corpus.BOMBS[ensemble][name]
    before = memory(stubs(server))
    file = bytes_of(make())
    answers = [asker.ask(protocol, ensemble, "encoded", file) for protocol in ("http", "grpc")]
    judge(answers)
    if refusal:
        for answer in answers:
            assert answer.status == 400 and refusal in answer.reason, answer
    assert memory(stubs(server)) - before < 200 << 20


@pytest.mark.parametrize(("ensemble", "name"), BOMBS)
def test_nothing_holds_on_to_a_file_that_was_refused(ensemble, name):
    """A local variable that names its own exception keeps the file, and Triton's shared memory, until Python collects:
    sixteen bodies of 100 MB took 5 GB."""
    from preprocess import audio, image

    file = corpus.BOMBS[ensemble][name][0]() + b"\0"  # an object of its own: those of one byte are everybody's
    gc.disable()
    try:
        for preprocess in [audio.waveform] if ensemble == "audio" else [make() for make in image.LIBRARIES.values()]:
            before = sys.getrefcount(file)
            with contextlib.suppress(ValueError):
                preprocess(file)
            assert sys.getrefcount(file) == before
    finally:
        gc.enable()


@pytest.mark.parametrize(("ensemble", "name"), BOMBS)
def test_a_client_refuses_a_bomb_as_the_server_does(ensemble, name):
    from preprocess import audio, image

    make, refusal = corpus.BOMBS[ensemble][name]
    file = make()
    for preprocess in [audio.waveform] if ensemble == "audio" else [make() for make in image.LIBRARIES.values()]:
        try:
            tensor = preprocess(file)
        except ValueError as error:
            assert (refusal or "") in str(error) and "\n" not in str(error)
        else:
            assert refusal is None and np.isfinite(tensor).all()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("ensemble", PREPROCESSED)
def test_a_batch_of_bombs_leaves_its_neighbours_alone(asker, ensemble, protocol):
    bombs = [make() for make, refusal in corpus.BOMBS[ensemble].values() if refusal]
    files = [bomb for bomb in bombs if len(bomb) < 1 << 20]
    assert judge(crowd(asker, ensemble, files * 3, protocol)) == {400: 3 * len(files)}


NETWORKS = {
    "pixels of NaN": ("resnet50", "pixels", np.full((1, 3, 224, 224), np.nan, "f4"), "not finite"),
    "pixels of infinity": ("resnet50", "pixels", np.full((1, 3, 224, 224), np.inf, "f4"), "not finite"),
    "pixels too small for a normal float": ("resnet50", "pixels", np.full((1, 3, 224, 224), 1e-40, "f4"), None),
    "pixels of FP64": ("resnet50", "pixels", np.zeros((1, 3, 224, 224)), "data-type is 'FP64'"),
    "pixels of another shape": ("resnet50", "pixels", np.zeros((1, 3, 224, 225), "f4"), "unexpected shape"),
    "pixels without a batch": ("resnet50", "pixels", np.zeros((3, 224, 224), "f4"), "unexpected shape"),
    "no pixels": ("resnet50", "pixels", np.zeros((0, 3, 224, 224), "f4"), "byte size mismatch"),
    "33 images": ("resnet50", "pixels", np.zeros((33, 3, 224, 224), "f4"), "batch-size must be <= 32"),
    "another input": ("resnet50", "waveform", np.zeros((1, 3, 224, 224), "f4"), "waveform"),
    "a waveform with a NaN": ("wav2vec2", "waveform", np.r_[np.nan, np.zeros(15_999)].astype("f4")[None], "not finite"),
    "a waveform of 10 ms": ("wav2vec2", "waveform", np.zeros((1, 160), "f4"), "160 elements, expected 400 to 960000"),
    "a waveform of nothing": ("wav2vec2", "waveform", np.zeros((1, 0), "f4"), "0 elements, expected 400"),
    "a waveform of 25 ms": ("wav2vec2", "waveform", np.zeros((1, 400), "f4"), None),
    "a waveform of 61 s": ("wav2vec2", "waveform", np.zeros((1, 61 * 16_000), "f4"), "expected 400 to 960000"),
    "a waveform of INT16": ("wav2vec2", "waveform", np.zeros((1, 16_000), "i2"), "data-type is 'INT16'"),
    "a waveform in two dimensions": ("wav2vec2", "waveform", np.zeros((1, 2, 16_000), "f4"), "unexpected shape"),
    "nine clips": ("wav2vec2", "waveform", np.zeros((9, 800), "f4"), "batch-size must be <= 8"),
    "logits of NaN": ("ctc_decode", "logits", np.full((1, 5, 32), np.nan, "f4"), "NaN"),
    "an hour of frames": ("ctc_decode", "logits", np.zeros((1, 180_000, 32), "f4"), "at most 3000"),
    "no frames": ("ctc_decode", "logits", np.zeros((1, 0, 32), "f4"), None),
    "logits of another vocabulary": ("ctc_decode", "logits", np.zeros((1, 5, 31), "f4"), "unexpected shape"),
    "images as floats": ("image", "encoded", np.zeros((1, 9), "f4"), "data-type is 'FP32'"),
    "images without a batch": ("image", "encoded", np.zeros(9, "u1"), "unexpected shape"),
    "33 files": ("image_preprocess", "encoded", np.zeros((33, 9), "u1"), "batch-size must be <= 32"),
    "nine files": ("audio_preprocess", "encoded", np.zeros((9, 9), "u1"), "batch-size must be <= 8"),
    "sounds as text": ("audio", "encoded", np.array([[b"sound"]], object), "data-type is 'BYTES'"),
}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_tensor_that_makes_no_sense_is_refused_with_the_reason(asker, kind, protocol):
    model, name, array, refusal = NETWORKS[kind]
    answer = asker.ask(protocol, model, name, array)
    judge([answer])
    assert answer.status == (400 if refusal else 200) and (refusal or "") in answer.reason, answer


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("model", "name", "shape"), [("resnet50", "pixels", (3, 224, 224)), ("wav2vec2", "waveform", (16_000,))]
)
def test_a_nan_changes_nothing_for_those_it_is_merged_with(server, asker, model, name, shape, protocol):
    good = np.random.default_rng(0).normal(size=(1, *shape)).astype("f4")
    bad = np.where(np.arange(shape[-1]) == 7, np.nan, good).astype("f4")
    alone = asker.ask(protocol, model, name, good).outputs["logits"]
    before = merges(server, model)
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda array: asker.ask(protocol, model, name, array), [good, bad] * 40))
    assert {answer.status for answer in answers[1::2]} == {400}
    for answer in answers[::2]:
        np.testing.assert_allclose(answer.outputs["logits"], alone, rtol=1e-4, atol=1e-4)
    assert merges(server, model) > before


def merges(server, model):
    """Runs of more than one request so far."""
    [statistics] = json.loads(TritonAPI(server.address).call(f"/v2/models/{model}/stats")[0])["model_stats"]
    return sum(batch["compute_infer"]["count"] for batch in statistics["batch_stats"] if int(batch["batch_size"]) > 1)


@pytest.mark.parametrize("times", [1, pytest.param(8, marks=pytest.mark.long)])
@pytest.mark.parametrize("ensemble", PREPROCESSED)
def test_a_body_of_100_mb_is_refused(asker, ensemble, times):
    """The server takes in all of it, as Triton 2.51 has no limit; but the eighth needs no more memory than GROWTH."""
    for protocol in ["http", "grpc"] * (times // 2) or ["http"]:
        answer = asker.ask(protocol, ensemble, "encoded", np.zeros((1, 100 << 20), "u1"))
        assert answer.status == 400 and "33554432" in answer.reason


def test_the_ensemble_with_a_check_before_dali_gives_the_same_answers_and_refuses_before(tmp_path):
    """What a server with the native DALI backend is told to take: `--model-config-name=checked`."""
    command, environment = wheel.tritonserver(tmp_path)
    (option,) = [flag for flag in ports() if "http" in flag]
    steps = model_loader.steps("tiny", tmp_path)
    command += [f"--model-repository={steps}", f"--model-repository={model_loader.ENSEMBLES}", option]
    command += ["--model-control-mode=explicit", "--load-model=image", "--allow-grpc=0", "--allow-metrics=0"]
    command += ["--model-config-name=checked", "--http-address=127.0.0.1"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        api = TritonAPI(f"127.0.0.1:{option.partition('=')[2]}")
        while not api.is_ready("image"):
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        for name, file in corpus.good()["image"].items():
            ((shape, _),) = api.infer("image", file).values()
            assert shape == [1, 1000], name
            with pytest.raises(Failure, match="400: in ensemble 'image', input 'encoded': cannot decode"):
                api.infer("image", file[: len(file) * 9 // 10])
        (statistics,) = json.loads(api.call("/v2/models/image_preprocess/stats")[0])["model_stats"]
        assert statistics["inference_stats"]["fail"]["count"] == 0
    finally:
        process.terminate()
        process.wait()


def test_a_librarys_message_loses_its_addresses_and_folders(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "backends")
    from messages import one_line

    for said, sent in {
        "cannot identify image file <_io.BytesIO object at 0x7f35d81b7880>": "cannot identify image file",
        "no such file: '/srv/models/1/model.onnx'\n at 0x55d8b6fe7260": "no such file: 'model.onnx' at",
        "/onnxruntime_src/core/element_wise_ops.h:540 BroadcastIterator": "element_wise_ops.h:540 BroadcastIterator",
        "expected 1/2 or 3/4, JPEG/PNG and/or WebP of 0 bytes": "expected 1/2 or 3/4, JPEG/PNG and/or WebP of 0 bytes",
        "": "ValueError",
    }.items():
        assert one_line(ValueError(said)) == sent
        assert not INTERNAL.search(sent)
    assert INTERNAL.search("<_io.BytesIO object at 0x7f35d81b7880>") and INTERNAL.search("in /srv/x/model.py")


def test_a_cmyk_jpeg_with_a_damaged_table_is_refused_without_an_address(asker):
    """Pillow, which re-encodes it for DALI, names the object that it read."""
    file = io.BytesIO()
    PIL.Image.new("CMYK", (64, 48), (10, 20, 30, 40)).save(file, "JPEG")
    damaged = bytearray(file.getvalue())
    damaged[damaged.index(b"\xff\xdb") + 4] = 0xFF  # a quantisation table of no known precision and number
    for protocol in ("http", "grpc"):
        answer = asker.ask(protocol, "image", "encoded", bytes_of(bytes(damaged)))
        assert judge([answer]) == {400: 1}


@pytest.mark.long
def test_an_hour_of_waveform_is_refused(asker):
    for protocol in ("http", "grpc"):
        answer = asker.ask(protocol, "wav2vec2", "waveform", np.zeros((1, 3600 * 16_000), "f4"))
        assert answer.status == 400 and "57600000 elements" in answer.reason


@pytest.mark.long
def test_the_largest_accepted_pictures_merged_are_decoded_one_at_a_time(server, asker):
    """Eight of 64 megapixels would take 3 GiB in one run of DALI."""
    large = corpus.jpeg_of(8192, 8192)
    before = memory(stubs(server))
    assert judge(crowd(asker, "image", [large] * 8))[400] == 0
    assert memory(stubs(server)) - before < GROWTH


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("ensemble", "name"), FORMATS)
def test_five_thousand_damaged_files(server, asker, ensemble, name, capsys):
    before = memory(local.processes(server.name))
    answers = crowd(asker, ensemble, corpus.mutations(corpus.good()[ensemble][name], 5000, seed=3))
    counts, slowest = judge(answers), max(answer.seconds for answer in answers)
    grown = (memory(local.processes(server.name)) - before) >> 20
    with capsys.disabled():
        print(
            f"\n{name}: {counts.total()} tried, {counts[200]} answered, {counts[400]} refused, "
            f"slowest {slowest:.2f} s, server {grown:+} MiB"
        )
    assert grown < GROWTH >> 20
