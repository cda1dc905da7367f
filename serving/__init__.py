"""Start and stop the server: `python -m serving up | down | status | logs`, and `run` in a container.

One launcher, two engines. Both run a real tritonserver on the same `model_repository/` and `ensembles/`; they
differ in where it comes from: a container (`docker.py`), or the binaries of a PyPI wheel (`wheel.py`, `local.py`).
Whichever it is, the models are loaded one by one with the thread plan of `plan.py`, and nothing counts as up
before a photograph and a sound have gone through both ensembles.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Failure(Exception):
    """What went wrong and what to do about it, in one line; the launcher prints it and exits 1."""
