"""Measures dispatch lag: how late requests are handed to a worker, at 100/s and 1,000/s, for both placements.

    make up ENGINE=local WEIGHTS=tiny && .venv/bin/python -m benchmarks.dispatch

The client is pinned to the cores that the server does not have. At 1,000/s the payloads are small (a photograph of
64x64, 0.1 s of speech), because one core cannot preprocess larger ones that often. The table also shows whether the
server keeps up: requests beyond the limit in flight are dropped, which must not delay the dispatcher.
"""

import argparse
import io
import sys
import time

import soundfile

import arrivals
from arrivals.checks import check_positive
from common import address, machine
from crossover.measurement import host
from loadgen import command
from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import COMPLETED, Sample, tabulate
from loadgen.samples.summary import summarise
from serving.server import Server, Unavailable
from workloads import image, payloads
from workloads.audio import AUDIO
from workloads.image import IMAGE
from workloads.workload import Workload


def small(workload: Workload) -> list[payloads.Payload]:
    """Return payloads that one core can preprocess 1,000 times a second.

    They are a photograph 64 pixels wide, or the first tenth of a second of each built-in clip.
    """
    if workload is IMAGE:
        return image.photographs(widths=(64,))
    clips = []
    for clip in AUDIO.load():
        sound, rate = soundfile.read(io.BytesIO(clip.encoded))
        file = io.BytesIO()
        soundfile.write(file, sound[: rate // 10], rate, format="WAV")
        clips.append(payloads.Payload(clip.name, file.getvalue()))
    return clips


def measure(url: str, arm: Arm, rate: int, seconds: float, seed: int) -> str:
    """Offer an arm Poisson arrivals at `rate`/s, and return its row of the table; times in ms.

    Raises Unavailable if no request was answered.
    """
    sent = small(arm.workload) if rate > 100 else arm.workload.load()
    schedule = arrivals.parse(f"poisson:rate={rate}").schedule(seconds, seed)
    order = payloads.order(len(sent), len(schedule), seed)
    OpenLoop(arm, url, lambda sample: None).run(Plan(schedule.times[:20], order, sent))  # warm-up
    samples: list[Sample] = []
    loop, cpu = OpenLoop(arm, url, samples.append, timeout=10), time.process_time()
    loop.run(Plan(schedule.times, order, sent))
    cpu = time.process_time() - cpu
    records, reasons = tabulate(samples)
    result = summarise(records, seconds, reasons)
    lag, books = result["dispatch_lag"], result["books"]
    if not books[COMPLETED]:
        reason = next(iter(result["reasons"]), "no arrival was due")
        raise Unavailable(f"{arm} at {rate}/s: none of {len(records)} requests was answered: {reason}")
    return (
        f"{arm!s:<24} {rate:>6} {lag['p50']:>7.3f} {lag['p99']:>7.3f} {lag['max']:>7.2f}"
        f" {result['sent_rate'] / result['offered'] - 1:>9.3%} {books['completed']:>9} {books['dropped']:>8}"
        f" {cpu / len(samples) * 1e3:>7.3f} {loop.hub_stall * 1e3:>6.0f}"
    )


def main() -> int:
    """Check the options and the server, and print the table; returns 1 if an arm got no answer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dispatch", description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--repetitions", type=int, default=2)
    options = parser.parse_args()
    try:
        check_positive(seconds=options.seconds, repetitions=options.repetitions)
        server = Server.at(options.url, address.STATE)
        server.require((*IMAGE.models, *AUDIO.models))
    except (ValueError, Unavailable) as error:
        parser.exit(2, f"{error}\n")
    try:
        table(server, options)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def table(server: Server, options: argparse.Namespace) -> None:
    """Print a row for every arm, rate and repetition: lag in ms, and what became of the requests.

    `fired off`: the rate at which requests were handed to a worker, relative to the rate offered. `stall`: the longest
    time in ms for which gevent's hub stood still. Raises Unavailable at the first arm that got no answer.
    """
    cores = host.free_cores(server.cores)
    host.pin(cores)
    print(f"{machine.read_cpu_model()}; client cores {cores}, server cores {server.cores}")
    print(
        f"{'arm':<24} {'rate/s':>6} {'lag p50':>7} {'p99':>7} {'max ms':>7} {'fired off':>9} {'completed':>9}"
        f" {'dropped':>8} {'cpu ms':>7} {'stall':>6}"
    )
    for repetition in range(options.repetitions):
        for rate in (100, 1000):
            for workload in (IMAGE, AUDIO):
                for placement in ("server", "client"):
                    arm = Arm(workload, placement, Mode("async"))
                    print(measure(server.url, arm, rate, options.seconds, repetition + 1), flush=True)


if __name__ == "__main__":
    sys.exit(command.run(main))
