"""Twin of Triton's native `dali` backend, in Python: the same config.pbtxt, the same `dali.py` or `model.dali`.

It is for servers that have only the Python backend. Unlike the native one it needs no driver, a bad sample fails its
own request and no other, and a `dali.py` may name steps in Python for what no graph can do (`dali_graph.load`).
"""

import json
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb
from dali_graph import check, load, num_threads, reason
from nvidia.dali import Pipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from admission import admitting
from error_isolation import answer_isolated
from messages import one_line


@admitting
class TritonPythonModel:
    """Runs a DALI graph on lists of samples.

    Samples may differ in shape between requests if the config allows it (`allow_ragged_batch`). Those that one request
    gets back must be of one shape.
    """

    def initialize(self, args):
        """Load the graph and build the pipeline. Raises where config and graph do not fit each other."""
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"], args["model_version"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]
        self.on_gpu = args["model_instance_kind"] == "GPU"
        self.serialized, prepare, share = load(folder, config["default_model_filename"])
        self.prepare = {name: prepare.get(name, lambda sample: sample) for name in self.inputs}
        self.share = {name: share.get(name, lambda sample: 0) for name in self.inputs}
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
        """Return a new pipeline, within a few milliseconds: a DALI pipeline cannot be used after an error."""
        return Pipeline.deserialize(self.serialized, **self.options)

    def execute(self, requests):
        """Return one response per request; those that `PREPARE` refuses cost no run."""
        return answer_isolated(requests, self.prepare_samples, self.answer, self.refusal)

    def prepare_samples(self, request):
        """Return a request's input: name -> prepared samples."""
        inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        return {name: [self.prepare[name](row) for row in inputs[name]] for name in self.inputs}

    def refusal(self, error):
        """Return the response to an error: DALI's errors at run time come from the samples, so it is a 400."""
        names = " or ".join(f"'{name}'" for name in self.inputs)
        message = f"input {names}: {one_line(reason(error))}"
        return pb.InferenceResponse(error=pb.TritonError(message, pb.TritonError.INVALID_ARG))

    def answer(self, batches):
        """Return one response per batch; a batch is what `prepare_samples` returns for a request."""
        rows = {name: [row for batch in batches for row in batch[name]] for name in self.inputs}
        parts = self.parts(rows)
        outputs = [self.run({name: rows[name][part] for name in rows}, copy=len(parts) > 1) for part in parts]
        ends = np.cumsum([len(batch[self.inputs[0]]) for batch in batches]).tolist()
        spans = [range(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        merged = outputs[0] if len(parts) == 1 else [list(chain(*pieces)) for pieces in zip(*outputs, strict=True)]
        return [self.response(merged, span) for span in spans]

    def parts(self, rows):
        """Return which samples go into each run, as slices, in order."""
        if len(rows[self.inputs[0]]) == 1:
            return [slice(None)]
        starts, load = [0], 0.0
        for index, samples in enumerate(zip(*rows.values(), strict=True)):
            share = sum(self.share[name](sample) for name, sample in zip(rows, samples, strict=True))
            load += share
            if load > 1 and index > starts[-1]:
                starts.append(index)
                load = share
        return [slice(start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]

    def run(self, inputs, copy):
        """Run the pipeline; per output, return the samples: DALI's own buffers, valid until the next run, or copies."""
        try:
            for name, samples in inputs.items():
                self.pipeline.feed_input(name, samples)
            outputs = [output.as_cpu() if self.on_gpu else output for output in self.pipeline.run()]
        except Exception:
            self.pipeline = self.build()
            raise
        return [[np.array(output[i]) for i in range(len(output))] for output in outputs] if copy else outputs

    def response(self, outputs, span):
        """Return the response with the samples of one request, copied, as DALI reuses its buffers.

        As in the native backend, the config's n-th output is the pipeline's n-th, whatever their names. Triton drops
        outputs that nobody asked for.
        """
        arrays = [np.stack([np.asarray(output[index]) for index in span]) for output in outputs]
        return pb.InferenceResponse([pb.Tensor(*pair) for pair in zip(self.outputs, arrays, strict=True)])
