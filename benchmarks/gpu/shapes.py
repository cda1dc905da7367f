"""Stage e: arrivals at 70 % of capacity, another size, and the UINT8 tensor."""

from functools import partial

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.placements import IMAGE_ARMS, SMALL, measure_baseline, measure_sizes
from crossover.experiments.burst_shapes import CAMERAS
from crossover.measurement.extra_models import load_in_child
from loadgen.samples.summary import summarise
from serving import Failure
from serving.server import Unavailable
from workloads.image import fitted, photographs

SHARE = 0.7
"""Of the lowest capacity of all arms: what each of them can carry."""
PERCENTILES = ("p50", "p95", "p99")
MIDDLE, TENSORS = "1920x1080", f"{SMALL} tensors"


def measure_shapes(bench: Bench) -> None:
    """Stage e: Poisson arrivals and synchronised cameras at 70 % of capacity, 1920x1080, and UINT8."""
    if bench.only_size in (None, SMALL):
        measure_arrivals(bench)
    measure_sizes(bench, "e", "image", IMAGE_ARMS, {MIDDLE: lambda: fitted(1920, 1080)})
    if bench.only_size in (None, TENSORS):
        measure_uint8(bench)


def measure_arrivals(bench: Bench) -> None:
    """Offer every arm the same schedules, at SHARE of the lowest capacity; of the original photographs."""
    measure_baseline(bench)
    asks, sent = bench.arms("image", IMAGE_ARMS), photographs((640,))
    for arm, ask in asks.items():
        if (SMALL, arm) not in bench.saturated:
            bench.saturate("a", SMALL, arm, ask, sent)
    if answered := {arm: rate for (size, arm), rate in bench.saturated.items() if size == SMALL and arm in asks}:
        lowest = min(answered, key=lambda arm: answered[arm])
        bench.find_capacity("a", SMALL, lowest, asks[lowest], sent, turns=1)
    if not (known := [found.value for arm in asks if (found := bench.capacity(SMALL, arm))]):
        bench.record.fail("e", "arrivals", "no capacity is known")
        return
    rate = SHARE * min(known)
    processes = {
        "poisson": f"poisson:rate={rate:.6g}",
        "cameras": f"video:cameras={CAMERAS},fps={rate / CAMERAS:.6g},phase=synchronised",
    }
    for turn in range(1, bench.pace.turns_of_arrivals + 1):
        for name, spec in processes.items():
            for arm, ask in asks.items():
                point, cost = f"{arm}, {name}, turn {turn}", bench.pace.arrivals + bench.pace.around
                offer = partial(bench.offer, ask, sent, bench.pace.arrivals, arrivals=spec, seed=turn)
                if load := bench.attempt("e", point, cost, offer):
                    latency = summarise(load.offered.records, load.seconds, load.offered.reasons)["latency"]
                    more = {"process": name, "turn": turn, "rate": rate, "unanswered": load.unanswered}
                    for percentile in PERCENTILES:
                        value = latency[percentile]
                        bench.write_load("e", SMALL, arm, f"{name} {percentile}", value, "ms", load, **more)


def measure_uint8(bench: Bench) -> None:
    """Make the network that takes UINT8 tensors, and compare both of the client's forms."""

    def serve() -> None:
        try:
            load_in_child(bench.site.server, bench.site.networks(), ("image", "client:uint8"))
        except Failure as error:
            raise Unavailable(str(error)) from None

    bench.attempt("e", "the UINT8 network", 5.0, serve)
    arms = ("client", "client-uint8")
    if "client-uint8" in bench.arms("image", arms):
        measure_sizes(bench, "e", "image", arms, {TENSORS: lambda: photographs((640,))})
