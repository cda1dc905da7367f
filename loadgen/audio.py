"""Speech through wav2vec2, decoded by the client or by the server.

Run it with Locust:

    locust -f loadgen/audio.py                                    # web UI on http://localhost:8089
    locust -f loadgen/audio.py --headless --placement client --mode threads --workers 2 --arrivals poisson:rate=1
"""

import sys
from pathlib import Path

# Locust loads this file by its path, so the repository must be importable first.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadgen.locust_plugin import signals

signals.install()  # before the imports that take a second or two

from common import real_threads

real_threads.import_with_real_locks("soundfile")  # its one lock is shared by all threads that decode

from loadgen.locust_plugin import user
from workloads.audio import AUDIO


class AudioUser(user.OpenLoopUser):
    """The user that sends clips of speech."""

    workload = AUDIO


Shape = user.Shape
user.install(AUDIO)
