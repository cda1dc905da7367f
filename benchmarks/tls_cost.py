"""Measures what TLS costs: requests per second and CPU time per request, with and without it, through the same proxy.

    .venv/bin/python -m benchmarks.tls_cost --rounds 6 --seconds 2

Triton's HTTP server has no TLS, so a proxy always ends it. Here that is a process of Python's which passes bytes on,
in clear text or encrypted; all else is equal, so the difference is that of TLS. Rounds alternate between both. The
certificate, of P-256, is made by `openssl`. A row shows the medians of the rounds, and of the ratios with their range.
"""

import argparse
import contextlib
import select
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from arrivals.checks import check_positive
from benchmarks.null_server import LOADS, null_server
from common import access, machine
from crossover.measurement import host
from loadgen import command
from loadgen.samples.sample import COMPLETED
from serving import Failure
from transport.http import Connection
from transport.message import Request, make_request

IN_FLIGHT = 4
BLOCK = 1 << 16
NEW = 40  # connections that are opened for the price of a handshake


@dataclass(frozen=True)
class Cost:
    """What one round came to: requests per second, and CPU milliseconds per request of both processes."""

    rate: float
    client_ms: float
    proxy_ms: float


def main() -> int:
    """Print a row for each load, and the price of a new connection; returns 1 if a request had no good answer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls_cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2, help="of a round, with and without TLS each")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--pass-on", nargs=3, metavar=("HOST", "PORT", "PEM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pass_on:
        serve(options.pass_on[0], int(options.pass_on[1]), options.pass_on[2])
        return 0
    try:
        check_positive(seconds=options.seconds, rounds=options.rounds)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    cores = host.free_cores([])
    print(f"{machine.read_cpu_model()}; {len(cores)} cores shared by client, proxy and server; {IN_FLIGHT} in flight")
    print(f"{'load':<8} {'KB':>6} {'rate/s':>7} {'TLS':>7} {'ratio':>6} {'range':>12}  {'client ms':>9} {'TLS':>6} "
          f"{'proxy ms':>9} {'TLS':>6}")  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix="crossover-") as folder, null_server(cores) as server:
            pem = make_certificate(Path(folder))
            with proxy(server.url, "") as clear, proxy(server.url, str(pem)) as encrypted:
                access.grant(encrypted.url, str(pem), with_login=False)
                for name in LOADS:
                    print(compare(name, clear, encrypted, options), flush=True)
                print(price_connections(clear, encrypted))
    except Failure as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def make_certificate(folder: Path) -> Path:
    """Make a key with a certificate for localhost; return the file of both. Raises Failure."""
    both = folder / "localhost.pem"
    arguments = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    try:
        files = ["-keyout", str(both), "-out", str(folder / "certificate.pem")]
        subprocess.run(["openssl", *arguments, *name, *files], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure(f"no certificate could be made by openssl: {error}") from None
    both.write_text(both.read_text() + (folder / "certificate.pem").read_text())
    return both


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs: its URL and its process."""

    url: str
    process: psutil.Process


@contextlib.contextmanager
def proxy(target: str, pem: str) -> Iterator[Proxy]:
    """Run a proxy to the server at that URL for a `with` block; with TLS if there is a certificate."""
    there = urlsplit(target)
    command_line = [sys.executable, "-m", "benchmarks.tls_cost", "--pass-on", str(there.hostname), str(there.port), pem]
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        try:
            port = int(running.stdout.readline())
            yield Proxy(f"{'https' if pem else 'http'}://localhost:{port}", psutil.Process(running.pid))
        finally:
            running.terminate()


def serve(name: str, port: int, pem: str) -> None:
    """Listen, print the port, and pass on each connection in a thread of its own, until the process is ended."""
    context = None
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=pass_on, args=(accepted, (name, port), context), daemon=True).start()


