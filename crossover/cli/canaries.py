"""What `crossover up --workload FILE` asks its server: the first payload of a workload, by each of its placements."""

from common.messages import one_line
from serving.canaries import Canary
from transport.http_head import write_head
from workloads.catalogue import find
from workloads.model_config import complete
from workloads.payloads import Payload
from workloads.prepare_check import check_workload, prepare_once
from workloads.workload import Workload


def read_workload(reference: str) -> tuple[Workload, Payload]:
    """Return a workload and its first payload, which each placement can prepare.

    Nothing is known of the server's models yet. Raises ValueError, in one line, if a placement cannot prepare it.
    """
    workload = find(reference)
    [payload, *_] = workload.load()
    check_workload(workload, workload.placements, [payload])
    return workload, payload


def find_canaries(workload: Workload, payload: Payload, url: str, models: dict[str, str]) -> list[Canary]:
    """Return a canary for each placement, as the server at `url` takes it, or with the reason why there is none.

    `models` are strangers' models, each with the reason why it is not served, or "".
    """
    found = []
    for name, placement in workload.placements.items():
        subject = f"{workload.name} ({name})"
        try:
            if reason := models.get(placement.model):
                raise ValueError(f"{subject} asks {placement.model}, which is not served: {reason}")
            whole = complete(workload, url, [name])
            tensors = prepare_once(whole, name, payload)
        except (ValueError, OSError) as error:
            found.append(Canary(subject, placement.model, problem=one_line(error)))
            continue
        target = whole.placements[name].target
        (_, head), _ = write_head(target.model, tuple(tensor.spec for tensor in tensors), target.outputs)
        text = head.partition(b"\r\n\r\n")[2]
        body = b"".join([text, *(piece for tensor in tensors for piece in tensor.pieces)])
        found.append(Canary(subject, target.model, len(text), target.outputs, body))
    return found
