"""Every payload once by each arm, before anything is measured: a file without a good answer would spoil all figures.

A damaged photograph among five makes a fifth of the requests fail, and with them every round; so it is named here.
"""

from collections.abc import Sequence

from common.messages import one_line
from crossover.measurement.pairs import LOST, LoneRequests
from loadgen.arm import Arm
from loadgen.samples.sample import COMPLETED, FAILED, Sample
from serving.server import Server, Unavailable
from transport.message import is_refused_input
from workloads.payloads import Payload

NAMED = 3
"""Files that are named; of the others only their number."""
MANY = 50
"""Files of which it is said that they are sent: it takes seconds."""


def check_payloads(server: Server, arms: Sequence[Arm], preparing: Sequence[Arm], payloads: Sequence[Payload]) -> None:
    """Send every payload once by each of `arms`, one at a time, and only prepare it by each of `preparing`.

    Raises ValueError with one line that names the first NAMED payloads without a good answer and says how many there
    are; Unavailable if the server answers none, as one does that takes no binary tensors, or LOST requests in a row for
    another reason than the payload.
    """
    server.field("/v2", "version")  # where no Triton answers, this says it best
    if len(payloads) >= MANY:
        print(f"{arms[0].workload.name}: {len(payloads)} files, each once by every placement ...", flush=True)
    every = [*arms, *preparing]
    bad: dict[int, str] = {}
    refusals: list[str] = []
    lone, lost, answered = LoneRequests(server, every), 0, 0
    try:
        for number, payload in enumerate(payloads):
            for index, arm in enumerate(every):
                sample = try_payload(lone, index, payload, number, only_prepare=index >= len(arms))
                good = sample.status == COMPLETED
                answered += good and index < len(arms)
                lost = 0 if good or is_at_fault(sample) else lost + 1
                if lost >= LOST:
                    raise Unavailable(f"{arm}: {LOST} requests in a row were not answered: {sample.reason}")
                refusals += [] if good or not sample.prepared else [sample.reason]
                if not good:
                    bad.setdefault(number, f"{payload.name} ({sample.reason})")
    finally:
        lone.close()
    if lost and not answered:
        raise Unavailable(f"{arm}: no request was answered: {sample.reason}")
    if not answered and (why := server.explain_refusals(refusals)):
        raise Unavailable(one_line(why))
    if bad:
        raise ValueError(one_line(describe(arms[0].workload.name, list(bad.values()), len(payloads))))


def try_payload(lone: LoneRequests, arm: int, payload: Payload, number: int, only_prepare: bool) -> Sample:
    """Return the sample of one payload by the arm of that number; asked again if the payload was not at fault."""
    for _ in range(2):
        sample = lone.ask(arm, payload, 0, number, only_prepare)
        if sample.status == COMPLETED or is_at_fault(sample):
            break
    return sample


def is_at_fault(sample: Sample) -> bool:
    """Tell whether a request has no good answer because of its payload: it was not prepared, or the server refused it.

    A connection that broke, a deadline that passed, or a queue that was full may have nothing to do with it.
    """
    return sample.status == FAILED and (not sample.prepared or is_refused_input(sample.reason))


def describe(workload: str, bad: Sequence[str], count: int) -> str:
    """Return the line about the payloads of a workload that have no good answer; `bad` has an entry for each."""
    named = "; ".join(bad[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    verb, them = ("has", "it") if len(bad) == 1 else ("have", "them")
    return f"{len(bad)} of {count} payloads of {workload} {verb} no good answer: {named}{more}; mend or remove {them}"
