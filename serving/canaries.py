"""What `up`, `status` and the supervisor ask a server, to know that it answers.

Our models get a photograph and a sound (`smoke_test.py`). Models of others get a payload of the workload file that `up`
was given, by each of its placements: the requests are written down once by `crossover up`, as nothing in here knows
workloads, and sent as they are. Without such a file nobody knows what these models take: they are asked whether they
are ready.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from common.messages import first_line
from serving import Failure, smoke_test, state
from serving.triton_api import Refused, TritonAPI, Unreachable

FOLDER = "canaries"
TIMEOUT = 60.0  # seconds for one answer


@dataclass(frozen=True)
class Canary:
    """One inference request as it is sent, or the reason why there is none."""

    subject: str
    """What messages call it, e.g. "voice (server)"."""
    model: str = ""
    json_size: int = 0
    """Bytes of the body that are JSON: the header Inference-Header-Content-Length."""
    outputs: tuple[str, ...] = ()
    """Names of those that the answer must have."""
    body: bytes = b""
    problem: str = ""
    """Why it cannot be asked, in one line; empty if it can."""


def keep(directory: Path, canaries: list[Canary]) -> list[dict]:
    """Write the bodies into the state directory, in place of others, and return what the launcher's record keeps."""
    folder = directory / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    kept = []
    for number, canary in enumerate(canaries):
        file = folder / f"{number}.bin"
        file.write_bytes(canary.body)
        kept.append({**asdict(replace(canary, body=b"")), "body": str(file)})
    return kept


def send(api: TritonAPI, record: dict, timeout: float = TIMEOUT) -> list[str]:
    """Ask the server of this record for all that is known to have an answer; return whose, in words.

    The list is empty where only readiness could be asked. Raises Failure, which names who does not answer, and
    Unreachable if the server is gone.
    """
    answered: list[str] = []
    if not record["only"]:
        smoke_test.run(api, timeout)
        answered += smoke_test.ENSEMBLES
    for kept in record.get("canaries", []):
        ask(api, kept, timeout)
        answered.append(kept["subject"])
    for model, reason in record.get("more_models", {}).items():
        if not reason and not api.is_ready(model):
            raise Failure(f"{model} is not ready")
    return answered


def ask(api: TritonAPI, kept: dict, timeout: float) -> None:
    """Send one of the canaries of a record.

    Raises Failure unless it is answered with the outputs that were asked for.
    """
    subject, model = kept["subject"], kept["model"]
    if kept["problem"]:
        raise Failure(kept["problem"])
    try:
        outputs = api.infer(model, Path(kept["body"]).read_bytes(), timeout, kept["json_size"])
    except Unreachable:
        raise
    except Refused as refusal:
        raise Failure(
            f"{subject} has no answer: HTTP {refusal.code} of {model}: {first_line(refusal.reason)}"
        ) from None
    except OSError as error:
        raise Failure(f"{subject} cannot be asked: {kept['body']}: {error.strerror}") from None
    if missing := [name for name in kept["outputs"] if name not in outputs]:
        raise Failure(f"{subject}: the answer of {model} lacks {missing[0]}")


def describe(answered: list[str]) -> str:
    """Return in words what `send` found: "image and audio answer"."""
    if not answered:
        return "the models are ready"
    names = f"{', '.join(answered[:-1])} and {answered[-1]}" if len(answered) > 1 else answered[0]
    return f"{names} {'answer' if len(answered) > 1 else 'answers'}"


def add(record: dict, directory: Path, find: Callable[[str, dict[str, str]], list[Canary]]) -> str:
    """Put the canaries that `find` finds into the record, and send them; return who does not answer and why, or ""."""
    try:
        found = find(f"http://{record['address']}", record.get("more_models", {}))
        record["canaries"] = keep(directory, found)
        answered = send(TritonAPI(record["address"]), {**record, "only": True, "more_models": {}})
        print(f"  canaries: {describe(answered)}", flush=True)
        return ""
    except Failure as failure:
        return str(failure)
    finally:
        state.write(directory, record)
