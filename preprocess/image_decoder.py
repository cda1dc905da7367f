"""Names the decoder that DALI tries last for a photograph: `python -m preprocess.image_decoder [--cpu] FILE...`.

On a GPU that has one, nine of ten JPEGs of a batch go to the hardware decoder (`nvjpeg_hw_decoder`), the others to CUDA
(`nvjpeg_cuda_decoder`); what neither can decode, progressive JPEGs among them for the hardware, goes on to the next,
and at last to the CPU (`libjpeg_turbo_decoder`, `opencv_png_decoder` ...). DALI does not tell, but the library below it
writes a log, if an environment variable says so before the pipeline is made: hence a process of its own.

The last name is not always that of the one who decoded: on an H200 it was `nvjpeg_lossless_decoder` for a plain JPEG,
while the card's JPEG engines were at work.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

LOG = {"DALI_NVIMGCODEC_LOG_LEVEL": "3"}
BEGIN, END, FAILED, NONE = "file begins", "file ends", "not decoded:", "no pipeline: "
NO_GPU = "CUDA is not available"  # in DALI's reason
DECODER = re.compile(r"\b(\w+_decoder)\b")


def decoders(paths, device="mixed"):
    """Return the decoder's name per file of `paths`, each decoded alone; None where none decoded it, or none is named.

    `device`: "mixed" for the GPU, "cpu" for the CPU. Raises RuntimeError, with DALI's reason, if there is no pipeline.
    """
    command = [sys.executable, "-m", "preprocess.image_decoder", "--child", device, *map(str, paths)]
    run = subprocess.run(command, env=os.environ | LOG, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        raise RuntimeError(run.stdout.partition(NONE)[2].partition("\n")[0] or f"DALI ended with {run.returncode}")
    return [last_decoder(log.partition(END)[0]) for log in run.stdout.split(BEGIN)[1:]]


def last_decoder(log):
    """Return the decoder that a file's part of the log names last, as one falls back on the next; None without one."""
    names = DECODER.findall(log)
    return names[-1] if names and FAILED not in log else None


def decode(device, paths):
    """Decode each file alone, with a mark before and after; a file that cannot be decoded says so in the log."""
    import numpy as np
    from nvidia.dali import fn, pipeline_def, types

    from preprocess.image_dali import ONE_BY_ONE, built
    from preprocess.limits import one_line

    @pipeline_def(batch_size=1, num_threads=1, device_id=0 if device == "mixed" else None, **ONE_BY_ONE)
    def pipeline():
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
        return fn.decoders.image(encoded, device=device, output_type=types.RGB, jpeg_fancy_upsampling=True)

    for path in paths:
        try:
            graph = built(pipeline)  # one that failed cannot be used again
        except RuntimeError as error:
            print(f"\n{NONE}{one_line(error)}", flush=True)
            raise SystemExit(1) from None
        print(BEGIN, flush=True)
        try:
            graph.run(encoded=[np.frombuffer(path.read_bytes(), np.uint8)])
        except RuntimeError as error:
            print(FAILED, error, flush=True)
        print(END, flush=True)


def main():
    """Print one line per file."""
    parser = argparse.ArgumentParser(prog="python -m preprocess.image_decoder", description="Name DALI's decoders.")
    parser.add_argument("files", nargs="+", type=Path, help="photographs")
    parser.add_argument("--cpu", action="store_true", help="of the CPU, instead of a GPU")
    parser.add_argument("--child", metavar="DEVICE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return decode(options.child, options.files)
    if missing := [str(path) for path in options.files if not path.is_file()]:
        parser.error(f"no such file: {', '.join(missing)}")
    try:
        names = decoders(options.files, "cpu" if options.cpu else "mixed")
    except RuntimeError as error:
        # The usage would not help: nothing was written wrong.
        why = "no GPU answers; --cpu names the CPU's decoders" if NO_GPU in str(error) else str(error)
        parser.exit(2, f"{parser.prog}: {why}\n")
    for path, name in zip(options.files, names, strict=True):
        print(f"{path}: {name or 'none'}")


if __name__ == "__main__":
    main()
