"""A real tritonserver for the tests of `backends/`, to which each test adds the models it needs.

Where requests must be merged, the test's own config makes it certain: the batcher waits until as many samples are
there as `EIGHT` says, for so long that a slow machine changes nothing.
"""

import contextlib
import subprocess
import time
from pathlib import Path

import onnx
import tritonclient.grpc
import tritonclient.http
from onnx import helper
from tritonclient.utils import InferenceServerException

from serving import local, wheel
from serving.ports import free_ports

EIGHT = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 100000000 }"


@contextlib.contextmanager
def running(folder, repositories=()):
    """The server, while the block lasts; with repositories of others it loads all of theirs, and no more."""
    server = Server(folder, repositories)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


class Server:
    """tritonserver with an empty repository; `load` adds a model to it."""

    def __init__(self, folder, repositories=()):
        self.repository = folder / "models"
        self.repository.mkdir()
        http, grpc, metrics = free_ports()
        command, environment = wheel.tritonserver(folder)
        command += [f"--model-repository={each}" for each in repositories or [self.repository]]
        command += ["--exit-timeout-secs=1", *([] if repositories else ["--model-control-mode=explicit"])]
        command += ["--http-address=127.0.0.1", f"--http-port={http}"]
        command += ["--grpc-address=127.0.0.1", f"--grpc-port={grpc}"]
        command += ["--metrics-address=127.0.0.1", f"--metrics-port={metrics}"]
        self.prefix = f"twins-{http}."
        command += [f"--backend-config=python,shm-region-prefix-name={self.prefix}"]
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)
        self.address, self.metrics = f"127.0.0.1:{http}", f"127.0.0.1:{metrics}"
        self.http = tritonclient.http.InferenceServerClient(self.address, concurrency=8)
        self.grpc = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{grpc}")

    def wait(self):
        while True:
            assert self.process.poll() is None, Path(self.log.name).read_text()
            try:
                if self.http.is_server_ready():
                    return
            except OSError:
                pass
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        for segment in local.SHM.glob(f"{self.prefix}*"):  # of a stub that died
            segment.unlink(missing_ok=True)  # by a stub that is only now at its end

    def load(self, name, config, **files):
        """`files`: what to put into the version's folder; ONNX models, text or bytes, or a path to link to."""
        version = self.repository / name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(f'name: "{name}" {config}')
        for file, content in files.items():
            path = version / file.replace("_", ".")
            if isinstance(content, Path):
                path.symlink_to(content)
            else:
                content = content.SerializeToString() if isinstance(content, onnx.ModelProto) else content
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.http.load_model(name)

    def ask(self, name, outputs=None, **arrays):
        """One request over HTTP: output name -> array. Raises InferenceServerException."""
        (answer,) = self.together(name, [arrays], outputs)
        if isinstance(answer, InferenceServerException):
            raise answer
        return answer

    def together(self, name, requests, outputs=None):
        """All at once; an answer is a dict of arrays, or the exception."""
        asked = [tritonclient.http.InferRequestedOutput(output) for output in outputs] if outputs else None
        pending = [
            self.http.async_infer(name, tensors(tritonclient.http, arrays), outputs=asked) for arrays in requests
        ]
        answers = []
        for request in pending:
            try:
                answers.append(decoded(request.get_result()))
            except InferenceServerException as error:
                answers.append(error)
        return answers

    def batches(self, name, samples):
        """Size of each batch that ever ran, as soon as they hold so many: statistics come after the answers."""
        sizes = []
        while sum(sizes) < samples:
            (statistics,) = self.http.get_inference_statistics(name)["model_stats"]
            sizes = [batch["batch_size"] for batch in statistics["batch_stats"] for _ in range(count(batch))]
        return sizes


def count(batch):
    return batch["compute_infer"]["count"]


def tensors(client, arrays):
    inputs = []
    for name, array in arrays.items():
        kind = "BYTES" if array.dtype == object else {"f": "FP", "i": "INT", "u": "UINT"}[array.dtype.kind]
        kind = kind if kind == "BYTES" else f"{kind}{8 * array.itemsize}"
        inputs.append(client.InferInput(name, array.shape, kind))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def decoded(result):
    return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def network(nodes, inputs, outputs, **constants):
    """`inputs`, `outputs`: name -> (ONNX type, shape)."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in inputs.items()],
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def config(backend, inputs, outputs, more=EIGHT):
    """`inputs`, `outputs`: "name TYPE dims" separated by semicolons."""

    def entries(text):
        words = [tensor.split(" ", 2) for tensor in text.split("; ")]
        return ", ".join(f'{{ name: "{name}" data_type: TYPE_{kind} dims: {dims} }}' for name, kind, dims in words)

    tensors = f"input [ {entries(inputs)} ] output [ {entries(outputs)} ]"
    return f'backend: "{backend}" instance_group [ {{ count: 1 }} ] {tensors} {more}'
