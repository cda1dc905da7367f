"""Stages g and h: the same server with one step changed, beside the server as it was a minute before.

A step is loaded again with another configuration, without a restart; afterwards it is as the plan has it, and is warmed
up. Both sides have the same limit of p95, that of the unloaded latencies of this run.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

from benchmarks.gpu.arms import Ask, AskRaw, find_arm
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.ensemble import list_stages
from benchmarks.gpu.placements import SMALL, measure_baseline
from benchmarks.gpu.unloaded import measure_unloaded
from models import artefacts
from serving import Failure
from serving.processes import stubs
from serving.server import Server, Unavailable
from workloads.audio import fitted as clips
from workloads.image import photographs
from workloads.payloads import Payload

RELOAD = 12.0
"""Seconds to load a step again; a network has a session for each size of batch."""
LEAVING = 4.0
"""Seconds that are waited for the stubs of a step as it was before: Triton ends them after the new ones are there,
mostly within two seconds, and sometimes much later."""
LONG = "15 s"
Config = dict
"""A model's configuration, as Triton's JSON has it."""


def measure_instances(bench: Bench) -> None:
    """Stage h: two instances of `image_preprocess` with half of the threads each, beside one."""
    measure_baseline(bench)
    raw, sent = list_stages()["image_preprocess"]
    ask = Ask("image", "server")
    measure_rates(bench, "h", SMALL, "one instance", raw, sent)
    bench.find_capacity("a", SMALL, "server", ask, photographs((640,)), turns=1)

    def double(config: Config) -> None:
        config["instance_group"][0]["count"] = 2
        threads = config["parameters"]["num_threads"]
        threads["string_value"] = str(max(1, int(threads["string_value"]) // 2))

    def measure() -> None:
        measure_rates(bench, "h", SMALL, "two instances", raw, sent)
        running = find_stubs(bench.site.server, "image_preprocess")
        bench.record.note(f"image_preprocess runs in {len(running)} stubs", "h")
        bench.find_capacity("h", SMALL, "server-two", ask, photographs((640,)))

    with_change(bench, "h", "image_preprocess", double, measure)


def measure_half(bench: Bench) -> None:
    """Stage g: both networks in FP16 beside FP32: logits, the network alone, unloaded latency, the highest rate."""
    measure_baseline(bench)
    asks, sent = bench.arms("image", ("server", "client")), photographs((640,))
    raw, tensors = list_stages()["resnet50"]
    speech, waves = AskRaw("wav2vec2", "waveform", ("logits",), "float32", (-1,)), read_waves()
    networks: dict[str, tuple[AskRaw, Sequence[Payload], str]] = {
        "resnet50": (raw, tensors, SMALL),  # type: ignore[dict-item]
        "wav2vec2": (speech, waves, LONG),
    }
    bench.find_capacity("a", SMALL, "server", asks["server"], sent, turns=1)

    def measure_network(name: str, before: list[np.ndarray] | None) -> None:
        network, rows, size = networks[name]
        bench.attempt("g", f"{name} logits", 2.0, lambda: write_parity(bench, size, network, rows, before))
        measure_rates(bench, "g", size, f"{name} FP16", network, rows)
        if name != "resnet50":
            return
        bench.attempt("g", f"{SMALL} unloaded", bench.pace.unloaded + 3, lambda: write_unloaded(bench, asks, sent))
        bench.find_capacity("g", SMALL, "server-fp16", asks["server"], sent)

    for name, (network, rows, size) in networks.items():
        measure_rates(bench, "g", size, f"{name} FP32", network, rows)
        before = bench.attempt("g", f"{name} logits in FP32", 2.0, partial(ask_logits, bench, network, rows))
        with_change(bench, "g", name, partial(take_half, bench, name), partial(measure_network, name, before))


def take_half(bench: Bench, name: str, config: Config) -> None:
    """Make a network's configuration one of FP16; stand-ins are converted here. Raises Unavailable without the file."""
    folder = bench.site.networks()
    if not artefacts.has_half(folder, name):
        if bench.site.server.state["weights"] != "tiny":
            raise Unavailable(f"{name} is not converted to FP16: crossover models --fp16, or python -m models.fp16")
        from models import fp16

        fp16.convert(folder, name)
    config["default_model_filename"] = Path(artefacts.HALF[name]).name


