"""A pipeline of one's own, described by a Python file (docs/own-pipeline.md) or by a built-in workload's name.

locust -f loadgen/own.py --workload my_pipeline.py            # web UI on http://localhost:8089
locust -f loadgen/own.py --workload my_pipeline.py --headless --placement client --arrivals poisson:rate=5
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadgen.locust_plugin import signals

signals.install()  # before the imports that take a second or two

from common import real_threads

real_threads.import_with_real_locks("soundfile")  # its one lock is shared by all threads that decode

from loadgen.locust_plugin import own, user

WORKLOAD = own.find_workload(sys.argv[1:])


class OwnUser(user.OpenLoopUser):
    """A user who sends the payloads of the workload that --workload names."""

    workload = WORKLOAD


Shape = user.Shape
user.install(WORKLOAD)
