"""Start, fill, check, supervise and stop the server, for `crossover up`, `down`, `status`, `logs`, and in a container.

One launcher, two engines. Both run a real tritonserver on the same `model_repository/` and `ensembles/`; they differ
in where it comes from: a container (`docker.py`), or the binaries of a PyPI wheel (`wheel.py`, `local.py`). Both load
the models one by one with the thread plan of `thread_plan.py`, and the server does not count as up before a photograph
and a sound have gone through both ensembles (`smoke_test.py`).

`triton_api.py` is the one client of Triton's control interface, `server.py` a server that runs, anyone's, and
`temporary_server.py` one for the length of a `with` block. Nothing in here imports loadgen, workloads or crossover.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Failure(Exception):
    """Says in one line what went wrong and what to do about it; the launcher prints that and exits with code 1."""
