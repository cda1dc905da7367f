"""Says which decoder DALI takes for a photograph: `python -m preprocess.image_decoder [--cpu] FILE...`.

On a GPU that has one, nine of ten JPEGs of a batch go to the hardware decoder (`nvjpeg_hw_decoder`), the others to CUDA
(`nvjpeg_cuda_decoder`); what neither can decode, progressive JPEGs among them for the hardware, goes on to the next,
and at last to the CPU (`libjpeg_turbo_decoder`, `opencv_png_decoder` ...). DALI does not tell, but the library below it
writes a log, if an environment variable says so before the pipeline is made: hence a process of its own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

LOG = {"DALI_NVIMGCODEC_LOG_LEVEL": "3"}
BEGIN, END = "file begins", "file ends"
DECODER = re.compile(r"\b(\w+_decoder)\b")


def decoders(paths, device="mixed"):
    """Return the decoder's name per file of `paths`, each decoded alone; None where the log names none.

    `device`: "mixed" for the GPU, "cpu" for the CPU. Raises RuntimeError, with the log's end, if there is no pipeline.
    """
    command = [sys.executable, "-m", "preprocess.image_decoder", "--child", device, *map(str, paths)]
    run = subprocess.run(command, env=os.environ | LOG, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        raise RuntimeError(" ".join(run.stdout.split()[-40:]))
    return [last_decoder(log.partition(END)[0]) for log in run.stdout.split(BEGIN)[1:]]


def last_decoder(log):
    """Return the decoder that a file's part of the log names last, as it falls back from one to the next."""
    names = DECODER.findall(log)
    return names[-1] if names else None


def decode(device, paths):
    """Decode each file alone, with a mark before and after; a file that cannot be decoded says so in the log."""
    import numpy as np
    from nvidia.dali import fn, pipeline_def, types

    from preprocess.image_dali import ONE_BY_ONE, built

    @pipeline_def(batch_size=1, num_threads=1, device_id=0 if device == "mixed" else None, **ONE_BY_ONE)
    def pipeline():
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
        return fn.decoders.image(encoded, device=device, output_type=types.RGB, jpeg_fancy_upsampling=True)

    for path in paths:
        graph = built(pipeline)  # one that failed cannot be used again
        print(BEGIN, flush=True)
        try:
            graph.run(encoded=[np.frombuffer(path.read_bytes(), np.uint8)])
        except RuntimeError as error:
            print(f"not decoded: {error}", flush=True)
        print(END, flush=True)


def main():
    """Print one line per file."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--child"]:
        return decode(arguments[1], [Path(path) for path in arguments[2:]])
    cpu = "--cpu" in arguments
    paths = [argument for argument in arguments if argument != "--cpu"]
    for path, name in zip(paths, decoders(paths, "cpu" if cpu else "mixed"), strict=True):
        print(f"{path}: {name or 'no decoder named'}")


if __name__ == "__main__":
    main()