def pass_on(client: socket.socket, target: tuple[str, int], context: ssl.SSLContext | None) -> None:
    """Copy bytes between a client and the target, until one of them ends."""
    with contextlib.suppress(OSError), client, socket.create_connection(target) as server:
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        here = context.wrap_socket(client, server_side=True) if context else client
        while True:
            waiting = isinstance(here, ssl.SSLSocket) and here.pending()
            readable = [here] if waiting else select.select([here, server], [], [])[0]
            for each in readable:
                if not (data := each.recv(BLOCK)):
                    return
                (server if each is here else here).sendall(data)


def compare(name: str, clear: Proxy, encrypted: Proxy, options: argparse.Namespace) -> str:
    """Measure a load both ways, in turns; return its row. Raises Failure."""
    load, rounds = LOADS[name], []
    content = load.content()
    placed = load.workload().placements["client"]
    request = make_request(placed.target, load.tensor(content))
    for way in (clear, encrypted):
        measure(way, request, 0.3)  # warm-up
    for number in range(options.rounds):
        order = (clear, encrypted) if number % 2 else (encrypted, clear)
        done = {way.url: measure(way, request, options.seconds) for way in order}
        rounds.append((done[clear.url], done[encrypted.url]))
    ratios = sorted(tls.rate / plain.rate for plain, tls in rounds)

    def median(index: int, field: str) -> float:
        return statistics.median(getattr(both[index], field) for both in rounds)

    return (
        f"{name:<8} {len(content) / 1e3:>6.1f} {median(0, 'rate'):>7.0f} {median(1, 'rate'):>7.0f} "
        f"{statistics.median(ratios):>6.2f} {f'{ratios[0]:.2f}-{ratios[-1]:.2f}':>12}  "
        f"{median(0, 'client_ms'):>9.3f} {median(1, 'client_ms'):>6.3f} "
        f"{median(0, 'proxy_ms'):>9.3f} {median(1, 'proxy_ms'):>6.3f}"
    )


def measure(way: Proxy, request: Request, seconds: float) -> Cost:
    """Keep IN_FLIGHT requests at work for so long. Raises Failure for the first without a good answer."""
    end, counts = time.monotonic() + seconds, [0] * IN_FLIGHT
    failed: list[str] = []

    def work(number: int) -> None:
        connection = Connection(way.url, 10.0)
        while time.monotonic() < end and not failed:
            outcome = connection.post(request)
            counts[number] += 1
            if outcome.status != COMPLETED:
                failed.append(f"{way.url}: {outcome.reason}")
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(IN_FLIGHT)]
    began, client, other = time.monotonic(), time.process_time(), read_cpu(way)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise Failure(failed[0])
    wall, count = time.monotonic() - began, sum(counts)
    return Cost(count / wall, (time.process_time() - client) / count * 1e3, (read_cpu(way) - other) / count * 1e3)


def read_cpu(way: Proxy) -> float:
    """Return the CPU seconds that a proxy has used; the kernel counts them in hundredths."""
    return sum(way.process.cpu_times()[:2])


def price_connections(clear: Proxy, encrypted: Proxy) -> str:
    """Open connections for a small request each; return what one takes, in words. Raises Failure."""
    load = LOADS["small"]
    request = make_request(load.workload().placements["client"].target, load.tensor(load.content()))
    words = []
    for name, way in (("without TLS", clear), ("with TLS", encrypted)):
        walls, cpu = [], time.process_time()
        for _ in range(NEW):
            connection, began = Connection(way.url, 10.0), time.monotonic()
            outcome = connection.post(request)
            walls.append(time.monotonic() - began)
            connection.close()
            if outcome.status != COMPLETED:
                raise Failure(f"{way.url}: {outcome.reason}")
        cpu = time.process_time() - cpu
        words.append(f"{name} {statistics.median(walls) * 1e3:.2f} ms, {cpu / NEW * 1e3:.2f} ms of the client's CPU")
    return f"a small request on a new connection: {'; '.join(words)}"


if __name__ == "__main__":
    sys.exit(command.run(main))
