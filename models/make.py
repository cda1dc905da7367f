"""Export ResNet-50 and wav2vec2-base to ONNX, with their labels, their vocabulary and their provenance.

The weights are those of the Hugging Face hub. Where it cannot be reached within seconds, the same
architectures get seeded random weights: latency is valid then, predictions are not. Networks that
are there already, with the weights asked for, are kept.
"""

import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from models import artefacts, checkpoint
from models.checkpoint import DEFAULT, Refused
from models.environment import interpreter, throwaway

ROOT = Path(__file__).resolve().parents[1]
FLAGS = {"resnet50": "--image-checkpoint", "wav2vec2": "--audio-checkpoint"}


def check(weights, checkpoints):
    """Return the checkpoints, network -> Path, id of the hub, or None, from what was given: network -> text or None.

    Raises Refused, in one line, where they contradict `weights` or name no checkpoint.
    """
    if weights == "random" and any(checkpoints.values()):
        raise Refused("--weights random takes no checkpoint; leave one of the two out")
    return {network: given and checkpoint.locate(given) for network, given in checkpoints.items()}


def present(output, network):
    """Return the provenance of a network whose files are all there; None for a part of them or a stand-in.

    `output` is the folder of the artefacts; the provenance is the content of its provenance.json.
    """
    beside = output / network / "provenance.json"
    if not beside.is_file() or not all((output / file).is_file() for file in artefacts.FILES[network]):
        return None
    origin = json.loads(beside.read_text())
    return None if origin["weights"] == "stand-in" else origin


def fits(origin, given, weights, seed):
    """Return whether the network with the provenance `origin` is the one that the options ask for.

    A checkpoint in a directory is compared by its path and its weights, one of the hub by its id, random weights by
    their seed.
    """
    if isinstance(given, Path):
        return (origin["source"], origin["revision"]) == (str(given), checkpoint.fingerprint(given))
    if given:
        return origin["source"] == given
    return weights in ("auto", origin["weights"]) and origin["seed"] in (None, seed)


def choose(network, given, weights):
    """Decide where a network's weights come from.

    `given`: a directory, an id of the hub, or None; `weights`: "auto", "pretrained" or "random". Returns (checkpoint,
    None), or (None, the reason in words) for random weights.

    Raises Refused where pretrained weights are required and cannot be reached, or do not fit the network.
    """
    if isinstance(given, Path):
        checkpoint.check(network, given)
        return given, None
    if weights == "random":
        return None, "asked for with --weights random"
    problem = checkpoint.hub_problem(given or DEFAULT[network])
    if not problem:
        return given or DEFAULT[network], None
    if given or weights == "pretrained":
        raise Refused(f"{network}: no pretrained weights ({problem}); connect, or give {FLAGS[network]} a directory")
    return None, problem


def warn(networks, seed, why):
    """Print in a frame that these networks get random weights, and why."""
    lines = [
        f"RANDOM WEIGHTS, seed {seed}: {', '.join(networks)}",
        why,
        "Latency is valid: same architecture, same cost. Predictions are not.",
        "Later, where the hub can be reached: crossover models --weights pretrained",
    ]
    width = max(map(len, lines))
    frame = "#" * (width + 4)
    print("\n".join([frame, *(f"# {line:<{width}} #" for line in lines), frame]), flush=True)


def export(python, network, source, seed, output, room=None):
    """Export into a temporary folder, then move the files to `output`, the provenance last.

    So a provenance file shows that all the others are there. `python` has torch; `room` is the folder for the temporary
    one. Raises Refused if the export fails.
    """
    with tempfile.TemporaryDirectory(dir=room) as stage:
        command = [python, "-m", "models.export", network, "--seed", str(seed), "--output", stage]
        command += ["--checkpoint", str(source)] if source else []
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": stage, **({"PYTHONNOUSERSITE": "1"} if room else {})},
        )
        if done.returncode:
            raise Refused(f"{network} was not exported; the files in {output} are unchanged")
        beside = f"{network}/provenance.json"
        (output / beside).unlink(missing_ok=True)
        for file in (*artefacts.FILES[network], beside):
            artefacts.write(output / file, (Path(stage) / file).read_bytes())


def make_defaults(fp16=False):
    """Return the options of `make` for both networks as `crossover models` without a flag has them, or with --fp16."""
    output = ROOT / "model_repository"
    return SimpleNamespace(
        weights="auto", checkpoints=dict.fromkeys(FLAGS), seed=0, output=output, force=False, python=None, fp16=fp16
    )


def make(options):
    """Export the networks that are not there already, with the weights that the options ask for.

    `options` has `weights` ("auto", "pretrained" or "random"), `checkpoints` (of `check`), `seed`, `output` (a Path),
    `force`: whether networks that are there are exported again, and `python`, an interpreter with torch, or None for a
    throwaway environment. With `fp16` each gets its FP16 form as well.

    Raises Refused before any export if one of them cannot be had.
    """
    asked = []
    for network, given in options.checkpoints.items():
        origin = present(options.output, network)
        if origin and not options.force and fits(origin, given, options.weights, options.seed):
            print(f"{network}: already there, {origin['weights']} weights, {origin['source']}, {origin['date']}")
        else:
            asked.append(network)
    with ThreadPoolExecutor() as pool:  # both wait for a silent hub at the same time
        chosen = list(pool.map(lambda name: choose(name, options.checkpoints[name], options.weights), asked))
    reasons = {network: why for network, (_, why) in zip(asked, chosen, strict=True) if why}
    if reasons:
        warn(reasons, options.seed, next(iter(reasons.values())))
    if asked:
        with interpreter(options.python) if options.python else throwaway() as python:
            room = None if options.python else python.parents[1]
            for network, (source, _) in zip(asked, chosen, strict=True):
                export(python, network, source, options.seed, options.output, room)
    if options.fp16:
        from models import fp16

        fp16.complete(options.output)
