"""The script: `python -m benchmarks.gpu --minutes 6 --output gpu`."""

import datetime
import os
import shlex
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from benchmarks.gpu import stages
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.clients import ClientProcesses
from benchmarks.gpu.load import Power, PowerMeter
from benchmarks.gpu.pace import FULL, QUICK, SHORT
from benchmarks.gpu.record import Record
from benchmarks.gpu.sides import choose_server_cores, limit_to_quota
from benchmarks.gpu.site import Site, running
from common.cpu_quota import read_quota
from crossover.measurement import host
from loadgen import command
from serving import gpu
from serving.__main__ import Parser
from serving.server import Unavailable
from serving.thread_plan import format_cores

PROCESSES = 8
"""Of the client, at most: one for each of its cores."""


def parse(arguments: list[str] | None) -> Namespace:
    """Return the options of a command line (None: this process's); exits with code 2 for values out of range."""
    parser = Parser(prog="python -m benchmarks.gpu", description="Figures of a GPU, within minutes.")
    add = parser.add_argument
    add("--minutes", type=float, default=6, help="after which it has ended (default: %(default)s)")
    add("--output", type=Path, required=True, help="the folder of its files; figures are added to those there")
    add("--weights", choices=("real", "tiny"), default="real", help="default: %(default)s; tiny if not exported")
    add(
        "--cores",
        help="the server's, like 8-15; the client has the others (default: the upper half of the physical cores)",
    )
    add("--processes", type=int, help=f"of the client (default: one for each of its cores, at most {PROCESSES})")
    only = "stages with commas, or one size of a stage, like a:4032x3024 (default: %(default)s)"
    add("--only", default=",".join(stages.STAGES), help=only)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    add("--visit", default=today, help="figures of other visits stay apart (default: the date, %(default)s)")
    add("--no-gpu", action="store_true", help="keep to the CPU")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--short", action="store_true", help="about two thirds of the seconds for each figure")
    pace.add_argument("--quick", action="store_true", help="shorter measurements, for a rehearsal on slow cores")
    options = parser.parse_args(arguments)
    if not options.minutes >= 0.1:
        parser.error(f"--minutes must be at least 0.1, not {options.minutes:g}")
    if options.processes is not None and options.processes < 1:
        parser.error(f"--processes must be at least 1, not {options.processes}")
    # The page shows it, without the path of a folder of this machine.
    given = [word.replace(str(options.output), options.output.name) for word in arguments or sys.argv[1:]]
    options.command = shlex.join(["python", "-m", "benchmarks.gpu", *given])
    options.only = [each.strip() for each in options.only.split(",")]
    try:
        for each in options.only:
            stages.check(each)
    except ValueError as bad:
        parser.error(f"--only: {bad}")
    try:
        options.server_cores = choose_server_cores(options.cores, limit_to_quota())
    except ValueError as bad:
        parser.error(str(bad))
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure what fits; returns 0, or 1 where the server could not be started at all."""
    options = parse(arguments)
    try:
        record = Record(options.output, options.minutes * 60)
    except OSError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    client = host.free_cores(options.server_cores)
    try:
        return run(options, record, client)
    except KeyboardInterrupt:
        record.note("interrupted; what was measured so far is written")
        return command.INTERRUPTED
    finally:
        record.note("the end")
        record.close()


def run(options: Namespace, record: Record, client: list[int]) -> int:
    """Start server and clients, and measure the stages that were asked for. Raises KeyboardInterrupt."""
    pace = QUICK if options.quick else SHORT if options.short else FULL
    describe(options, record, client)
    clients = ClientProcesses(client, options.processes or min(PROCESSES, len(client)))
    try:
        folder = Path(tempfile.mkdtemp(prefix="crossover-"))
        cores, use_gpu = options.server_cores, not options.no_gpu
        with running(Site(folder, options.weights, cores, client, record, use_gpu)) as site:
            try:
                site.start()
            except Unavailable as error:
                record.fail("server", "start", str(error))
            bench = Bench(record, pace, site, clients, client)
            if site.on_gpu:
                bench.attempt("server", "idle power", 2.0, lambda: write_idle_power(bench))
            for each in options.only:
                name, _, size = each.partition(":")
                bench.only_size = size or None
                measure_stage(bench, name, stages.STAGES[name])
            return 0 if site.started else 1
    finally:
        clients.close()


def write_idle_power(bench: Bench) -> None:
    """Write what the cards draw while the server has nothing to do."""
    meter = PowerMeter(bench.site.server)
    began = time.monotonic()
    while time.monotonic() < began + 1.5:
        time.sleep(meter.every)
        meter.read()
    watts, utilisation = Power(meter.readings).between(0, time.monotonic())
    bench.record.figure("server", "", "idle", "power", watts, "W", utilisation=utilisation)


def measure_stage(bench: Bench, name: str, measure: Callable[[Bench], None]) -> None:
    """Measure a stage; what goes wrong between its points is written down, and the next stage comes."""
    if bench.record.left < 1:  # its payloads would take seconds to make
        bench.record.leave_out(name, bench.only_size or "all of it", 1.0)
        return
    bench.record.say(f"stage {name}: {(measure.__doc__ or '').partition(': ')[2]}")
    try:
        measure(bench)
    except Exception as error:
        bench.record.fail(name, "the rest of the stage", f"{type(error).__name__}: {error}")


def describe(options: Namespace, record: Record, client: list[int]) -> None:
    """Write the first line: command, machine, cards, cores of each side."""
    cards = gpu.read_cards()
    about = host.describe()
    record.write(
        "run",
        command=options.command,
        visit=options.visit,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        machine=about,
        cards=about["cards"],
        client_cores=client,
        server_cores=options.server_cores,
        quick=options.quick,
        short=options.short,
        load_average=os.getloadavg()[0],
        cpu_quota=read_quota(),
        shared_memory_mb=shutil.disk_usage("/dev/shm").free // 10**6,
    )
    cores = f"client on cores {format_cores(client)}, server on {format_cores(options.server_cores)}"
    record.say(f"{about['cpu']}; {cores}; {', '.join(map(str, cards)) or 'no card'}")
    if set(client) & set(options.server_cores):
        record.note("client and server share cores: what one uses, the other lacks")


if __name__ == "__main__":
    sys.exit(command.run(main))
