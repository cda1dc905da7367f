"""A model repository as a stranger writes one, and a tritonserver on it without our launcher, key or twins.

Its models are of Triton's Python backend: one of every data type with optional inputs, some with several inputs and
outputs, some without batches, ensembles within each other, a decoupled one, and one that keeps a state.
"""

import contextlib
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from serving import local, wheel
from serving.ports import free_ports

TYPES = [f"{kind}{bits}" for kind in ("UINT", "INT") for bits in (8, 16, 32, 64)] + ["FP16", "FP32", "FP64"]
TYPES += ["BOOL", "BYTES"]

HEAD = """import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        pass

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        given = {each.name(): each.as_numpy() for each in request.inputs()}
        try:
            found = self.compute(**given)
        except Exception as error:
            return pb.InferenceResponse([], pb.TritonError(str(error)))
        return pb.InferenceResponse([pb.Tensor(name, array) for name, array in found.items()])

"""
"""What every model begins with: `compute` takes arrays by the names of inputs, and returns those of outputs."""


def tensor(name, kind, dims="-1", **more):
    """A tensor of a configuration."""
    kind = "STRING" if kind == "BYTES" else kind
    rest = "".join(f" {key}: {value}" for key, value in more.items())
    return f'{{ name: "{name}" data_type: TYPE_{kind} dims: [ {dims} ]{rest} }}'


def config(inputs, outputs, batch=8, more=""):
    """The configuration of a Python model."""
    return (
        f'backend: "python" max_batch_size: {batch} {more}\n'
        f"input [ {', '.join(inputs)} ]\noutput [ {', '.join(outputs)} ]\n"
        "instance_group [ { count: 1 kind: KIND_CPU } ]\n"
    )


def step(model, reads, writes):
    """A step of an ensemble."""
    maps = [f'input_map {{ key: "{key}" value: "{wire}" }}' for key, wire in reads.items()]
    maps += [f'output_map {{ key: "{key}" value: "{wire}" }}' for key, wire in writes.items()]
    return f'{{ model_name: "{model}" model_version: -1 {" ".join(maps)} }}'


def ensemble(inputs, outputs, steps, batch=8):
    """The configuration of an ensemble."""
    return (
        f'platform: "ensemble" max_batch_size: {batch}\ninput [ {", ".join(inputs)} ]\n'
        f"output [ {', '.join(outputs)} ]\nensemble_scheduling {{ step [ {', '.join(steps)} ] }}\n"
    )


ECHO = "    def compute(self, **given):\n        return {f'{name}_OUT': array for name, array in given.items()}\n"
"""Every input comes back under its name."""
DECODE = """    def compute(self, encoded):
        files = encoded.reshape(-1).tolist()
        numbers = np.array([np.frombuffer(each, np.uint8)[:4] for each in files], np.float32)
        return {"numbers": numbers.reshape(*encoded.shape[:-1], 4)}
"""
"""A file's first four bytes as numbers."""
WEIGH = """    def compute(self, numbers, weight, bias=np.float32(0)):
        return {"weighted": numbers * weight + bias, "count": np.full(numbers.shape[:-1] + (1,), 4, np.int64)}
"""
NAME = """    def compute(self, weighted):
        return {"text": np.array([[f"sum {row.sum():g}".encode()] for row in weighted], object)}
"""
LENGTH = """    def compute(self, encoded):
        return {"length": np.array([len(encoded.reshape(-1)[0])], np.int64)}
"""

NUMBERS = tensor("numbers", "FP32", 4)
MODELS = {
    "every_type": (
        config(
            [tensor(each, each, optional="true") for each in TYPES],
            [tensor(f"{each}_OUT", each) for each in TYPES],
        ),
        ECHO,
    ),
    "decode": (config([tensor("encoded", "BYTES", 1)], [NUMBERS]), DECODE),
    "weigh": (
        config(
            [NUMBERS, tensor("weight", "FP32", 1), tensor("bias", "FP32", 1, optional="true")],
            [tensor("weighted", "FP32", 4), tensor("count", "INT64", 1)],
        ),
        WEIGH,
    ),
    "name": (config([tensor("weighted", "FP32", 4)], [tensor("text", "BYTES", 1)]), NAME),
    "inner": (
        ensemble(
            [tensor("file", "BYTES", 1), tensor("by", "FP32", 1)],
            [tensor("product", "FP32", 4)],
            [
                step("decode", {"encoded": "file"}, {"numbers": "inside"}),
                step("weigh", {"numbers": "inside", "weight": "by"}, {"weighted": "product"}),
            ],
        ),
        "",
    ),
    "outer": (
        ensemble(
            [tensor("file", "BYTES", 1), tensor("weight", "FP32", 1)],
            [tensor("text", "BYTES", 1)],
            [
                step("inner", {"file": "file", "by": "weight"}, {"product": "inside"}),
                step("name", {"weighted": "inside"}, {"text": "text"}),
            ],
        ),
        "",
    ),
    "both": (
        ensemble(
            [tensor("file", "BYTES", 1), tensor("weight", "FP32", 1)],
            [tensor("text", "BYTES", 1), tensor("product", "FP32", 4)],
            [
                step("inner", {"file": "file", "by": "weight"}, {"product": "product"}),
                step("name", {"weighted": "product"}, {"text": "text"}),
            ],
        ),
        "",
    ),
    "unbatched": (config([tensor("encoded", "BYTES", 1)], [tensor("length", "INT64", 1)], batch=0), LENGTH),
    "unbatched_bytes": (config([tensor("encoded", "UINT8")], [tensor("length", "INT64", 1)], batch=0), LENGTH),
    "decoupled": (
        config([tensor("x", "FP32")], [tensor("y", "FP32")], more="model_transaction_policy { decoupled: true }"),
        ECHO,
    ),
    "stateful": (
        config([tensor("x", "FP32")], [tensor("x_OUT", "FP32")], more="sequence_batching { }"),
        ECHO,
    ),
}
"""Name -> (configuration, the model's own part of model.py; "" for an ensemble)."""


def write_repository(folder: Path) -> Path:
    """Write the models, and return the repository."""
    for name, (text, body) in MODELS.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(f'name: "{name}"\n{text}')
        if body:
            (version / "model.py").write_text(HEAD + body)
    return folder


@contextlib.contextmanager
def foreign_server(folder: Path):
    """A tritonserver as anyone starts it, on MODELS: yields its URL."""
    http, _, _ = free_ports()
    command, environment = wheel.tritonserver(folder)
    for twin in ("dali", "onnxruntime"):
        (folder / "backends" / twin).unlink()
    prefix = f"foreign-{http}."
    command += [f"--model-repository={write_repository(folder / 'models')}", "--exit-timeout-secs=1"]
    command += ["--http-address=127.0.0.1", f"--http-port={http}", "--allow-grpc=false", "--allow-metrics=false"]
    command += [f"--backend-config=python,shm-region-prefix-name={prefix}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{http}"
            while not is_ready(url):
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait()
            for segment in local.SHM.glob(f"{prefix}*"):
                segment.unlink(missing_ok=True)
            shutil.rmtree(folder / "backends")


def is_ready(url: str) -> bool:
    """Tell whether the server has loaded its models."""
    try:
        with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False