def with_change(
    bench: Bench, stage: str, model: str, change: Callable[[Config], None], measure: Callable[[], None]
) -> None:
    """Load a model again with its configuration changed, measure, and load it as it was. What fails is written down."""
    config = bench.attempt(stage, f"{model} changed", RELOAD, lambda: load_changed(bench.site.server, model, change))
    if config is None:
        return
    try:
        measure()
    finally:
        bench.attempt(stage, f"{model} as it was", 0.0, lambda: load(bench.site.server, model, config))
        # A pipeline on a GPU that was just built takes half a second for its first photographs.
        bench.attempt(stage, "warm-up once more", 0.0, bench.warm_up_again)


def load_changed(server: Server, model: str, change: Callable[[Config], None]) -> Config:
    """Load a model with its configuration changed, and return the one that it had. Raises Unavailable."""
    before = server.get(f"/v2/models/{model}/config")
    after = json.loads(json.dumps(before))
    change(after)
    load(server, model, after)
    return before


def load(server: Server, model: str, config: Config) -> None:
    """Load a model with this configuration, and give the stubs that it had time to end. Raises Unavailable."""
    before = find_stubs(server, model)
    try:
        server.admin_api.load(model, json.dumps(config), 60)
    except Failure as failure:
        raise Unavailable(f"{model}: {failure}") from None
    end = time.monotonic() + LEAVING
    while before & find_stubs(server, model) and time.monotonic() < end:
        time.sleep(0.1)


def find_stubs(server: Server, model: str) -> set[int]:
    """Return the processes of a model's instances."""
    return {stub.pid for stub in stubs(server.state["name"]) if stub.model == model}


def measure_rates(bench: Bench, stage: str, size: str, arm: str, ask: AskRaw | Ask, sent: Sequence[Payload]) -> None:
    """Measure how many answers a second clients get from a step alone that never pause, and write it with its range."""

    def measure() -> None:
        users, seconds = bench.pace.users, bench.pace.closed
        bench.offer(ask, sent, seconds / 2, users=users)
        loads = [bench.offer(ask, sent, seconds, users=users) for _ in range(bench.pace.repetitions)]
        rates = sorted(load.rate for load in loads)
        middle = min(loads, key=lambda load: abs(load.rate - median(rates)))
        limits = {"low": rates[0], "high": rates[-1], "repetitions": len(rates), "in_flight": users}
        bench.write_load(stage, size, arm, "rate", median(rates), "/s", middle, **limits)

    bench.attempt(stage, f"{size} {arm}", (bench.pace.repetitions + 0.7) * bench.pace.saturation, measure)


def read_waves() -> list[Payload]:
    """Return clips of LONG as the network takes them: float32 samples at 16 kHz."""
    from preprocess.audio import waveform

    return [Payload(f"{each.name}.tensor", waveform(each.encoded).tobytes()) for each in clips(15, 48_000)[:2]]


def ask_logits(bench: Bench, ask: AskRaw, sent: Sequence[Payload]) -> list[np.ndarray]:
    """Return a network's logits for each payload, asked one by one."""
    client = InferenceServerClient(bench.site.server.url.partition("//")[2], network_timeout=30.0)
    answers = []
    for payload in sent:
        row = np.frombuffer(payload.encoded, ask.dtype).reshape(1, *ask.shape)
        given = InferInput(ask.input, list(row.shape), "FP32")
        given.set_data_from_numpy(row)
        answers.append(client.infer(ask.model, [given]).as_numpy("logits"))
    client.close()
    return answers


def write_parity(
    bench: Bench, size: str, ask: AskRaw, sent: Sequence[Payload], before: list[np.ndarray] | None
) -> None:
    """Write how far a network's logits are from those before, in units of their standard deviation."""
    if before is None:
        raise Unavailable("there are no logits of FP32 to compare with")
    after = ask_logits(bench, ask, sent)
    expected, given = (np.concatenate([each.reshape(-1, each.shape[-1]) for each in all_]) for all_ in (before, after))
    share = float(np.abs(given - expected).max() / expected.std())
    same = float(np.mean(given.argmax(-1) == expected.argmax(-1)))
    bench.record.figure("g", size, f"{ask.model} FP16", "largest difference of logits", share, "", same_top1=same)


def write_unloaded(bench: Bench, asks: dict[str, Ask], sent: Sequence[Payload]) -> None:
    """Measure unloaded latencies of the arms, and write them under names of FP16; the limit of p95 stays."""
    arms = {f"{name}-fp16": find_arm(ask) for name, ask in asks.items()}
    blocks = measure_unloaded(bench.site.server, arms, sent, bench.pace.unloaded, bench.pace.rounds)
    bench.write_unloaded("g", SMALL, blocks)
