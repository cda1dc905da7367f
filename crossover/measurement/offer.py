"""Offers arrivals to a server without writing anything down: for what must be known before a trial."""

from dataclasses import replace

import numpy as np

from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import COMPLETED, STATUSES, Sample, tabulate
from serving.server import Server, Unavailable
from workloads import payloads

PATIENCE = 120.0  # seconds for an answer


def offer(
    server: Server,
    arm: Arm,
    times: np.ndarray,
    sent: list[payloads.Payload],
    timeout: float = PATIENCE,
    strict: bool = False,
) -> np.ndarray:
    """Offer arrivals due at `times` (s) and return their records, in no order: one for each arrival.

    Raises Unavailable if no request was answered or, if `strict`, not every one: then there are no figures.
    """
    samples: list[Sample] = []
    order = payloads.order(len(sent), len(times), 1)
    OpenLoop(arm, server.url, samples.append, timeout).run(Plan(times, order, sent))
    records, reasons = tabulate(samples)
    unanswered = records[records["status"] != STATUSES.index(COMPLETED)]
    if len(unanswered) == len(records) or (strict and len(unanswered)):
        reason = "no arrival was due"
        if len(unanswered):
            reason = f"{sent[unanswered['payload'][0]].name}: {reasons[unanswered['reason'][0]]}"
        raise Unavailable(f"{arm}: {len(unanswered)} of {len(records)} requests were not answered: {reason}")
    return records


def sequential(arm: Arm) -> Arm:
    """Return the same arm with a client that sends one request at a time."""
    return replace(arm, mode=Mode("sequential"))


def wait_until_idle(server: Server, arm: Arm, sent: list[payloads.Payload], timeout: float = PATIENCE) -> None:
    """Wait until the server has worked off what was asked before: it answers a request, then another at once.

    Does not raise if it answers neither: whoever measures next finds out.
    """
    two = np.zeros(2)
    OpenLoop(sequential(arm), server.url, lambda sample: None, timeout).run(Plan(two, two.astype(int), sent))
