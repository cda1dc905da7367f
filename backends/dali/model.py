"""Twin of Triton's native `dali` backend, in Python: the same config.pbtxt, the same `dali.py` or `model.dali`.

It is for servers that have only the Python backend. Unlike the native one it needs no driver: an instance of kind CPU
runs a graph that was written for the GPU on the CPU. A bad sample fails its own request and no other, and a `dali.py`
may name steps in Python for what no graph can do (`dali_graph.load`).
"""

import json
import os
import sys
import time
from itertools import chain
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb
from dali_graph import check, load, num_threads, reason
from dali_protobuf import to_cpu
from nvidia.dali import Pipeline
from nvidia.dali.backend import TensorListGPU

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from admission import admitting
from cuda_errors import end, end_if_lost, is_out_of_memory
from dali_warm_up import make_samples, warm_up
from error_isolation import answer_isolated
from messages import one_line
from rows import RowReader


@admitting
class TritonPythonModel:
    """Runs a DALI graph on lists of samples.

    Samples may differ in shape between requests if the config allows it (`allow_ragged_batch`). Those that one request
    gets back must be of one shape.
    """

    def initialize(self, args):
        """Load the graph, build the pipeline, on the GPU or the CPU by the instance's kind, and warm it up.

        Raises ValueError where config and graph do not fit each other, RuntimeError where the pipeline does not build,
        or runs none of its author's samples.
        """
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"], args["model_version"])
        self.name = config["name"]
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]
        self.reader = RowReader(config)
        device = int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else None
        if device is None:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # so that a `dali.py` that asks for GPUs finds none
        try:
            serialized, extras = load(folder, config["default_model_filename"], device)
            self.serialized = self.placed(serialized, device)
            self.prepare = {name: extras["PREPARE"].get(name, lambda sample: sample) for name in self.inputs}
            self.share = {name: extras["SHARE"].get(name, lambda sample: 0) for name in self.inputs}
            self.options = {
                **({"batch_size": config["max_batch_size"]} if config["max_batch_size"] else {}),
                **num_threads(config["parameters"]),
                "device_id": device,
                "prefetch_queue_depth": 1,
                "exec_async": False,
                "exec_pipelined": False,
            }
            self.pipeline = self.build()
            check(config, self.serialized, self.pipeline)
            self.warm_up(extras["WARM_UP"])
        except RuntimeError as error:
            where = "the CPU" if device is None else f"GPU {device}"
            raise RuntimeError(f"the pipeline does not run on {where}: {one_line(reason(error))}") from None

    def placed(self, serialized, device):
        """Return the graph as the instance's kind wants it, and say in the log what runs where if a GPU was meant."""
        try:
            on_cpu, meant_for_gpu = to_cpu(serialized)
        except ValueError as error:
            raise ValueError(f"the graph is no serialised pipeline: {error}") from None
        names = ", ".join(dict.fromkeys(meant_for_gpu)) or "no operator"
        if device is not None:
            pb.Logger.log_info(f"{self.name}: on GPU {device}: {names}")
            return serialized
        if meant_for_gpu:
            pb.Logger.log_warn(f"{self.name}: this instance has no GPU; on the CPU instead: {names}")
        return on_cpu

    def warm_up(self, makers):
        """Run the samples that the graph's author names, if any: on a GPU also as one batch of the largest size.

        `makers`: input name -> function that returns them. Raises RuntimeError if none of them runs.
        """
        on_gpu = self.options["device_id"] is not None

        def run(samples):
            rows = {name: [self.prepare[name](sample[name]) for sample in samples] for name in self.inputs}
            for part in self.parts(rows):
                self.compute({name: rows[name][part] for name in rows}, copy=False)

        def say(line):
            pb.Logger.log_warn(f"{self.name}: {line}")

        samples = make_samples(makers, self.inputs, say)
        ms = warm_up(run, samples, self.options.get("batch_size", 0) if on_gpu else 0, say)
        if self.pipeline is None:
            self.pipeline = self.build()
        if ms and on_gpu:
            pb.Logger.log_info(f"{self.name}: its first runs took {', '.join(f'{each:.1f}' for each in ms)} ms")

    def build(self):
        """Return a new pipeline: on the CPU within a few milliseconds."""
        began = time.monotonic()
        pipeline = Pipeline.deserialize(self.serialized, **self.options)
        pipeline.build()
        if self.options["device_id"] is not None:
            pb.Logger.log_info(f"{self.name}: the pipeline was built in {time.monotonic() - began:.2f} s")
        return pipeline

    def execute(self, requests):
        """Return one response per request; those that `PREPARE` refuses cost no run."""
        return answer_isolated(requests, self.prepare_samples, self.answer, self.refusal)

    def prepare_samples(self, request):
        """Return a request's input: name -> prepared samples. Raises ValueError if it has none."""
        inputs = self.reader.read(request)
        return {name: [self.prepare[name](row) for row in inputs[name]] for name in self.inputs}

    def refusal(self, error):
        """Return the response to an error: 503 if memory ran out, else 400, as DALI's errors come from the samples."""
        names = " or ".join(f"'{name}'" for name in self.inputs)
        message = f"input {names}: {one_line(reason(error))}"
        code = pb.TritonError.UNAVAILABLE if is_out_of_memory(error) else pb.TritonError.INVALID_ARG
        return pb.InferenceResponse(error=pb.TritonError(message, code))

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
        """Return what `compute` does; end the stub if the run lost it its GPU."""
        if self.pipeline is None:
            self.pipeline = self.rebuilt()
        try:
            return self.compute(inputs, copy)
        except Exception as error:
            end_if_lost(error)
            raise

    def compute(self, inputs, copy):
        """Run the pipeline; per output, return the samples: DALI's own buffers, valid until the next run, or copies.

        A DALI pipeline cannot be used after an error, so the next run gets a new one.
        """
        if self.pipeline is None:
            self.pipeline = self.build()
        try:
            for name, samples in inputs.items():
                self.pipeline.feed_input(name, samples)
            return [samples_of(output, copy) for output in self.pipeline.run()]
        except Exception:
            self.pipeline = None
            raise

    def rebuilt(self):
        """Return a new pipeline after an error; end the stub if there is none to be had, though the first one was."""
        try:
            return self.build()
        except Exception as error:
            if not is_out_of_memory(error):
                end(f"the pipeline of {self.name} cannot be built again", error)
            raise

    def response(self, outputs, span):
        """Return the response with the samples of one request, copied if DALI reuses their buffers.

        As in the native backend, the config's n-th output is the pipeline's n-th, whatever their names. Triton drops
        outputs that nobody asked for.
        """
        arrays = [stack(output, span) for output in outputs]
        return pb.InferenceResponse([pb.Tensor(*pair) for pair in zip(self.outputs, arrays, strict=True)])


def samples_of(output, copy):
    """Return an output's samples in host memory: of a GPU in one copy, which is ours, as one array if shapes are equal.

    Those of the CPU are DALI's own buffers unless `copy`.
    """
    if isinstance(output, TensorListGPU):
        output = output.as_cpu()
        return np.asarray(output.as_tensor()) if output.is_dense_tensor() else [np.array(sample) for sample in output]
    return [np.array(sample) for sample in output] if copy else output


def stack(samples, span):
    """Return the samples of a range as one array: a view if they are one already."""
    if isinstance(samples, np.ndarray):
        return samples[span.start : span.stop]
    return np.stack([np.asarray(samples[index]) for index in span])
