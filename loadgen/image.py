"""Photographs through ResNet-50, decoded by the client or by the server.

    locust -f loadgen/image.py                                    # web UI on http://localhost:8089
    locust -f loadgen/image.py --headless --placement client --mode threads --workers 2 --arrivals poisson:rate=5
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadgen import users
from loadgen.workloads import IMAGE


class ImageUser(users.OpenLoopUser):
    workload = IMAGE


Shape = users.Shape
users.install(IMAGE)
