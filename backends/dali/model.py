"""Twin of Triton's native `dali` backend, in Python: the same config.pbtxt, the same `dali.py` or `model.dali`.

It is for servers that have only the Python backend. Two things it does better than the native one: it needs
no driver, and a bad sample fails its own request and no other. One thing only it does: the steps in Python that a
`dali.py` may name for what no graph can do (`dali_graph.load`).
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
from error_isolation import isolated
from messages import one_line


@admitting
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
        """A fresh pipeline, in a few milliseconds: DALI's are unusable after the first error."""
        return Pipeline.deserialize(self.serialized, **self.options)

    def execute(self, requests):
        """One response per request; what `PREPARE` refuses costs no run."""
        return isolated(requests, self.prepared, self.answer, self.refusal)

    def prepared(self, request):
        """Input name -> prepared samples."""
        inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        return {name: [self.prepare[name](row) for row in inputs[name]] for name in self.inputs}

    def refusal(self, error):
        """DALI's errors at run time come from the samples, so they are the client's (400)."""
        names = " or ".join(f"'{name}'" for name in self.inputs)
        message = f"input {names}: {one_line(reason(error))}"
        return pb.InferenceResponse(error=pb.TritonError(message, pb.TritonError.INVALID_ARG))

    def answer(self, batches):
        """One response per batch, a batch being what `prepared` gives for a request."""
        rows = {name: [row for batch in batches for row in batch[name]] for name in self.inputs}
        parts = self.parts(rows)
        outputs = [self.run({name: rows[name][part] for name in rows}, copy=len(parts) > 1) for part in parts]
        ends = np.cumsum([len(batch[self.inputs[0]]) for batch in batches]).tolist()
        spans = [range(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        merged = outputs[0] if len(parts) == 1 else [list(chain(*pieces)) for pieces in zip(*outputs, strict=True)]
        return [self.response(merged, span) for span in spans]

    def parts(self, rows):
        """The samples of each run, as slices, in order."""
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
        """Per output, something to index by sample: DALI's own buffers, valid until the next run, or copies."""
        try:
            for name, samples in inputs.items():
                self.pipeline.feed_input(name, samples)
            outputs = [output.as_cpu() if self.on_gpu else output for output in self.pipeline.run()]
        except Exception:
            self.pipeline = self.build()
            raise
        return [[np.array(output[i]) for i in range(len(output))] for output in outputs] if copy else outputs

    def response(self, outputs, span):
        """The samples of one request, copied, since DALI reuses its buffers; Triton drops what nobody asked for.

        As in the native backend, the config's n-th output is the pipeline's n-th, whatever their names.
        """
        arrays = [np.stack([np.asarray(output[index]) for index in span]) for output in outputs]
        return pb.InferenceResponse([pb.Tensor(*pair) for pair in zip(self.outputs, arrays, strict=True)])
