"""Twin of Triton's native `dali` backend, in Python: the same config.pbtxt, the same `dali.py` or `model.dali`.

It is for servers that have only the Python backend. Two things it does better than the native one: it needs
no driver, and a bad sample fails its own request and no other. One thing only it does: the steps in Python that a
`dali.py` may name for what no graph can do (`dali_graph.load`).
"""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb
from dali_graph import check, load, num_threads, reason
from nvidia.dali import Pipeline


class TritonPythonModel:
    """Inputs are lists of samples, which may differ in shape: between requests if the config allows it
    (`allow_ragged_batch`). The samples that one request gets back must be of one shape.
    """

    def initialize(self, args):
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"], args["model_version"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]
        self.on_gpu = args["model_instance_kind"] == "GPU"
        self.serialized, prepare = load(folder, config["default_model_filename"])
        self.prepare = {name: prepare.get(name, lambda sample: sample) for name in self.inputs}
        self.options = {
            **({"batch_size": config["max_batch_size"]} if config["max_batch_size"] else {}),
            **num_threads(config["parameters"]),
            "device_id": int(args["model_instance_device_id"]) if self.on_gpu else None,
            "prefetch_queue_depth": 1,
            "exec_async": False,
            "exec_pipelined": False,
        }
        self.pipeline = self.build()
        check(config, self.serialized, self.pipeline)

    def build(self):
        """A fresh pipeline, in a few milliseconds: DALI's are unusable after the first error."""
        return Pipeline.deserialize(self.serialized, **self.options)

    def execute(self, requests):
        """One response per request: all in one run, or, should that fail, one by one, so that only bad ones do."""
        if len(requests) > 1:
            try:
                return self.answer(requests)
            except Exception as error:
                pb.Logger.log_verbose(f"{len(requests)} merged requests failed, each goes alone: {reason(error)}")
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """DALI's errors at run time come from the samples, so they are the client's (400)."""
        try:
            return self.answer([request])[0]
        except Exception as error:
            names = " or ".join(f"'{name}'" for name in self.inputs)
            message = f"input {names}: {reason(error)}"
            return pb.InferenceResponse(error=pb.TritonError(message, pb.TritonError.INVALID_ARG))

    def answer(self, requests):
        batches = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        rows = {name: [row for batch in batches for row in batch[name]] for name in self.inputs}
        outputs = self.run({name: [self.prepare[name](row) for row in samples] for name, samples in rows.items()})
        ends = np.cumsum([len(batch[self.inputs[0]]) for batch in batches]).tolist()
        spans = [range(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return [self.response(outputs, span) for span in spans]

    def run(self, inputs):
        try:
            for name, samples in inputs.items():
                self.pipeline.feed_input(name, samples)
            return [output.as_cpu() if self.on_gpu else output for output in self.pipeline.run()]
        except Exception:
            self.pipeline = self.build()
            raise

    def response(self, outputs, span):
        """The samples of one request, copied, since DALI reuses its buffers; Triton drops what nobody asked for.

        As in the native backend, the config's n-th output is the pipeline's n-th, whatever their names.
        """
        arrays = [np.stack([np.asarray(output[index]) for index in span]) for output in outputs]
        return pb.InferenceResponse([pb.Tensor(*pair) for pair in zip(self.outputs, arrays, strict=True)])
