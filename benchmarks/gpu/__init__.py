"""What a GPU does to the question, within minutes: a script with its own deadline, and the page made of what it leaves.

    python -m benchmarks.gpu --minutes 6 --output gpu         # figures, at once into gpu/gpu.jsonl
    python -m benchmarks.gpu.results gpu                      # docs/results-gpu.md

The stages come in the order of their worth: a image placements, b cores, c the ensemble and its steps, d speech,
e arrivals at 70 % of capacity and other sizes, f copies between the steps, g FP16, h two instances that decode, m
memory that runs out. `--only "d:15 s"` takes one size of a stage. Figures of several visits to a machine lie in one
file and stay apart. Without a GPU everything runs as well, which is how it is rehearsed.
"""
