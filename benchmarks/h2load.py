"""nghttp2's h2load as an independent reference: its command line, and its log of every request.

It takes part where it is installed (Debian: nghttp2-client). Its log has microseconds from sending to the whole answer.
https://nghttp2.org/documentation/h2load.1.html
"""

import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.null_server import Load
from benchmarks.perf_analyzer import PERCENTILES
from serving import Failure

WARM = 0.1  # of a run's answers are left out, as in `crossover_client`


def is_installed() -> bool:
    """Return whether h2load is on PATH."""
    return shutil.which("h2load") is not None


def command(url: str, load: Load, folder: Path, rate: float, seconds: float) -> list[str]:
    """Return the command for `rate` requests/s at constant intervals over one HTTP/1.1 connection.

    Writes the request's body into `folder`, where the log will be, too.
    """
    content = load.content()
    shape = [1, *(len(content) if side == -1 else side for side in load.shape)]
    datatype = {"float32": "FP32", "uint8": "UINT8"}[load.dtype]
    size = {"binary_data_size": len(content)}
    tensor = {"name": "bytes", "datatype": datatype, "shape": shape, "parameters": size}
    wanted = {"name": "done", "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    (folder / "body").write_bytes(header + content)
    log(folder).unlink(missing_ok=True)
    return [
        "h2load", "--h1", "--clients", "1", "--threads", "1", "--rps", f"{rate:g}", "--duration", f"{seconds:g}",
        "--data", str(folder / "body"), "--header", f"Inference-Header-Content-Length: {len(header)}",
        "--log-file", str(log(folder)), f"{url}/v2/models/{load.name}/infer",
    ]  # fmt: skip


def log(folder: Path) -> Path:
    """Return the path of h2load's log."""
    return folder / "h2load.tsv"


def read(path: Path, seconds: float) -> dict:
    """Return `rate` (requests/s) and `latency` (ms, from sending to receiving) from a log of a run of `seconds`.

    Raises Failure if a request failed, or if there was none.
    """
    rows = np.loadtxt(path, ndmin=2)  # start, HTTP status, microseconds
    good = rows[rows[:, 1] == 200, 2] / 1e3 if len(rows) else rows
    if len(good) < len(rows) or not len(good):
        raise Failure(f"{len(rows) - len(good)} of h2load's {len(rows)} requests failed")
    kept = good[round(WARM * len(good)) :]
    latency = {name: float(np.percentile(kept, int(name[1:]))) for name in PERCENTILES}
    return {"rate": len(good) / seconds, "latency": latency}
