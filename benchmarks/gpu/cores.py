"""Stage b: what more cores bring: server preprocessing, and the load generator's rate and dispatch lag."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.gpu.arms import CPU_STEP, AskRaw, write_cpu_step
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.load import BUSY, Load
from benchmarks.gpu.placements import LARGE, SMALL
from benchmarks.null_server import LOADS, null_server
from loadgen.samples.summary import summarise
from serving import ROOT
from serving.server import Server
from serving.temporary_server import temporary_triton
from workloads.image import fitted, photographs
from workloads.payloads import Payload

MODERATE = 0.35
"""Times the maximum rate: where dispatch lag is measured."""
SENT = ("jpeg", "tensor")
"""What the null server is sent: the server arm's input, and the client arm's."""


def measure_cores(bench: Bench) -> None:
    """Stage b: decoding on 1, 2, 4 and 8 cores of the server, and sending by as many processes of the client."""
    sizes = {SMALL: photographs((640,)), LARGE: fitted(4032, 3024)}
    for count in bench.pace.counts:
        if count > len(bench.site.cores):
            bench.record.note(f"server preprocessing on {count} cores: the server has {len(bench.site.cores)}", "b")
            continue
        cost = bench.pace.start + len(sizes) * (bench.pace.shorts + 1) * (bench.pace.short + bench.pace.around)
        bench.attempt("b", f"decoding on {count} cores", cost, partial(measure_decoding, bench, count, sizes))
    cost = bench.pace.start + len(bench.pace.counts) * len(SENT) * 3 * (bench.pace.short + bench.pace.around)
    bench.attempt("b", "the load generator", cost, lambda: measure_sending(bench))


def measure_decoding(bench: Bench, count: int, sizes: Mapping[str, Sequence[Payload]]) -> None:
    """Measure how many photographs a second a server's `image_preprocess_cpu` decodes on so many cores."""
    ask = AskRaw(CPU_STEP, "encoded", ("pixels",), "uint8", (-1,))
    with decoding_server(bench.site.cores[:count]) as server:
        for size, sent in sizes.items():
            loads = repeat_load(bench, ask, sent, server=server)
            write_rates(bench, size, f"{count} cores", "decoding", loads, cores=count)


@contextlib.contextmanager
def decoding_server(cores: list[int]) -> Iterator[Server]:
    """Start a server with the one step, on these cores, as many threads as there are cores."""
    with tempfile.TemporaryDirectory(prefix="crossover-") as folder:
        config = write_cpu_step(Path(folder) / CPU_STEP, len(cores))
        graph = ROOT / "model_repository" / "image_preprocess" / "1" / "dali.py"
        with temporary_triton({CPU_STEP: (config, graph)}, cores) as server:
            yield server


def repeat_load(bench: Bench, ask: AskRaw, sent: Sequence[Payload], **more) -> list[Load]:
    """Load a server by clients that never pause, once to warm up and then `shorts` times."""
    bench.offer(ask, sent, bench.pace.short / 2, users=bench.pace.users, **more)
    loads = range(bench.pace.shorts)
    return [bench.offer(ask, sent, bench.pace.short, users=bench.pace.users, **more) for _ in loads]


def write_rates(bench: Bench, size: str, arm: str, figure: str, loads: list[Load], **more) -> None:
    """Write the median rate of some loads, with the lowest and the highest."""
    rates = [load.rate for load in loads]
    middle = min(loads, key=lambda load: abs(load.rate - median(rates)))
    limits = {"low": min(rates), "high": max(rates), "repetitions": len(rates)}
    bench.write_load("b", size, arm, f"{figure} rate", median(rates), "/s", middle, **limits, **more)


def measure_sending(bench: Bench) -> None:
    """Measure the client's maximum rate and its dispatch lag at MODERATE of it, by some processes and by more."""
    # As many instances of each sink as there are cores: one of them would be the limit.
    with null_server(bench.site.cores, instances=len(bench.site.cores)) as server:
        for count in [each for each in bench.pace.counts if each <= bench.clients.count]:
            for name in SENT:
                load = LOADS[name]
                ask = AskRaw(name, "bytes", ("done",), load.dtype, load.shape)
                sent = [Payload(name, load.content())]
                loads = repeat_load(bench, ask, sent, server=server, count=count)
                limit = "client" if median(each.offered.busiest for each in loads) > BUSY else "server or network"
                arm = f"{count} processes"
                write_rates(bench, name, arm, "sending", loads, processes=count, limit=limit)
                rate = MODERATE * median(each.rate for each in loads)
                paced = bench.offer(
                    ask, sent, bench.pace.short, count, server, arrivals=f"poisson:rate={rate:.6g}", seed=1
                )
                write_lag(bench, name, arm, rate, paced)


def write_lag(bench: Bench, size: str, arm: str, rate: float, load: Load) -> None:
    """Write how late requests were handed to a worker."""
    lag = summarise(load.offered.records, load.seconds)["dispatch_lag"]
    for name in ("p50", "p99"):
        bench.record.figure("b", size, arm, f"dispatch lag {name}", lag[name], "ms", rate=rate, n=len(load.answered))
