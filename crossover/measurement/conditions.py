"""Were two runs made under the same conditions? The speed of a fixed computation, and who else used the cores.

A comparison of two runs has no rounds in which both take turns, so whatever the machine did differently in between
looks like an effect of the change: the same code was once found 33 % slower than itself. Before every trial a fixed
loop is timed on a core of the client's and on one of the server's. If these times differ between the runs beyond their
own noise, or other programs were busy in one of them only, the runs are not comparable.
"""

import os
import time
from collections.abc import Sequence

import numpy as np

from crossover.measurement.trial import Trial

LOOP = 40_000
"""Steps of the calibration loop: about 3 ms."""
REPEATS = 3
"""The quickest of these counts: it has met the fewest interruptions."""
SPEED = 0.05
"""Difference of the loop's time that matters, if it is clear of its noise."""
OTHERS = 0.1
"""Difference of others' share of a side's cores that matters."""


def time_loop(core: int | None) -> float | None:
    """Return the ms of the calibration loop on that core, on any for None; None if this process may not use it."""
    allowed = os.sched_getaffinity(0)  # of this thread only
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        return min(time_once() for _ in range(REPEATS))
    except OSError:  # a core of another container or machine
        return None
    finally:
        os.sched_setaffinity(0, allowed)


def time_once() -> float:
    """Return the ms of one calibration loop, of this thread's CPU time."""
    began, total = time.thread_time_ns(), 0
    for i in range(LOOP):
        total += i * i & 7
    return (time.thread_time_ns() - began) / 1e6


def list_changes(before: Sequence[Trial], after: Sequence[Trial]) -> list[str]:
    """Return what differs in the conditions of two runs' trials, one message each; what is not known is left out."""
    found = []
    for side in ("client", "server"):
        first, second = ([t.loop_ms[side] for t in trials if t.loop_ms.get(side)] for trials in (before, after))
        if len(first) > 1 and len(second) > 1 and differ(first, second):
            times = [f"{np.exp(np.log(each).mean()):.2f}" for each in (first, second)]
            found.append(f"ms of a calibration loop on the {side}'s core: {times[0]} against {times[1]}")
    for side, name in (("client", "client_others"), ("server", "others")):
        shares = [
            [share for trial in trials if (share := getattr(trial, name)) is not None] for trials in (before, after)
        ]
        means = [float(np.mean(each)) for each in shares if each]
        if len(means) == 2 and abs(means[1] - means[0]) > OTHERS:
            percent = [f"{100 * each:.0f} %" for each in means]
            found.append(f"other programs' use of the {side}'s cores: {percent[0]} against {percent[1]}")
    return found


def differ(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether two sets of times differ by more than SPEED, and by more than two standard errors."""
    logs = [np.log(each) for each in (first, second)]
    apart = abs(logs[1].mean() - logs[0].mean())
    error = np.sqrt(sum(each.var(ddof=1) / len(each) for each in logs))
    return bool(apart > np.log1p(SPEED) and apart > 2 * error)
