"""Stage m: the card's memory runs out: in a run that request fails and the next is answered; at load it is one line."""

import numpy as np
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.variants import Config, load, load_changed, with_change
from serving.server import Unavailable

MODEL, ROWS = "resnet50", 32
ENOUGH_FOR_ONE = 300 << 20
"""Bytes: the weights are 102 MB, and a batch of 32 needs more than the rest."""
TOO_FEW = 8 << 20
COST = 20.0


def measure_memory(bench: Bench) -> None:
    """Stage m: out of memory: the answer of a batch that does not fit, of the next request, and of a load."""
    if not bench.site.on_gpu:
        bench.record.note("no step runs on a GPU: its memory cannot run out", "m")
        return

    def limit(bytes_: int, config: Config) -> None:
        # Without sessions per size a large batch is one run, as with the native backend.
        values = {"gpu_mem_limit": str(bytes_), "arena_extend_strategy": "1", "pad_batches": "0"}
        config["parameters"].update({name: {"string_value": text} for name, text in values.items()})

    def ask_in_turns() -> None:
        said = [ask(bench, rows) for rows in (1, ROWS, 1)]
        bench.record.figure("m", "", MODEL, "out of memory in a run", None, "", answers=said)
        bench.record.say(f"m a single row: {said[0]}; {ROWS} rows: {said[1]}; then a single row: {said[2]}")

    def provoke() -> None:
        bench.attempt("m", "out of memory in a run", 5.0, ask_in_turns)

    with_change(bench, "m", MODEL, lambda config: limit(ENOUGH_FOR_ONE, config), provoke)

    def overload() -> None:
        try:
            before = load_changed(bench.site.server, MODEL, lambda config: limit(TOO_FEW, config))
            load(bench.site.server, MODEL, before)
            said = "it loaded"
        except Unavailable as error:
            said = str(error)
        bench.record.figure("m", "", MODEL, "out of memory at load", None, "", answers=[said, ask(bench, 1)])

    bench.attempt("m", "out of memory at load", COST, overload)


def ask(bench: Bench, rows: int) -> str:
    """Send a batch of so many rows of zeros, and return "ok", or the HTTP code with the server's words."""
    client = InferenceServerClient(bench.site.server.url.partition("//")[2], network_timeout=30.0)
    given = InferInput("pixels", [rows, 3, 224, 224], "FP32")
    given.set_data_from_numpy(np.zeros((rows, 3, 224, 224), np.float32))
    try:
        client.infer(MODEL, [given])
    except InferenceServerException as error:
        return f"{error.status()} {error.message()}"
    finally:
        client.close()
    return "ok"
